"""Units of measurement, money and counted things: from words to powers of unit names, and to base units."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from guerdon_plugins.verifiers.math.nodes import Unit
from guerdon_plugins.verifiers.math.reading.nouns import counted_noun
from guerdon_plugins.verifiers.math.reading.unit_table import Powers, unit_powers, unit_value

_BARE_SYMBOLS = frozenset(
    "mm cm dm km mg kg ml mL ft lb lbs oz hr hrs mph kph kmh Hz kHz MHz GHz kJ MJ kN kW MW kWh kPa MPa mol eV keV MeV "  # noqa: SIM905
    "GeV sq rad rpm mA mV kV kΩ gal USD EUR GBP RMB CNY JPY INR".split()
)
BARE_AFTER_A_NUMERAL = frozenset(("min", "mins", "sec", "secs", "hour", "day", "year", "cup", "age", "ton"))
"""The names of functions and short words that are units right after a numeral."""

_PIECE = re.compile(r"([^\W\d_]+|[€£¢₹₽₩$]|\w+-\w+)\.?(?:\s*\^?\s*[({]?([-+−]?\d)[)}]?)?")
_BRACKETED_BELOW = re.compile(r"/\s*\(([^()]*)\)")
_POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWERS_AFTER = {"squared": 2, "cubed": 3}
_MEASURED = frozenset(
    "long wide tall high deep old away apart thick tall total altogether left remaining remain long. each".split()  # noqa: SIM905
)
"""Words after a unit that say what is measured."""
_MAX_PIECES = 6
DIFFERENCES = {"celsius": Fraction(1), "fahrenheit": Fraction(5, 9)}
"""Kelvins in a difference of one degree."""
_GLUED = re.compile(r"(k?[JNVWC]|kg|lb)(mol|kg|ft|[msKC])(?=\^|$)")
"""``JK^{-1}``, ``Nm``: two units without a space."""
_IN_ANY_CASE = ("kPa", "kJ", "kg", "km", "kN", "kW", "kWh", "kV", "kHz", "Hz", "dB", "mol", "eV", "cm")
_BY_SMALL_LETTERS = {symbol.lower(): symbol for symbol in _IN_ANY_CASE}
"""Symbols that say the same in any case: ``KJ``, ``kPA``."""
_RAISED_BEFORE_NAME = re.compile(r"\^[-−]?\d(?=[^\W\d_])")
_JOINED = re.compile(r"(?<![^\W\d_])([^\W\d_]{1,20})-([^\W\d_]{1,20})(?![^\W\d_])")


def read_unit(words: str, *, one: bool = False, any_noun: bool = False) -> Unit | None:
    """Return the unit that some words name, or ``None`` where they are not one.

    A unit is a product of units of measurement, money, and at most one counted noun ("red balls"). An unknown word,
    and a word that changes the number before it ("or", "more", "halves"), is not a unit.

    Args:
        words: The words after the number.
        one: Whether the number is 1 or smaller, so that a noun is singular.
        any_noun: Whether every word that leaves the number as it is says what is counted.
    """
    words = f" {words.strip(' .,;')}".replace(" per ", "/").replace("每", "/").strip()
    words = _BRACKETED_BELOW.sub(lambda match: "/" + re.sub(r"[\s·*×]+", "/", match[1].strip()), words)
    top, *below = words.split("/")
    powers: Counter[str] = Counter()
    for sign, part in ((1, top), *((-1, part) for part in below)):
        if sign == 1 and not part.strip() and below:
            continue
        part_powers = _read_product(part, one or sign < 0, any_noun)
        if part_powers is None:
            return None
        for name, power in part_powers:
            powers[name] += sign * power
    return make_unit(powers) if powers else None


def is_bare_name(word: str) -> bool:
    r"""Return whether a word is a unit without ``\text``: never a single Latin letter, which is a variable."""
    if word in _BARE_SYMBOLS:
        return True
    return ((len(word) > 3 and word.islower()) or not word.isascii()) and is_name(word)


def is_name(word: str) -> bool:
    """Return whether a word is a unit's own name."""
    return unit_powers(word) is not None


def make_unit(powers: Counter[str]) -> Unit:
    """Return a unit from powers by name."""
    return Unit(tuple(sorted((name, power) for name, power in powers.items() if power)))


