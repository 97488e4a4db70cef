"""Directions as angles from north, clockwise: ``N 30° E``, "30° north of east", 北偏东30°, "due west"."""

from __future__ import annotations

import re
from fractions import Fraction

from guerdon_plugins.verifiers.math.nodes import Number, Quantity, Unit

__all__ = ["read_direction"]

_AZIMUTH = Unit((("azimuth", 1),))
_ANGLES = {
    **dict.fromkeys(("n", "north", "北"), 0),
    **dict.fromkeys(("e", "east", "东"), 90),
    **dict.fromkeys(("s", "south", "南"), 180),
    **dict.fromkeys(("w", "west", "西"), 270),
}
_NAMED = {
    f"{first}{gap}{second}": (_ANGLES[first] + turn) % 360
    for first, second, turn in (
        ("north", "east", 45),
        ("south", "east", -45),
        ("south", "west", 45),
        ("north", "west", -45),
    )
    for gap in ("", "-", " ")
}
_CARDINAL = r"(n|s|e|w|north|south|east|west)"
_ANGLE = r"(\d{1,3}(?:\.\d{1,20})?)(?:\s*\^\s?\{?\s*\\circ\s*\}?|\s*(?:degrees?|deg\b|度))\s*"
_FROM_FIRST = re.compile(rf"(?:bearing |direction )?{_CARDINAL}\s*{_ANGLE}(?:towards? )?{_CARDINAL}")
_FROM_SECOND = re.compile(rf"(?:at )?{_ANGLE}(?:to the )?{_CARDINAL} (?:of|from) (?:due )?{_CARDINAL}")
_IN_CHINESE = re.compile(rf"([东南西北])偏([东南西北])\s*{_ANGLE}(?:方向)?")
_DUE = re.compile(
    r"(?:due |to the |towards the )?(?:(north|south|east|west)|((?:north|south)[- ]?(?:east|west)))"
)


def read_direction(text: str) -> Quantity | None:
    """Return a direction as its angle from north, clockwise, in degrees; ``None`` for every other text."""
    text = text.lower().strip(" .")
    if match := _FROM_FIRST.fullmatch(text):
        return _turned(match[1], match[2], match[3])
    if match := _FROM_SECOND.fullmatch(text):
        return _turned(match[3], match[1], match[2])
    if match := _IN_CHINESE.fullmatch(text):
        return _turned(match[1], match[3], match[2])
    if match := _DUE.fullmatch(text):
        return _direction(Fraction(_ANGLES[match[1]] if match[1] else _NAMED[match[2]]))
    return None


def _turned(start: str, degrees: str, towards: str) -> Quantity | None:
    """Return the direction some degrees from one point of the compass towards a neighbour of it."""
    turn = (_ANGLES[towards] - _ANGLES[start]) % 360
    angle = Fraction(degrees)
    if turn not in (90, 270) or angle > 90:
        return None
    return _direction((_ANGLES[start] + (angle if turn == 90 else -angle)) % 360, "." in degrees)


def _direction(angle: Fraction, decimal: bool = False) -> Quantity:
    return Quantity(Number(angle, decimal), _AZIMUTH)
