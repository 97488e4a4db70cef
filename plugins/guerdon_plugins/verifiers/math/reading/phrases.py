"""Fixed phrases, in English and Chinese, and what each of them says."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.nodes import (
    Congruence,
    Constant,
    NamedSet,
    Node,
    Quantity,
    SetOf,
    Text,
    Unit,
    integer,
    negate,
)

_EMPTY = """
no solution|no solutions|no solutions exist|no solution exists|there is no solution|there are no solutions|the empty set
empty set|null set|has no solution|none exist|no such number|no such numbers|no such number exists
no such numbers exist|no such integers|no values|no such values|inconsistent
无解|空集|方程无解|不等式无解|方程组无解
"""
_SUBJECT = re.compile(
    r"^(?:(?:the|this) (?:equation|system|inequality) (?=has )|(?:they|these|both|it|this) (?:is|are) (?=\w)|"
    r"(?:the|this) (?:statement|claim|proposition|series|sequence|limit|integral|function|system) (?:is|are) (?=\w)|"
    r"(?:the|this) (?:series|sequence|limit|integral) (?=converges|diverges|does not exist)|"
    r"(?:there (?:is|are|exists?)|has|have) (?:an )?(?=infinite)|(?:is|are) (?=\w)|"
    r"(?:该|此|原|这个)?(?:[正负]项)?(?:级数|数列|(?:反常|广义)?积分|极限)(?=(?:绝对|条件|一致)?收敛|发散|不存在)|"
    r"(?:所以)?(?:原|该|此|这个)?(?:分式|一元二次)?(?:方程组?|不等式组?)(?=无解|无实|没有实数))"
)
_NOTHING = re.compile(r"(?:there (?:is|are|exists?) )?no such \w+(?: exists?| \w)?(?: exists?)?")
_NOT_REAL = """
no real solution|no real solutions|no real roots|no real root|has no real solutions|has no real roots
there are no real solutions|there is no real solution
无实数解|无实根|无实数根|没有实数根|没有实数解|方程无实数解|方程无实数根
"""
NO_REAL_SOLUTION = Text("no real solutions")
_REALS = """
all real numbers|all reals|the real numbers|real numbers|any real number|all real values
全体实数|任意实数|实数集|一切实数|所有实数
"""
_INFINITELY_MANY = """
infinitely many|infinitely many solutions|infinite solutions|infinite number of solutions
无数个|无穷多|无穷多个|无数多个|无穷多解|无数解
"""
_NUMBER_SYSTEMS = {
    "Z": "all integers|the integers|integers|全体整数|所有整数|任意整数|一切整数|整数集",
    "Z+": "all positive integers|the positive integers|positive integers|all natural numbers|the natural numbers|"
    "any positive integer|every positive integer|全体正整数|所有正整数|任意正整数|一切正整数|正整数集",
    "Q": "all rational numbers|the rational numbers|all rationals|全体有理数|有理数集",
    "C": "all complex numbers|the complex numbers|全体复数|复数集",
}
_MONTHS = (
    *("january|jan", "february|feb", "march|mar", "april|apr", "may", "june|jun", "july|jul", "august|aug"),
    *("september|sept|sep", "october|oct", "november|nov", "december|dec"),
)
_MISSING = "dne|d.n.e|does not exist|doesn't exist|the limit does not exist|limit does not exist|不存在"
_WEEKDAYS = (
    "monday|mon|on monday|星期一|周一|礼拜一",
    "tuesday|tue|tues|on tuesday|星期二|周二|礼拜二",
    "wednesday|wed|on wednesday|星期三|周三|礼拜三",
    "thursday|thu|thur|thurs|on thursday|星期四|周四|礼拜四",
    "friday|fri|on friday|星期五|周五|礼拜五",
    "saturday|sat|on saturday|星期六|周六|礼拜六",
    "sunday|sun|on sunday|星期日|星期天|周日|周天|礼拜日|礼拜天",
)
_CONDITIONS = tuple(
    "|".join(
        f"{article}{kind}{noun}" for article in ("", "a ") for kind in kinds for noun in ("", " condition")
    )
    for kinds in (
        ("sufficient but not necessary", "sufficient but not a necessary", "sufficient but unnecessary"),
        ("necessary but not sufficient", "necessary but not a sufficient", "necessary but insufficient"),
        ("necessary and sufficient", "sufficient and necessary"),
        (
            "neither sufficient nor necessary",
            "neither necessary nor sufficient",
            "neither a sufficient nor a necessary",
            "neither a necessary nor a sufficient",
        ),
    )
)
_PRIMES = "|".join(
    (
        "所有质数",
        *(
            f"{letter} is {prime}{number}"
            for letter in "pn"
            for prime in ("prime", "a prime", "any prime")
            for number in ("", " number")
        ),
        *(
            f"{all_}{primes}{letter}"
            for all_ in ("", "all ", "all the ", "any ", "every ")
            for primes in ("prime numbers", "primes", "prime number", "prime")
            for letter in ("", " p", " n")
        ),
    )
)
_ODD_PRIMES = "|".join(
    (
        "所有奇质数",
        *(f"{letter} is {prime}" for letter in "pn" for prime in ("an odd prime", "any odd prime")),
        *(
            f"{all_}{primes}{letter}"
            for all_ in ("", "all ", "all the ", "any ", "every ")
            for primes in ("odd primes", "odd prime", "odd prime numbers")
            for letter in ("", " p", " n")
        ),
        *(
            f"all primes{letter} {but} {two}"
            for letter in ("", " p", " n")
            for but in ("except", "except for", "other than", "but", "greater than")
            for two in ("2", "p=2", "p = 2", "n=2", "n = 2")
        ),
    )
)
_TRANSLATED = (
    "even function|an even function|偶函数",
    "odd function|an odd function|奇函数",
    "neither odd nor even|neither even nor odd|neither|非奇非偶函数|非奇非偶|既不是奇函数也不是偶函数",
    "ellipse|an ellipse|椭圆",
    "hyperbola|a hyperbola|双曲线",
    "parabola|a parabola|抛物线",
    "rectangle|a rectangle|矩形|长方形",
    "rhombus|a rhombus|菱形",
    "square|a square|正方形",
    "parallelogram|a parallelogram|平行四边形",
    "trapezoid|a trapezoid|trapezium|a trapezium|梯形",
    "acute triangle|an acute triangle|acute|锐角三角形",
    "obtuse triangle|an obtuse triangle|obtuse|钝角三角形",
    "right triangle|a right triangle|right-angled triangle|a right-angled triangle|直角三角形",
    "isosceles triangle|an isosceles triangle|isosceles|等腰三角形",
    "isosceles right triangle|an isosceles right triangle|等腰直角三角形",
    "parallel|they are parallel|平行",
    "perpendicular|they are perpendicular|垂直",
    "skew|skew lines|异面|异面直线",
    "tangent|相切",
    "externally tangent|外切",
    "internally tangent|内切",
    "intersecting|intersect|they intersect|相交",
)


def _with_verb(names: str) -> str:
    """Return names and the Chinese ones among them after 是, "is"."""
    return "|".join((names, *(f"是{name}" for name in names.split("|") if not name.isascii())))


_MEANINGS: tuple[tuple[str, Node], ...] = (
    (_EMPTY, SetOf(())),
    (_NOT_REAL, NO_REAL_SOLUTION),
    (_REALS, NamedSet("R")),
    *((phrases, NamedSet(name)) for name, phrases in _NUMBER_SYSTEMS.items()),
    (
        "infinity|positive infinity|plus infinity|正无穷|正无穷大|无穷大|diverges to infinity|diverges to \\infty|"
        "tends to infinity|tends to \\infty",
        Constant("infinity"),
    ),
    ("negative infinity|minus infinity|-infinity|负无穷|负无穷大", negate(Constant("infinity"))),
    (_INFINITELY_MANY, Text("infinitely many")),
    (f"{_MISSING}|undefined|not defined|is undefined|无意义|没有意义", Text("does not exist")),
    *(
        (f"{axis}-axis|the {axis}-axis|{axis} axis|the {axis} axis|{axis}轴", Text(f"{axis} axis"))
        for axis in "xyz"
    ),
    *((names, Text(names.partition("|")[0])) for names in (*_WEEKDAYS, *_MONTHS)),
    *(
        (
            "|".join(f"{the}{name} quadrant" for the in ("", "the ") for name in names)
            + "|"
            + "|".join(f"{word}quadrant {name}" for word in ("", "in ") for name in names[1:]),
            Quantity(integer(number), Unit((("ordinal quadrant", 1),))),
        )
        for number, names in enumerate(
            (("first", "i", "1"), ("second", "ii", "2"), ("third", "iii", "3"), ("fourth", "iv", "4")), 1
        )
    ),
    (
        "increasing|increasing function|monotonically increasing|monotone increasing|单调递增|单调增|递增|增函数|"
        "单调增函数|单调递增函数",
        Text("increasing"),
    ),
    (
        "decreasing|decreasing function|monotonically decreasing|monotone decreasing|单调递减|单调减|递减|减函数|"
        "单调减函数|单调递减函数",
        Text("decreasing"),
    ),
    ("converges|convergent|it converges|the series converges|收敛", Text("converges")),
    ("diverges|divergent|it diverges|the series diverges|发散", Text("diverges")),
    ("=|equal|equal to|equals|is equal to|等于|相等", Text("=")),
    (">|\\gt|greater than|is greater than|大于", Text(">")),
    ("<|\\lt|less than|is less than|小于", Text("<")),
    ("\\le|\\leq|\\leqslant|小于等于|不大于", Text("≤")),
    ("\\ge|\\geq|\\geqslant|大于等于|不小于", Text("≥")),
    ("conditionally convergent|converges conditionally|条件收敛", Text("converges conditionally")),
    ("uniformly convergent|converges uniformly|一致收敛", Text("converges uniformly")),
    ("pointwise convergent|converges pointwise", Text("converges pointwise")),
    ("absolutely convergent|converges absolutely|绝对收敛", Text("converges absolutely")),
    (
        "none of these|none of the above|none of them|none of the options|以上都不对|以上都不是|以上答案都不对",
        Text("none of these"),
    ),
    (_PRIMES, Text("all primes")),
    (_ODD_PRIMES, Text("all odd primes")),
    *((_with_verb(names), Text(names.partition("|")[0])) for names in _TRANSLATED),
    ("impossible|not possible|it is impossible|it is not possible|不可能", Text("impossible")),
    (
        "all odd integers|all odd numbers|odd integers|odd numbers|所有奇数",
        Congruence(Text(""), integer(1), integer(2)),
    ),
    (
        "all even integers|all even numbers|even integers|even numbers|所有偶数",
        Congruence(Text(""), integer(0), integer(2)),
    ),
    ("true|yes|\\surd|真|真命题|是|是的|能|正确|对", Text("true")),
    ("false|no|\\times|✗|假|假命题|否|不是|不能|错误|错|不正确", Text("false")),
    ("equilateral|equilateral triangle|正三角形|等边三角形", Text("equilateral")),
    (_CONDITIONS[0], Text("充分不必要条件")),
    (_CONDITIONS[1], Text("必要不充分条件")),
    (_CONDITIONS[2], Text("充要条件")),
    (_CONDITIONS[3], Text("既不充分也不必要条件")),
    ("充分不必要|充分不必要条件|充分而不必要条件", Text("充分不必要条件")),
    ("必要不充分|必要不充分条件|必要而不充分条件", Text("必要不充分条件")),
    ("充要|充要条件|充分必要条件", Text("充要条件")),
    ("既不充分也不必要|既不充分也不必要条件|既不充分又不必要条件", Text("既不充分也不必要条件")),
)
_PHRASES = {
    phrase: node for phrases, node in _MEANINGS for phrase in phrases.strip().replace("\n", "|").split("|")
}


def read_phrase(text: str) -> Node | None:
    """Return what a fixed phrase says; ``None`` for every other text."""
    plain = text.lower().strip("\"'“”`").rstrip(".。")
    return (
        _PHRASES.get(plain)
        or _PHRASES.get(plain := _SUBJECT.sub("", _SUBJECT.sub("", plain)))
        or (SetOf(()) if _NOTHING.fullmatch(plain) else None)
    )
