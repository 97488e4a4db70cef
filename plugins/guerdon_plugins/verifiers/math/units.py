"""Units of measurement and money: from words and abbreviations to one name each, with powers."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from guerdon_plugins.verifiers.math.nodes import Unit


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NAMES: dict[str, str] = {
    "mm": "mm millimeter millimeters millimetre millimetres 毫米",
    "cm": "cm centimeter centimeters centimetre centimetres 厘米",
    "dm": "dm decimeter decimeters decimetre decimetres 分米",
    "m": "m meter meters metre metres 米",
    "km": "km kilometer kilometers kilometre kilometres 千米 公里",
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "yard": "yd yard yards",
    "mile": "mi mile miles",
    "mg": "mg milligram milligrams",
    "g": "g gram grams 克",
    "kg": "kg kilogram kilograms 千克 公斤",
    "tonne": "ton tons tonne tonnes 吨",
    "ounce": "oz ounce ounces",
    "pound": "lb lbs pound pounds",
    "ml": "ml mL milliliter milliliters millilitre millilitres 毫升",
    "liter": "l L liter liters litre litres 升",
    "gallon": "gal gallon gallons",
    "quart": "quart quarts",
    "pint": "pint pints",
    "cup": "cup cups",
    "second": "s sec secs second seconds 秒",
    "minute": "min mins minute minutes 分钟",
    "hour": "h hr hrs hour hours 小时",
    "day": "day days 天 日",
    "week": "week weeks 周",
    "month": "month months 月",
    "year": "yr yrs year years 年",
    "age": "岁",
    "dollar": "dollar dollars USD",
    "cent": "cent cents ¢",
    "euro": "euro euros EUR €",
    "sterling": "GBP £",
    "yuan": "yuan RMB CNY 元",
    "yen": "yen JPY",
    "rupee": "rupee rupees Rs",
    "radian": "rad radian radians",
    "celsius": "celsius",
    "fahrenheit": "fahrenheit",
    "newton": "N newton newtons",
    "joule": "J joule joules",
    "watt": "W watt watts",
    "volt": "V volt volts",
    "hertz": "Hz hertz",
    "unit": "unit units",
    "piece": "个 件 只 条 本 张 块 支",
    "person": "person people persons 人 名",
    "hectare": "hectare hectares 公顷",
    "acre": "acre acres",
}
_COMPOUND: dict[str, tuple[tuple[str, int], ...]] = {
    "mph": (("hour", -1), ("mile", 1)),
    "kph": (("hour", -1), ("km", 1)),
    "kmh": (("hour", -1), ("km", 1)),
    "平方毫米": (("mm", 2),),
    "平方厘米": (("cm", 2),),
    "平方分米": (("dm", 2),),
    "平方米": (("m", 2),),
    "平方千米": (("km", 2),),
    "立方厘米": (("cm", 3),),
    "立方分米": (("dm", 3),),
    "立方米": (("m", 3),),
}
_CANONICAL = {word: name for name, words in _NAMES.items() for word in words.split()}

BARE = frozenset(
    word
    for word in (*_CANONICAL, *_COMPOUND)
    if (len(word) > 1 or not word.isascii()) and word not in ("in", "min", "Rs", "ml", "mi", "yd")
) | {"ml"}
"""The units that are read without ``\\text``: never a single Latin letter, which is a variable."""

MULTIPLIERS = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "百": 100,
    "千": 1000,
    "万": 10**4,
    "亿": 10**8,
}
"""Words that scale the number before them."""

_NOT_A_NOUN = _set(
    "if or and not otherwise when where is are was unless else except but wrong than more less least most fewer "
    "greater approximately about around between from to through plus minus times over divided half halves third "
    "thirds quarter quarters factorial mod modulo base point negative for with without the a an no none nor only all "
    "any either neither both maybe possibly infinity infinite recurring repeating each every so then therefore because "
    "since answer solution solutions answers incorrect correct percent degrees hundreds thousands millions billions "
    "fourths fifth fifths sixth sixths seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths "
    "thousandth thousandths millionth millionths dozens score twice double triple fold root roots power true false"
)
"""Words that change what the number before them says, so that they cannot be its unit."""

_PIECE = re.compile(r"([^\W\d_]+|[€£¢])\.?(?:\s*\^?\s*\{?(-?\d)\}?)?")
_TO_UNITS: dict[str, tuple[str, Fraction]] = {
    "mm": ("m", Fraction(1, 1000)),
    "cm": ("m", Fraction(1, 100)),
    "dm": ("m", Fraction(1, 10)),
    "km": ("m", Fraction(1000)),
    "inch": ("m", Fraction(254, 10000)),
    "foot": ("m", Fraction(3048, 10000)),
    "yard": ("m", Fraction(9144, 10000)),
    "mile": ("m", Fraction(1609344, 1000)),
    "mg": ("g", Fraction(1, 1000)),
    "kg": ("g", Fraction(1000)),
    "tonne": ("g", Fraction(10**6)),
    "ml": ("liter", Fraction(1, 1000)),
    "minute": ("second", Fraction(60)),
    "hour": ("second", Fraction(3600)),
    "day": ("second", Fraction(86400)),
    "week": ("second", Fraction(604800)),
    "cent": ("dollar", Fraction(1, 100)),
}


def read_unit(words: str) -> Unit | None:
    """The unit that some words name, or ``None`` where they cannot be one.

    A short phrase of unknown nouns ("red balls") is a unit of its own; words that change the meaning of the number
    before them ("or", "more", "halves") never are.
    """
    words = words.strip(" .").replace(" per ", "/").replace("每", "/")
    top, *below = words.split("/")
    if len(below) > 1:
        return None
    powers: Counter[str] = Counter()
    for sign, part in ((1, top), *((-1, part) for part in below)):
        part_powers = _read_product(part)
        if part_powers is None:
            return None
        for name, power in part_powers:
            powers[name] += sign * power
    return make_unit(powers)


def is_name(word: str) -> bool:
    """Whether a word is a unit's own name."""
    return word in _CANONICAL or word in _COMPOUND


