"""Counted things: which words after a number say what is counted, and so leave the number as it is.

A noun is a plural ("apples"), a singular after one ("1 apple"), or a counter of a script without plurals (``个``). A
other word, or a word that changes the number ("pairs", "more", "below"), is not a noun.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from guerdon_plugins.verifiers.math.reading.number_words import NUMBER_WORDS


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CHANGES_THE_NUMBER = _set(
    # how much, how many of it
    "more less least most fewer greater fewest extra additional about around approximately roughly nearly almost over "
    "under above below up plus minus divided multiplied by mod modulo base point negative positive only all any "
    "either neither both maybe possibly perhaps probably half halves double doubles doubled triple triples tripled "
    "quadruple twice thrice fold pair pairs couple couples trio trios dozen dozens score scores gross grosses brace "
    "bunch hundred hundreds thousand thousands million millions billion billions trillion "
    "trillions quadrillion quadrillions quintillion quintillions lakh lakhs crore crores myriad myriads tens ones zero "
    "zillion zillions googol googols negatives positives "
    "zeros percent percents percentage percentages degree degrees factorial factorials squared cubed root roots power "
    "powers decimal decimals log logs reciprocal reciprocals inverse inverses "
    "infinity infinite recurring repeating short late early ago before after past until "
    # which one
    "first second third fourth fifth next last other others another "
    # negation, doubt, logic
    "if or and not no none nor never without unless except but otherwise when where while is are was were be been "
    "equals equal means gives makes remains wrong incorrect correct right true false so then therefore because since "
    "hence thus answer answers result results always sometimes besides afterwards this these those "
    "that which something anything nothing everything someone "
    # where and how
    "east west north south upwards downwards backwards forwards clockwise counterclockwise towards from to through "
    "between for with the a an at"
) - _set("second")
_IRREGULAR = _set(
    "people children men women mice feet geese teeth fish sheep deer oxen dice data media criteria vertices indices "
    "matrices police cattle students' boys' girls' water milk sugar money rice juice salt sand fabric paint gas fuel "
    "sales homework candy fruit bread wood wire ribbon rope string cake pizza pie person integer"
)
_SINGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman", "pupil": "student"}
_NUMBERS = frozenset(NUMBER_WORDS)
_SEVERAL = _set("pairs triples quadruples")
"""Ordered pairs are things that are counted; pairs of things are twice as many."""
_OF = _set("of in the a an")
"""Words that may occur between nouns: "slices of the pizza"."""
_COUNTERS = (  # noqa: SIM905
    "个 個 件 只 隻 条 條 本 张 張 块 塊 支 枝 人 名 位 种 種 次 组 組 头 頭 匹"
    " 棵 颗 粒 朵 根 把 辆 輛 艘 架 台 座 所 间 間 "
    "户 家 项 項 步 局 场 場 箱 盒 袋 瓶 杯 碗 包 筐 桶 串 排 行 列 层 層 页 頁 篇 首 句 字 道 题 題 级 級 节 節 课 票 "
    "第象限 第 象限 篮 份 套 副 面 枚 盏 扇 幅 株 倍 "
    "班 批 趟 圈 遍 回 根本 点 分 明 개 명 마리 권 冊 円玉 通り штук человек раз"
).split()
_IN_ENGLISH = {
    "倍": "time",
    "象限": "quadrant",
    "名": "人",
    "位": "人",
    "第": "ordinal",
    "第象限": "ordinal quadrant",
}
"""Counters that have one word in English."""
_CHANGES_IN_CHINESE = re.compile(
    r"[零〇一二三四五六七八九十百千万亿半双对打成折]|以[上下外内]"
    r"|[多余少约非无或和与及且至到]|不(?!同)|左右|分之"
)


def counted_noun(words: Sequence[str], *, singular: bool = False, any_noun: bool = False) -> str | None:
    """Return the name of what is counted, or ``None`` where the words are not a noun.

    Args:
        words: The words after the number.
        singular: Whether a noun in the singular counts as well.
        any_noun: Whether every word that leaves the number as it is counts as a noun.
    """
    if len(words) == 1 and not words[0].isascii():
        return _foreign_noun(words[0])
    lowered = [word.lower().strip(".,()") for word in words if word != "such"] or [""]
    if lowered[-1] in _SEVERAL and len(lowered) > 1 and lowered[-2].endswith("ordered"):
        lowered = [*lowered[:-1], "tuples"]
    if any(not _leaves_the_number(word) for word in lowered):
        return None
    # The noun is the head: what "of" or "in" adds does not count.
    head = lowered
    for place, word in enumerate(lowered):
        if word in _OF and place:
            head = lowered[:place]
            break
    if not head:
        return None
    if not (any_noun or _is_plural(head[-1]) or (singular and _is_plain(head[-1]))):
        return None
    return " ".join(_SINGULAR.get(word) or word.removesuffix("s") for word in head)


def _leaves_the_number(word: str) -> bool:
    if word in _OF:
        return True
    plain = word.replace("-", "").replace("'", "").replace("’", "")
    fraction = (
        word.endswith(("th", "ths")) and len(word) > 4 and word not in ("months", "month", "paths", "path")
    )
    return (
        plain.isalpha()
        and len(plain) > 1
        and not fraction
        and not {word, word.removesuffix("s"), word.removesuffix("es")} & _NUMBERS
        and word not in _CHANGES_THE_NUMBER
    )


def _is_plural(word: str) -> bool:
    return word in _IRREGULAR or (
        len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    )


def _is_plain(word: str) -> bool:
    return len(word) > 2 and not word.endswith(("ed", "er", "est", "ly"))


def _foreign_noun(word: str) -> str | None:
    counter = next((name for name in _COUNTERS if word.startswith(name)), None)
    if counter is None or _CHANGES_IN_CHINESE.search(word.removeprefix(counter)):
        return None
    return _IN_ENGLISH.get(counter, counter)
