"""Words around an answer: what leads in to it, what labels it, what trails after it."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.tokens import Token
from guerdon_plugins.verifiers.math.reading.vocabulary import CURRENCIES, RELATIONS

_LONGEST_LEAD_IN = 200
_CONNECTIVE = (
    r"(?:so|thus|hence|therefore|then|and|now|finally|also|clearly|we\s+(?:get|have|find|obtain|conclude)|"
    r"this\s+(?:gives|means)|it\s+follows|that\s+is|that|which\s+(?:is|gives)|giving|namely|i\.?e|"
    r"解得|所以|因此|故|即|则|可得|得到|得|综上所述|综上|于是|从而|答|因为|∴)"
)
_KIND = (
    r"(?:(?:the|our|my|a|your|final|correct|required|desired|numeric(?:al)?|exact|simplified|total|maximum|minimum|"
    r"greatest|least|smallest|largest|value|number|sum|area|of)\s+)*"
)
_ANSWER = (
    rf"{_KIND}(?:answer|result|value|solution|total|output|ans|option|choice|"
    r"答案|结果|最终答案|正确答案|原式|值)s?\s*(?:(?:is|are|equals|be|must be|will be|was|comes to|为|是|等于)\b)?"
)
_LEAD_IN = re.compile(
    rf"(?:{_CONNECTIVE}[\s,，]*)*(?:{_ANSWER}(?:\s+(?:option|choice))?)?[\s:：,]*", re.IGNORECASE
)
_LEAD_OUT = re.compile(
    r"(?:(?:it|the series|the integral) )?converges (?:for|when|if|iff|if and only if)|"
    r"(?:(?:it|this|that|x|which)\s+)?(?:is|equals|are)\s*:?|approx(?:imately|\.)?|about|roughly|exactly|only|"
    r"a total of|约|大约|约为|共|共有|一共",
    re.IGNORECASE,
)
_THING = re.compile(
    r"(?:the\s+)?(?:point|line|parabola|circle|ellipse|hyperbola|plane|interval|set|solution set|function|polynomial|"
    r"number|integer|prime|matrix|vector|(?:(?:symmetric|cyclic|alternating|dihedral|quaternion|free|abelian|"
    r"Galois) )?group|field|ring)s?|"
    r"(?:[^\x00-\x7f]{0,8}的)?(?:解集|取值范围)[为是]?|点|直线|抛物线|圆|区间|集合|函数|坐标",
    re.IGNORECASE,
)
"""What kind of thing the formula after it is: the formula says it as well."""
_NAMES = re.compile(
    r"(?:.*\b(?:is|are|was|were|equals|equal to|converges? to|tends? to|approaches)"
    r"(?: (?:exactly|approximately|about|just|a total of))?|"
    r"(?:it|this|that) (?:takes|took|will take|costs?|will cost)|"
    r".*\b(?:increase[sd]?|decrease[sd]?|rises?|rose|falls?|fell|grows?|grew) by|"
    r".*(?:[^不]|^)(?:为|是|等于|有|共|共有|今年|现在|盈利|获利|赚|需要?|还剩|剩下?|[^少多加高长低降\W\d]了))",
    re.IGNORECASE | re.DOTALL,
)
_SENTENCE = re.compile(
    r"(?!(?:All|Any|Every|No|Some|Only|For|If|When)\b)[A-Z][a-z]*(?: [\w'-]+){0,12}? "
    r"(?:(?:will|can|should|must|would|could|did) \w+(?: (?:them|him|her|it|us|me|you))?|\w{2,}(?:[^s\W]s|ed)|have|"
    r"had|has|need|ran|won|lost|took|cost|ate|drank|drove|flew|bought|brought|caught|found|held|kept|read|rode|"
    r"saw|sent|slept|swam|get|got|make|made|paid|pay|sold|sell|earn|spent|spend|gave|give|take)"
)
"""A sentence up to the number after its verb: "The tank holds"."""
_NO_VERB = re.compile(
    r"\b(?:times|minus|plus|less|squared|cubed|multiplied|divided|increased|decreased|reduced|added|dropped|lowered|raised|thousands|hundreds|"
    r"dozens|halves|more|fewer|than|of)$|\b(?:more|less|fewer|exceeds?|differs?|than|times|at (?:least|most))\b",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(
    r"(?:the\s+)?(?:(?:minimum|maximum|least|greatest|total|absolute|local|global|common|surface|arc|side|focal)\s+)*"
    r"(?:rank|dimension|degree|order|radius|slope|index|area|perimeter|circumference|volume|length|width|height|diameter|"
    r"max(?:imum)?|min(?:imum)?|mean|median|mode|range|probability|sum|product|difference|quotient|remainder|"
    r"distance|speed|radius of convergence|vertex|cent(?:er|re)|focus|foci|variance|"
    r"standard deviation|expect(?:ation|ed value)|"
    r"period|amplitude|frequency|eccentricity|[xyz]-?\s?intercept|value|ratio)"
    r"|(?:取得|取到|取|有)?(?:极|最)[大小]值|圆心|顶点|焦点|期望|面积|周长|体积|表面积|半径|直径|概率|公差|公比|首项|离心率|斜率|倾斜角|定值|周期|振幅|中位数|众数|平均数|方差|标准差",
    re.IGNORECASE,
)
"""Nouns before a number that say what it is."""
_TITLE = re.compile(
    r"(?:the )?(?:[\w-]+ )?(?:asymptote|axis|axis of symmetry|directrix|tangent|tangent line|normal line)s?"
    r"|(?:对称轴|准线|渐近线|切线|法线|直线)(?:的?方程)?[为是]?(?:直线)?",
    re.IGNORECASE,
)
"""Nouns before an equation that say what it is the equation of."""
_OF_INTERVAL = re.compile(
    r"(?:.{0,60} is )?(?:(?:strictly |monotonically )?(?:increasing|decreasing)|increases|decreases|"
    r"concave (?:up|down)(?:ward)?|positive|negative|continuous|differentiable|"
    r".{0,60}\b(?:is|are|lies?|occurs?) (?:at|in|on))(?: on| in| over)?(?: the intervals?)?|(?:the )?(?:domain|range)|"
    r"[^\x00-\x7f]{0,8}(?:定义域|值域)",
    re.IGNORECASE,
)
"""What a function is on the interval after it, or what the interval is of the function."""
_PLACE = re.compile(r"(?:on|in|over|at|within)(?: the (?:open |closed )?intervals?)?", re.IGNORECASE)
_VERB = re.compile(r"(?:is|are|was|equals|is equal to|is (?:exactly|approximately|about))", re.IGNORECASE)
_VALUE_OF = re.compile(r"(?:the )?(?:possible |required |exact )?(?:value|values) of", re.IGNORECASE)
_LONGEST_SUBJECT = 16
_SEPARATORS = frozenset((",", ";", ":"))
_CLAUSE_ENDS = frozenset((",", ";", "and"))
_PROPER_NAME = re.compile(
    r"(?!(?:About|Around|At|By|From|In|Is|Of|On|Only|Or|Over|The|To|Under|Up)\b)[A-Z][a-z]{1,15}"
)
_SIGNS = frozenset(("-", "\\frac", "\\sqrt", "(", "\\pi", "\\infty", "\\surd"))
_DOUBT = re.compile(
    r"\b(?:not|no|never|or|either|neither|isn't|aren't|false|wrong|incorrect|if|unless|than|half|twice|double|"
    r"triple|negative|minus|reciprocal|inverse)\b|不|非|没|或|错|若|当",
    re.IGNORECASE,
)
_CHANGES = re.compile(
    r"\d|\b(?:more|less|fewer|greater|times|hal(?:f|ves)|thirds?|quarters?|dozens?|hundreds?|thousands?|[mb]illions?|percent|"
    r"pairs?|scores?|double|twice|triple|or|and|not|no|than|short|late|early|ago|below|above|under|over|plus|minus|squared|"
    r"cubed|before|after|per|each|every|except|if|to|first|second|last|other|point|"
    r"(?:young|old|tall|small|larg|heavi|light|long|short|high|low|fast|slow|wid|deep|cheap|warm|cold|hott|lat|earli)er)\b",
    re.IGNORECASE,
)
"""Words after a number that say something else than the number does."""
_EXCEPTION = re.compile(
    r"(?:with the exception of|except(?:ing)?(?: for| when| that| where| if)?|excluding|other than|but not|除了?|除去)",
    re.IGNORECASE,
)
_REALS_EXCEPT = re.compile(
    r"(?:all|any|every) real(?:s| numbers?| values?)?(?: of x)?,? (?:except(?:ing)?(?: for)?|other than|excluding|"
    r"but not)",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:altogether|in total|in all|total|overall|approximately|respectively|as required|in simplest form|"
    r"in simplified form|is the (?:only|unique) (?:real |positive |possible )?(?:solution|answer|value|root|one)|共|"
    r"即可|为所求|是(?:原)?方程的[解根])[.!]*",
    re.IGNORECASE,
)


def answer_tokens(tokens: list[Token]) -> list[Token]:
    """Return the tokens without words that lead in or trail off; words that name the answer become its label."""
    tokens = _with_subject(_without_tail(tokens))
    first = tokens[0]
    if first.kind != "text" or len(tokens) < 2 or len(first.text) > _LONGEST_LEAD_IN:
        return tokens
    words = first.text.strip(" :：,")
    following = tokens[1].text
    if following in RELATIONS and tokens[1].kind != "text":
        return tokens
    if _LEAD_IN.fullmatch(words) or _LEAD_OUT.fullmatch(words):
        rest = tokens[1:]
        while len(rest) > 1 and rest[0].kind == "op" and rest[0].text in (":", ","):
            rest = rest[1:]
        return answer_tokens(rest)
    if _PLACE.fullmatch(words) and (following in ("(", "[") or tokens[1].kind == "let"):
        return answer_tokens(tokens[1:])
    if _THING.fullmatch(words):
        return answer_tokens(tokens[2 if following == ":" and len(tokens) > 2 else 1 :])
    if _DOUBT.search(words):
        return tokens
    if tokens[1].kind == "let" and len(tokens) > 3 and tokens[2].text == "=" and _ATTRIBUTE.fullmatch(words):
        return [first, *tokens[2:]]  # the slope m = 2
    if following == ":" and len(tokens) > 2:
        return [first, Token("op", "="), *tokens[2:]]
    if first.text.rstrip().endswith((":", "：")):
        return [first, Token("op", "="), *tokens[1:]]
    if _names(words, tokens[1]):
        return [
            first,
            Token("op", "="),
            *(_without_rest(tokens[1:]) if _NAMES.fullmatch(words) or _is_sentence(words) else tokens[1:]),
        ]
    return tokens


def _with_subject(tokens: list[Token]) -> list[Token]:
    """Read "the value of k is 7" as ``k = 7``, and "the sum of a and b is 7" with all words as its label."""
    if tokens[0].kind != "text":
        return tokens
    for place, token in enumerate(tokens[1:_LONGEST_SUBJECT], 1):
        if token.kind == "text" and _VERB.fullmatch(token.text.strip()):
            before = tokens[:place]
            words = " ".join(item.text for item in (*before, token))
            if place == len(tokens) - 1 or tokens[place + 1].kind == "text" or _DOUBT.search(words):
                return tokens
            if place == 2 and before[1].kind == "let" and _VALUE_OF.fullmatch(before[0].text.strip()):
                return [before[1], Token("op", "="), *tokens[3:]]
            return [Token("text", words), *tokens[place + 1 :]]
        if token.text in _SEPARATORS or token.text in RELATIONS:
            return tokens
    return tokens


def _without_rest(tokens: list[Token]) -> list[Token]:
    """Return what a sentence says of a number without the words after its unit: "12 marbles at the end"."""
    last = tokens[-1]
    if last.kind != "text" or len(tokens) < 2 or tokens[-2].kind != "num" or _CHANGES.search(last.text):
        return tokens
    if len(tokens) > 2 and tokens[-3].text in CURRENCIES:
        return tokens[:-1]
    words = last.text.split()
    for length in range(len(words) - 1, 0, -1):
        if units.read_unit(" ".join(words[:length])) is not None:
            return [*tokens[:-1], Token("text", " ".join(words[:length]))]
    return tokens


def with_labels(tokens: list[Token]) -> list[Token]:
    """Return the tokens with a sign after words that name a later answer: "the maximum is 5, the minimum -3"."""
    result = tokens[:1]
    for before, token, after in zip(tokens, tokens[1:], [*tokens[2:], Token("end", "")], strict=False):
        result.append(token)
        if (
            after.text == ":"
            and before.text in _CLAUSE_ENDS
            and token.kind == "text"
            and not _DOUBT.search(token.text)
        ):
            after.text = "="
        starts = before.text in _CLAUSE_ENDS and token.kind == "text" and token.text not in ("and", "or")
        words = token.text.strip(" :：,")
        titles = token.text.rstrip().endswith(":") or _names(words, after)
        if starts and not _DOUBT.search(words) and after.text not in RELATIONS and titles:
            result.append(Token("op", "="))
    return result


def with_named_values(tokens: list[Token]) -> list[Token]:
    """Read ``Tom 12, Jerry 8`` with signs after the names; one name alone may be part of a sentence."""
    clauses: list[list[Token]] = [[]]
    for token in tokens:
        if token.text in _CLAUSE_ENDS:
            clauses.append([])
        else:
            clauses[-1].append(token)
    names = [clause[0].text.strip() for clause in clauses if len(clause) in (2, 3)]
    shaped = all(
        [token.kind for token in clause] in (["text", "num"], ["text", "num", "text"]) for clause in clauses
    )
    if len(names) < 2 or len(set(names)) < len(clauses) or not shaped:
        return tokens
    if not all(_PROPER_NAME.fullmatch(name) for name in names):
        return tokens
    result: list[Token] = []
    for place, token in enumerate(tokens):
        result.append(token)
        starts = not place or tokens[place - 1].text in _CLAUSE_ENDS
        if starts and token.kind == "text" and token.text not in _CLAUSE_ENDS:
            result.append(Token("op", "="))
    return result


def with_titles(tokens: list[Token]) -> list[Token]:
    """Read ``HA: y = 2`` as a label before a relation; ``AB : CD`` is a ratio."""
    result: list[Token] = []
    for place, token in enumerate(tokens):
        before = tokens[place - 1].text if place else ","
        following = tokens[place + 1 : place + 4]
        if token.kind == "name" and before in _CLAUSE_ENDS and len(following) == 3:
            colon, letter, sign = following
            if colon.text == ":" and letter.kind == "let" and sign.text in RELATIONS:
                token = Token("text", token.text)
                colon.text = "="
        result.append(token)
    return result


def _is_sentence(words: str) -> bool:
    return _SENTENCE.fullmatch(words) is not None and not _NO_VERB.search(words)


def _names(words: str, following: Token) -> bool:
    """Return whether words name the value that comes after them."""
    if _NAMES.fullmatch(words) or _is_sentence(words):
        return True
    if following.kind == "let" and _TITLE.fullmatch(words):
        return True
    if following.text in ("(", "[") and _OF_INTERVAL.fullmatch(words):
        return True
    value = following.kind == "num" or following.text in _SIGNS
    return value and _ATTRIBUTE.fullmatch(words) is not None


def with_exceptions(tokens: list[Token]) -> list[Token]:
    r"""Read ``n \ge 3 except n = 5`` as ``n \ge 3, n \ne 5``."""
    if tokens[0].kind == "text" and _REALS_EXCEPT.fullmatch(tokens[0].text.strip(" ,")):
        named = len(tokens) > 2 and tokens[1].kind == "let" and tokens[2].text == "="
        letter = tokens[1] if named else Token("let", "x")
        return [letter, Token("cmd", "\\ne"), *tokens[3 if named else 1 :]]
    for place, token in enumerate(tokens[:-2], 1):
        if token.kind != "text" or not _EXCEPTION.fullmatch(token.text.strip(" ,")) or place < 2:
            continue
        sign = place + 1
        if tokens[place].kind == "let" and tokens[sign].text == "=":
            rest = [tokens[place], Token("cmd", "\\ne"), *tokens[sign + 1 :]]
            separator = [] if tokens[place - 2].text == "," else [Token("op", ",")]
            return [*tokens[: place - 1], *separator, *rest]
    return tokens


def _no_words(tokens: list[Token]) -> bool:
    """Return whether nothing but "and" is in words before the last token: ``x = 3 only``, ``I, III only``."""
    return all(token.kind != "text" or token.text == "and" for token in tokens[:-1])


def _without_tail(tokens: list[Token]) -> list[Token]:
    last = tokens[-1]
    said = last.text.strip(" ,")
    if (
        len(tokens) > 1
        and last.kind == "text"
        and (_TAIL.fullmatch(said) or (said == "only" and _no_words(tokens)))
    ):
        tokens = tokens[:-1]
        while len(tokens) > 1 and tokens[-1].kind == "op" and tokens[-1].text == ",":
            tokens = tokens[:-1]
    return tokens