def make_unit(powers: Counter[str]) -> Unit:
    """A unit from powers by name."""
    return Unit(tuple(sorted((name, power) for name, power in powers.items() if power)))


def to_base(unit: Unit) -> tuple[Unit, Fraction]:
    """The unit in base units, and the factor between them; money and lengths included, temperatures not."""
    powers: Counter[str] = Counter()
    factor = Fraction(1)
    for name, power in unit.powers:
        base, scale = _TO_UNITS.get(name, (name, Fraction(1)))
        powers[base] += power
        factor *= scale**power
    return make_unit(powers), factor


def _read_product(words: str) -> tuple[tuple[str, int], ...] | None:
    words = words.strip()
    if words in _COMPOUND:
        return _COMPOUND[words]
    pieces = words.replace("·", " ").replace("-", " ").split()
    if not 1 <= len(pieces) <= 4:
        return None
    result: list[tuple[str, int]] = []
    nouns: list[str] = []
    pending = 1
    for piece in pieces:
        match = _PIECE.fullmatch(piece)
        if match is None:
            return None
        word, power = match[1], int(match[2] or 1)
        lowered = word.lower()
        if lowered in ("square", "sq", "cubic", "cu"):
            pending = 2 if lowered.startswith("sq") else 3
        elif lowered in ("squared", "cubed"):
            if not result:
                return None
            result[-1] = (result[-1][0], 2 if lowered == "squared" else 3)
        elif lowered in _NOT_A_NOUN or lowered in MULTIPLIERS:
            return None
        elif name := _CANONICAL.get(word) or _CANONICAL.get(lowered):
            result.append((name, power * pending))
            pending = 1
        elif len(word) == 1 and word.isascii():
            return None
        else:
            nouns.append(lowered.removesuffix("s"))
    if nouns:
        result.append((" ".join(nouns), pending))
    elif pending != 1:
        return None
    return tuple(result)