def to_base(unit: Unit) -> tuple[Unit, Fraction]:
    """Return the unit in base units, and the factor between them; money included, temperatures not.

    A degree in a product of units, ``J/(kg °C)``, is a difference of temperatures, which has a factor.
    """
    powers: Counter[str] = Counter()
    factor = Fraction(1)
    single = len(unit.powers) == 1 and unit.powers[0][1] == 1
    for name, power in unit.powers:
        bases, scale = unit_value(name)
        if not single and name in DIFFERENCES:
            bases, scale = (("K", 1),), DIFFERENCES[name]
        for base, exponent in bases:
            powers[base] += exponent * power
        factor *= scale**power
    return make_unit(powers), factor


def same_noun(reference: Unit, answer: Unit) -> bool:
    """Return whether two units count the same things, one with fewer words: "students" and "new students"."""
    if len(reference.powers) != 1 or len(answer.powers) != 1:
        return False
    left, right = (set(unit.powers[0][0].split()) for unit in (reference, answer))
    counts = not any(is_name(unit.powers[0][0]) for unit in (reference, answer))
    return counts and (left <= right or right <= left)


def _read_product(words: str, one: bool, any_noun: bool) -> Powers | None:
    words = words.strip(" .,")
    if found := _known(words):
        return found
    if words and not words.isascii() and " " not in words:
        return _read_unspaced(words)
    words = _RAISED_BEFORE_NAME.sub(r"\g<0> ", words)
    pieces = (
        _JOINED.sub(_apart, " ".join(map(_unglued, words.split(" "))))
        .replace("·", " ")
        .replace("⋅", " ")
        .replace("*", " ")
        .replace("×", " ")
        .split()
    )
    if not 1 <= len(pieces) <= _MAX_PIECES:
        return None
    result: list[tuple[str, int]] = []
    nouns: list[str] = []
    pending = 1
    for index, piece in enumerate(pieces):
        lowered = piece.lower().rstrip(".")
        match = _PIECE.fullmatch(piece)
        if lowered in _POWER_WORDS:
            pending = _POWER_WORDS[lowered]
        elif lowered in _POWERS_AFTER and result:
            result[-1] = (result[-1][0], _POWERS_AFTER[lowered])
        elif result and (lowered in _MEASURED or lowered in ("of", "in")) and not nouns:
            rest = pieces[index + 1 :]
            if rest and (lowered not in ("of", "in") or not counted_noun(rest, any_noun=True)):
                return None
            return tuple(result)
        elif match and not nouns and (powers := _known(match[1])):
            exponent = int((match[2] or "1").replace("−", "-")) * pending
            result.extend((name, power * exponent) for name, power in powers)
            pending = 1
        else:
            nouns.append(piece)
    if nouns:
        noun = counted_noun(nouns, singular=one or bool(result), any_noun=any_noun)
        if noun is None:
            return None
        result.append((noun, pending))
    elif pending != 1:
        return None
    return tuple(result)


def _apart(match: re.Match[str]) -> str:
    """Read ``ft-lb`` as ``ft lb``, and no other word with a hyphen."""
    return f"{match[1]} {match[2]}" if _known(match[1]) and _known(match[2]) else match[0]


def _unglued(piece: str) -> str:
    """Read ``JK^-1`` as ``J K^-1``; ``kg`` is one unit."""
    match = _GLUED.match(piece)
    if match is None or unit_powers(match[0]):
        return piece
    return f"{match[1]} {match[2]}{piece[match.end() :]}"


def _known(word: str) -> Powers | None:
    """Return the powers of a unit's name; long names in any case, and symbols where the case tells nothing."""
    word = word.removesuffix(".")
    if found := unit_powers(word):
        return found
    lowered = word.lower()
    if (len(word) > 2 or lowered in _BARE_SYMBOLS) and (found := unit_powers(lowered)):
        return found
    return unit_powers(_BY_SMALL_LETTERS.get(lowered, ""))


def _read_unspaced(words: str) -> Powers | None:
    """Return a unit in a script without spaces: ``平方厘米``, ``个苹果``."""
    for prefix, power in (("平方", 2), ("立方", 3)):
        if words.startswith(prefix) and (found := _known(words.removeprefix(prefix))):
            return tuple((name, exponent * power) for name, exponent in found)
    if words.startswith("每"):
        return None
    noun = counted_noun([words])
    return None if noun is None else ((noun, 1),)
