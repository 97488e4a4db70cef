r"""Units in several groups after a number, ``5 \mathrm{ft} / \mathrm{sec}``, or apart from it, ``9.8 $m/s^2$``."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading import units

__all__ = ["with_joined_groups", "with_unit_apart"]

_WORDS = r"\\(?:text|textbf|textrm|mbox|mathrm|operatorname|mathsf|rm)"
_GAP = r"(?:\\[,:; !]|[\s~]|\{\s*\})*+"
_RAISED = r"(?:\s?\^\s?(?:\{\s?-?\d\s?\}|\d))?"
_GROUP = rf"{_WORDS}\s?\{{(?:[^{{}}\\$]|\{{-?\d\}}|\\,)*\}}"
_PIECE = rf"(?:\\(?:mu|Omega|sec|min)(?![a-zA-Z])|{_GROUP}){_RAISED}"
_SIGN = rf"(?:{_GAP}(?:\\cdot|\\times|/|-)?{_GAP})"
_RUN = re.compile(rf"(?:(?<=[\d}})\]])|(?<=\\pi))({_GAP})({_PIECE}(?:{_SIGN}{_PIECE}){{1,6}})")
_NUMBER = r"[-+]?\d[\d.,]*(?:\s?(?:\\times|\\cdot|[xX*])\s?10\s?\^\s?(?:\{\s?-?\d+\s?\}|-?\d+))?"
_APART_IN_DOLLARS = re.compile(rf"(?:({_NUMBER})|\$([^$]{{1,200}})\$)\s{{0,9}}\$([^$\d][^$]{{0,80}})\$")
_APART_BY_SPACE = re.compile(rf"({_NUMBER})[\s~]+([A-Za-zμΩ][A-Za-zμΩ/^{{}}\d*\- ]{{1,40}}|\d{{0}}Ω)")
_NUMBER_IN_DOLLARS = re.compile(
    rf"\$\s{{0,9}}(?:\\approx\s{{0,9}})?({_NUMBER})\s{{0,9}}\$(?=\s[A-Za-z(]|\s?\\)"
)
_EMPTY_BASE = re.compile(r"\{\s*\}\s?(?=\^)")
_DEGREES = re.compile(rf"\^\s?\{{?\s?\\circ\s?\}}?{_GAP}(?:{_WORDS}\s?\{{\s?~?([CF])\s?\}}|([CF]))")
_COMMANDS = {"\\mu": "μ", "\\Omega": "Ω", "\\sec": " sec ", "\\min": " min "}
_MARKUP = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (rf"{_WORDS}(?=\s?\{{)|\\(?:cdot|times)(?![a-zA-Z])|\\[,:; !]|~", " "),
        (r"\s?\^\s?\{?\s?(-?\d)\s?\}?", r"^\1 "),
        (r"[{}]", " "),
        (r"(?<=[^\W\d_])\s*-\s*(?=[^\W\d_])", " "),
    )
)
_SLASH = re.compile(r"\s*/\s*")
_NAME = re.compile(r"[^\W\d_]+")
_ALSO_WORDS = frozenset(("am", "pm", "as", "in", "at", "a"))
"""Units that are a word or a time of day in plain text."""
_RATES = frozenset(
    ("m/s", "N/m", "N/C", "V/m", "J/K", "J/s", "L/s", "g/L", "g/s", "J/g", "N/A", "C/m", "N m", "J s", "V s")
)
"""Two letters in plain text that are units together; others may be variables."""


def with_joined_groups(text: str) -> str:
    r"""Return units in several groups after a number as one flat group: ``\text{ ft/sec}``."""
    if "circ" in text and "{" in text:
        text = _EMPTY_BASE.sub("", text)
    return _RUN.sub(_joined, text)


def with_unit_apart(text: str) -> str:
    """Return a number and a unit that dollars or a space part as a number and a group for words."""
    if text[:1] == "$" and (match := _NUMBER_IN_DOLLARS.match(text)):
        text = f"{match[1]}{text[match.end() :]}"
    if "$" in text and (match := _APART_IN_DOLLARS.fullmatch(text)):
        number, said = match[1] or match[2], match[3]
        if degrees := _DEGREES.fullmatch(_EMPTY_BASE.sub("", said.strip())):
            return f"{number}^\\circ\\text{{{degrees[1] or degrees[2]}}}"
        words = _as_words(said)
        return f"{number}\\text{{ {words}}}" if _is_unit(words) else text
    if match := _APART_BY_SPACE.fullmatch(text):
        words = _as_words(match[2])
        if _is_unit(words) and _is_plainly_a_unit(words):
            return f"{match[1]}\\text{{ {words}}}"
    return text


def _joined(match: re.Match[str]) -> str:
    words = _as_words(match[2])
    return f"{match[1]}\\text{{ {words}}}" if _is_unit(words) else match[0]


def _as_words(said: str) -> str:
    """Return the markup of a unit as plain words: ``m/s^2``, ``kJ mol^-1``, ``μC``."""
    for pattern, words in _MARKUP:
        said = pattern.sub(words, said)
    for command, words in _COMMANDS.items():
        said = said.replace(command, words)
    return " ".join(_SLASH.sub("/", said).split()).replace("μ ", "μ")


def _is_unit(words: str) -> bool:
    return (
        bool(words) and all(map(units.is_name, _NAME.findall(words))) and units.read_unit(words) is not None
    )


def _is_plainly_a_unit(words: str) -> bool:
    """Return whether letters in plain text are a unit rather than variables or words."""
    names = _NAME.findall(words)
    if any(name in _ALSO_WORDS for name in names):
        return False
    return any(len(name) > 1 for name in names) or re.sub(r"\^-?\d", "", words) in _RATES
