r"""Formulas of chemistry: ``\text{Fe}_2\text{O}_3``, ``\ce{Fe2O3}``, ``Fe2O3`` name one compound.

Ions have a charge: ``Ca^{2+}``.
"""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.nodes import Text

__all__ = ["other_elements", "read_compound"]

_ELEMENTS = frozenset(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "  # noqa: SIM905
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Nd Sm Eu Gd W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Ra "
    "Hf Ta Th U Pu".split()
)
_MARKUP = re.compile(r"\\(?:text|mathrm|rm|ce|mathbf)\s?|[{}\s_~]|\\[,;! ]")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d{0,3}|[()]\d{0,3}){2,20}")
_ION = re.compile(r"((?:[A-Z][a-z]?\d{0,3}|[()\[\]]\d{0,3}){1,20})\^([2-9]?)([+\-−])")
_PART = re.compile(r"[A-Z][a-z]?")
_ORGANIC = re.compile(r"C\d{0,3}H\d")
_CHARGES = frozenset("+-−")
_LONGEST = 120


def read_compound(text: str) -> Text | None:
    """Return the words of an ion, or of a compound of two elements with a number in it; ``None`` for other text."""
    if len(text) > _LONGEST:
        return None
    plain = _MARKUP.sub("", text)
    ion = _ION.fullmatch(plain) if plain[-1:] in _CHARGES else None
    if ion and _ELEMENTS.issuperset(_PART.findall(ion[1])):
        return Text(f"ion {ion[1]} {ion[2]}{'+' if ion[3] == '+' else '-'}")
    if not any(map(str.isdigit, text)):
        return None
    marked = "\\" in text
    elements = _PART.findall(plain)
    if not _FORMULA.fullmatch(plain) or len(set(elements)) < 2 or not _ELEMENTS.issuperset(elements):
        return None
    if (
        not marked
        and text.count("_") >= len(elements)
        and max(map(len, elements)) < 2
        and not _ORGANIC.match(plain)
    ):
        return None  # P_1 V_1 is a product
    return Text(f"compound {plain}")


def other_elements(left: str, right: str) -> bool:
    """Return whether two words that differ in case only name different elements: ``CO`` and ``Co``."""
    if left == right or left.casefold() != right.casefold():
        return False
    found = [_PART.findall(words) for words in (left, right)]
    return (
        found[0] != found[1]
        and _ELEMENTS.issuperset(found[0] + found[1])
        and all(_FORMULA.fullmatch(words) or words in _ELEMENTS for words in (left, right))
    )
