r"""LaTeX commands of data sets in plainer notation: ``\bigcup_k``, MathType's arrays, ``\mathbf{i}``."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading.operators import with_plain_labels
from guerdon_plugins.verifiers.math.reading.rules import Rule, apply, replace

__all__ = ["plain_commands"]

_TEXT = r"\\(?:text|textbf|textrm|mbox|mathrm|operatorname|mathsf)"
_COLON = re.compile(r"\\text\s*\{\s*:\s*\}|\\!\s?:\s?(?:\\!)?|:\s?\\!")
_OVER = re.compile(r"\{\s*(\d+)\s*\\over\s*(\d+)\s*\}")
_REAL_LETTERS = re.compile(
    rf"[\s,]{{0,9}}(?:{_TEXT}\s*\{{[\s,]*(?:where|for|with|for all|for any)\s*\}}|\(|,)\s*"
    r"[a-zA-Z](?:\s*,\s*[a-zA-Z]){1,9}\s*\\in\s*"
    r"\\mathbb\s*\{?\s*R\s*\}?\s*\)?$"
)
"""``where a, b \\in \\mathbb{R}``: letters are real anyway."""
_COMMA_BEFORE_IF = re.compile(rf",[\s~]{{0,9}}({_TEXT}\s{{0,9}}\{{[\s,~]{{0,9}}(?:if|when)\b)")
_OVERSET = re.compile(r"\\overset\s*\{([^{}]{1,40})\}\s*\{([^{}]{1,40})\}")
_COMPLEMENT = re.compile(r"\\complement\s*_\s*\{?\s*([A-Z]|\\mathbb\s*\{?R\}?)\s*\}?")
_DIAGONAL = re.compile(rf"{_TEXT}\s*\{{\s*diag\s*\}}\s*(?:\\left)?\(([^()]{{1,200}}?)(?:\\right)?\)")
_ROOT = re.compile(r"\\root\s*(\{[^{}]*\}|\w)\s*\\of")
_COLUMNS = re.compile(r"(\\begin\s*\{array\})\s*\{\s*\*\s*\{\s*\d+\s*\}\s*\{\s*[lcr]\s*\}\s*\}")
_CIRCLED = re.compile(r"\\textcircled\s*\{?\s*(?:\\\w+\s*\{?)?(\d{1,2})\}{0,2}")
_ONE_LETTER = re.compile(
    r"\\(?:mathbf|mathit|boldsymbol|bm|mathcal|mathsf|mathscr|mathfrak)"
    r"(?:\s*\{\s*([A-Za-z])\s*\}| ([A-Za-z])(?![a-zA-Z]))"
)
_UNION = re.compile(
    r"\\(?:big|lim)cup(?:\\limits)?\s*_\s*\{\s*([a-z])\s*(?:\\in\s*(?:\\mathbb\s*\{?\s*Z\s*\}?|Z)|=\s*-\s*\\infty)\s*\}"
    r"(?:\s*\^\s*\{?\s*\+?\s*\\infty\s*\}?)?\s*(.+)",
    re.DOTALL,
)
_BRACES = re.compile(r"(?:\\left)?\\\{(.*)\\(?:right\\)?\}", re.DOTALL)
_RESIDUES = re.compile(
    r"\\mathbb\s*(?:\{\s*Z\s*\}|Z)\s*/\s*(?:\(\s*(\d+|[a-z])\s*(?:\\mathbb\s*(?:\{\s*Z\s*\}|Z))?\s*\)"
    r"|\{\s*(\d+|[a-z])\s*\}\s*\\mathbb\s*(?:\{\s*Z\s*\}|Z)"
    r"|\{?\s*(\d+|[a-z])(?![\d.])\s*(?:\\mathbb\s*(?:\{\s*Z\s*\}|Z)(?:\s*\})?|(?=$)))"
)
_BARE_SET = re.compile(r"\\in\s*\{([^{}]{1,200},[^{}]{1,200})\}$")
_GRADIENT = re.compile(rf"{_TEXT}\s*\{{\s*grad\s*\}}")
_POWER_OF_SET = re.compile(r"(?<![\d/])(\\mathbb\s?\{?([ZRQCN])\}?)(?:\s?\\times\s?\1)+$")
"""``\\mathbb{Z} \\times \\mathbb{Z}``."""
_LETTER_WITH_NOUN = re.compile(r"(?<![\\a-zA-Z])([a-zA-Z])\s*\\text\s*\{\s*-\s*(?=[a-z]{4})")
"""``x\\text{-intercept}``."""
_UNIT_FRACTION = re.compile(
    rf"\\[dt]?frac\s*\{{((?:\s|\\cdot|\\,|{_TEXT}\s*\{{[^{{}}]*\}}(?:\s*\^\s*(?:\d|\{{\s*\d\s*\}}))?)+)\}}\s*"
    rf"\{{((?:\s|\\cdot|\\,|{_TEXT}\s*\{{[^{{}}]*\}}(?:\s*\^\s*(?:\d|\{{\s*\d\s*\}}))?)+)\}}"
)
_ABOVE = re.compile(rf"{_TEXT}\s*\{{([^{{}}]*)\}}(?:\s*\^\s*\{{?\s*(\d)\s*\}}?)?")
_BRACKETED_MODULO = re.compile(r"\(\s?\\bmod\s?(?:\{([^{}()]+)\}|([^{}()]+))\)")
_FORALL = re.compile(r"\s*,\s*\\forall\s*")
_QUANTIFIED_LETTER = re.compile(r"([a-z])_(?:0|\{\s*0\s*\})")
_FREE_PRODUCT = re.compile(
    r"(\\mathbb\s*(?:\{\s*[A-Z]\s*\}|[A-Z])(?:\s*_\s*(?:\{[^{}]{1,9}\}|\w))?)\s*(?:\*|\\ast(?![a-z]))\s*(?=\\mathbb|[A-Z]_)"
)
"""A star between groups."""
_FALLING = re.compile(r"\^\s*\{\s*\\underline\s*\{([^{}]*)\}\s*\}")
"""``x^{\\underline{3}}``: a falling power, which is not a power."""
_WEDGE = re.compile(
    r"(?<=\S)\s*\\wedge(?![a-z])(?=\s*(?:d\s?[a-zA-Z]|d\s?\\[a-z]|[a-z]_|[uvw](?![a-z])"
    r"|\\(?:mathbf|vec|boldsymbol|bm)(?![a-zA-Z])))"
)
"""A wedge between forms or vectors, which is not "and"."""


def plain_commands(text: str) -> str:
    """Return an answer with commands that the parser knows."""
    return apply(_RULES, text)


def _without_styles(text: str) -> str:
    """Return letters without bold, italic and script; ``i``, ``j``, ``k`` next to each other as unit vectors."""
    letters = {first or second for first, second in _ONE_LETTER.findall(text)}
    axes = "ijk" if letters & {"i", "j"} else ""
    return _ONE_LETTER.sub(lambda match: _letter(match, axes), text)


def _union(text: str) -> str:
    """Read a union over all integers as the family that it is."""
    if not (match := _UNION.fullmatch(text)):
        return text
    body = _BRACES.fullmatch(match[2].strip())
    return f"{body[1] if body else match[2]}, {match[1]}\\in\\mathbb{{Z}}"


def _for_all(text: str) -> str:
    if "=" in text and "exists" not in text:
        text = _FORALL.sub(r" \\text{ for all } ", text)
    return _QUANTIFIED_LETTER.sub(r"\1", text)


def _without_real_letters(text: str) -> str:
    return _REAL_LETTERS.sub("", text) if "=" in text else text


def _sum_of_groups(text: str) -> str:
    return text.replace("\\oplus", "\\times") if "\\mathbb" in text else text


def _circled(text: str) -> str:
    return _CIRCLED.sub(r"(\1),", text).rstrip(",")


def _overset(match: re.Match[str]) -> str:
    return f"\\widehat{{{match[2]}}}" if "frown" in match[1] else match[2]


def _residues(match: re.Match[str]) -> str:
    return f"\\mathbb{{Z}}_{{{match[1] or match[2] or match[3]}}}"


def _letter(match: re.Match[str], axes: str) -> str:
    r"""Return a letter without its style; ``\mathbf{i}`` as a unit vector."""
    letter = match[1] or match[2]
    if letter not in axes or not axes:
        return f" {letter}"
    before = match.string[: match.start()].rstrip()
    if before.endswith("hat{"):
        return letter
    times = "\\cdot " if before[-1:].isalnum() or before[-1:] in (")", "}", ",") else ""
    return f"{times}\\hat{{{letter}}}"


def _diagonal(match: re.Match[str]) -> str:
    entries = match[1].split(",")
    rows = [
        "&".join(entry if row == place else "0" for place in range(len(entries)))
        for row, entry in enumerate(entries)
    ]
    body = "\\\\".join(rows)
    return f"\\begin{{pmatrix}}{body}\\end{{pmatrix}}" if len(entries) < 9 else match[0]


def _unit_fraction(match: re.Match[str]) -> str:
    above, below = (
        [f"{unit[1].strip()}{'^' + unit[2] if unit[2] else ''}" for unit in _ABOVE.finditer(side)]
        for side in match.groups()
    )
    return f"\\text{{ {' '.join(above)}/{'/'.join(below)}}}" if above and below else match[0]


_RULES = (
    Rule(("\\wedge",), replace(_WEDGE, r" \\exterior ")),
    Rule(("\\underline",), replace(_FALLING, r"_{falling \1}")),
    Rule(("=",), with_plain_labels),
    Rule(("\\forall", "\\exists"), _for_all),
    Rule(("\\bmod",), replace(_BRACKETED_MODULO, r"\\pmod{\1\2}")),
    Rule(("array",), replace(_COLUMNS, r"\1{c}")),
    Rule((":",), replace(_COLON, ":")),
    Rule(("{-", "{ -"), replace(_LETTER_WITH_NOUN, r"\\text{\1-")),
    Rule(("\\over",), replace(_OVER, r"\\frac{\1}{\2}")),
    Rule(("\\in",), _without_real_letters),
    Rule(("if", "when"), replace(_COMMA_BEFORE_IF, r" \1")),
    Rule(("\\in",), replace(_BARE_SET, r"\\in \\{\1\\}")),
    Rule(("grad",), replace(_GRADIENT, r"\\nabla ")),
    Rule(("\\oplus",), _sum_of_groups),
    Rule(("\\times",), replace(_POWER_OF_SET, lambda match: f"{match[1]}^{match[0].count(match[2])}")),
    Rule(("\\overset",), replace(_OVERSET, _overset)),
    Rule(("\\complement",), replace(_COMPLEMENT, r"C_{\1}")),
    Rule(("diag",), replace(_DIAGONAL, _diagonal)),
    Rule(("\\root",), replace(_ROOT, lambda match: f"\\sqrt[{match[1].strip('{}')}]")),
    Rule(("\\textcircled",), _circled),
    Rule(("\\b", "\\mathb", "\\mathc", "\\maths", "\\mathi"), _without_styles),
    Rule(("cup",), _union),
    Rule(("\\mathbb",), replace(_RESIDUES, _residues)),
    Rule(("*", "\\ast"), replace(_FREE_PRODUCT, r"\1 \\freeproduct ")),
    Rule(("frac",), replace(_UNIT_FRACTION, _unit_fraction)),
)
