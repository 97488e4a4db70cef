r"""Formulas of chemistry: ``\text{Fe}_2\text{O}_3``, ``\ce{Fe2O3}``, ``Fe2O3`` name one compound.

Ions have a charge: ``Ca^{2+}``. A configuration has the electrons of an atom: ``1s^2 2s^2 2p^4``, ``[He]2s^22p^4``.
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
_MARKUP = re.compile(r"\\(?:text|mathrm|rm|ce|mathbf|left|right)(?![a-zA-Z])\s?|[{}\s_~]|\\[,;! ]")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d{0,3}|[()]\d{0,3}){2,20}")
_ION = re.compile(r"((?:[A-Z][a-z]?\d{0,3}|[()\[\]]\d{0,3}){1,20})\^([2-9]?)([+\-−])")
_PART = re.compile(r"[A-Z][a-z]?")
_ORGANIC = re.compile(r"C\d{0,3}H\d")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_CHARGES = frozenset("+-−")
_LONGEST = 120
_SUBSHELL = re.compile(r"([1-7])([spdf])\^?(\d{1,2}?)(?=[1-7][spdf]|$)")
_CONFIGURATION = re.compile(r"(?:\[([A-Z][a-z]?)\])?((?:[1-7][spdf]\^?\d{1,2}){1,19})")
_CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}
_CORES = {
    "He": "1s2",
    "Ne": "1s2 2s2 2p6",
    "Ar": "1s2 2s2 2p6 3s2 3p6",
    "Kr": "1s2 2s2 2p6 3s2 3p6 3d10 4s2 4p6",
    "Xe": "1s2 2s2 2p6 3s2 3p6 3d10 4s2 4p6 4d10 5s2 5p6",
    "Rn": "1s2 2s2 2p6 3s2 3p6 3d10 4s2 4p6 4d10 4f14 5s2 5p6 5d10 6s2 6p6",
}
"""The subshells of the noble gases, which a configuration may begin with: ``[Ne]3s^2``."""


def read_compound(text: str) -> Text | None:
    """Return the words of an ion, a configuration, or a compound of two elements with a number in it, else ``None``."""
    if len(text) > _LONGEST:
        return None
    plain = _MARKUP.sub("", text.translate(_RAISED))
    if (configuration := _configuration(plain)) is not None:
        return configuration
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


def _configuration(plain: str) -> Text | None:
    """Return the electrons of an atom by subshell, in one order, with the core written out; ``None`` for other text."""
    match = _CONFIGURATION.fullmatch(plain)
    if match is None or (match[1] is not None and match[1] not in _CORES):
        return None
    shells = [(number + letter, int(count)) for number, letter, count in _SUBSHELL.findall(match[2])]
    core = [(shell[:2], int(shell[2:])) for shell in _CORES.get(match[1] or "", "").split()]
    electrons = dict(core + shells)
    written = len(core) + len(shells)
    if written < 2 or len(electrons) < written:
        return None
    if any(not 1 <= count <= _CAPACITY[shell[1]] for shell, count in electrons.items()):
        return None
    return Text("electrons " + " ".join(f"{shell}x{count}" for shell, count in sorted(electrons.items())))


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
