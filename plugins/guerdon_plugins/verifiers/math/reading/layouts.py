r"""Layouts of data sets in plainer notation: ``\\bigcup_k``, MathType's arrays, lost backslashes, notes in brackets."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.operators import with_plain_labels

__all__ = ["plain_layout", "without_leading_words"]

_TEXT = r"\\(?:text|textbf|textrm|mbox|mathrm|operatorname|mathsf)"
_ESCAPES = {"\f": "\\f", "\b": "\\b", "\v": "\\v", "\a": "\\a"}
_LOST_ESCAPE = re.compile(
    r"[\f\b\v\a](?=[a-z])|\t(?=imes|ext|heta|an\b|o\b|riangle|frac)|\r(?=ight|angle|ho\b)"
)
"""``\\frac`` whose backslash and letter a reader of JSON or Python took for a control character."""
_COLON = re.compile(r"\\text\s*\{\s*:\s*\}")
_WHOLE_GROUP = re.compile(r"\\text\s*\{([^{}\\]*)\}")
"""``\\text{x = 3}``, ``\\text{1 hour 20 minutes}``: mathematics in a group for words."""
_SIGN = re.compile(r"[\d=<>]")
_NUMBERED = re.compile(r"(?:[IVX]{1,4}(?:, ?| and |, and )){1,5}[IVX]{1,4} only")
"""Statements by their Roman numerals."""
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
_CONSTANT = re.compile(rf"\+\s*(?:{_TEXT}\s*\{{\s*)?(?:const(?:ant)?\.?|常数)(?:\s*\}})?$")
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
_NOTED = re.compile(
    rf"(-?\\?\$?\d[\d.,]*(?:\s*/\s*\d+|\s+\d+/\d+)?)\s*(?:\\[,;: ]|~)*\s*\(\s*(?:{_TEXT}\s*\{{\s*)?"
    r"([A-Za-z][A-Za-z'-]*(?:[ /][A-Za-z'-]+){0,4})\s*\}?\s*\)"
)
"""``13 (first-aid kits)``: what is counted, in brackets."""
_ROUNDING_NOTE = re.compile(
    r"(?<=[\da-z}%)])(?:\s|~|\\[ ,;]|,)*+(?:\\text\s*\{\s*)?\(?\s*(?:approx\.?|(?:when |rounded |correct |accurate )*to"
    r" (?:the nearest \w+(?: \w+)?|(?:\d|one|two|three|four) (?:d\.?p\.?|s\.?f\.?|decimals?|decimal places?|"
    r"significant figures?|significant digits?)))\s*\)?\s*\}?$"
)
"""How a number was rounded, after it: the number shows it."""
_REMAINING = re.compile(r"(?<=s) (?:left(?: over)?|remaining)(?=\}?\.?$)")
"""``12 marbles left``."""
_SAID_OF_LETTER = re.compile(
    r"(?<![a-z])[a-z]\$?[\s~]{0,3}(?:\\text\{[\s~]{0,3})?(?:with|such that)[\s~]{0,3}\}?[\s~]{0,3}"
    r"\$?([a-z]\s{0,3}(?:[<>]|\\(?:leq?|geq?)(?![a-z])))"
)
"""``all integers n with n \\ge 2`` is ``all integers n \\ge 2``."""
_BARE_SET = re.compile(r"\\in\s*\{([^{}]{1,200},[^{}]{1,200})\}$")
_GRADIENT = re.compile(rf"{_TEXT}\s*\{{\s*grad\s*\}}")
_POWER_OF_SET = re.compile(r"(?<![\d/])(\\mathbb\s?\{?([ZRQCN])\}?)(?:\s?\\times\s?\1)+$")
"""``\\mathbb{Z} \\times \\mathbb{Z}``."""
_TWO_UNITS = re.compile(r"^(\d+(?:\.\d+)?) ?(km|kg|m|L|l|t) ?(\d+(?:\.\d+)?) ?(cm|mm|m|g|mL|ml|kg)$")
"""``2 L 500 mL``: the letters are units, for two of them follow numbers."""
_PER_PRODUCT = re.compile(
    r"(?<=\d)[\s~]{0,3}([A-Za-z]{1,5})\s?/\s?\(([A-Za-z]{1,5})\s?(?:\\cdot|\*)\s?([A-Za-z]{1,5})\)$"
)
_NOTED_IN_CHINESE = re.compile(r"(-?\d[\d.]*)\s*\(([\u4e00-\u9fff]{1,4})\)")
_LETTER_OF = re.compile(
    r"(?:实数|常数|整数|参数)?\s*\$?(\\?[a-zA-Z]+)\$?\s*的(取值范围|值)\s*[为是:]?\s*(\S.*)", re.DOTALL
)
"""``m的值为3``: whose value or range it is."""
_LETTER_WITH_NOUN = re.compile(r"(?<![\\a-zA-Z])([a-zA-Z])\s*\\text\s*\{\s*-\s*(?=[a-z]{4})")
"""``x\\text{-intercept}``."""
_HYPHENATED = re.compile(r"(-?\d[\d.,]*) ((?:[a-z]+ ){0,2}[a-z]+-[a-z]+(?: [a-z]+){0,3})")
_BARE_UNIT = re.compile(r"(-?\d[\d.,]*) ([KAVNJWTCFHgmsL])")
"""``273.15 K`` in plain text: a variable would be beside its number."""
_YEAR = re.compile(
    rf"(?:{_TEXT}\s*\{{)?\s*(?:in\s+)?(?:the\s+)?year\s*\}}?\s*(\d{{4}})|(?:{_TEXT}\s*\{{)?\s*in\s*\}}?\s*([12]\d{{3}})"
    rf"|([12]\d{{3}})\s*(?:{_TEXT}\s*\{{)?\s*(?:AD|A\.D\.|CE)\s*\}}?",
    re.IGNORECASE,
)
_SCALED_APART = re.compile(r"(?<=\d)(?:\s|\\[,; ]|~|\$)+(?=10\s*\^)")
_LEADING_WORDS = re.compile(
    r"(\\text\s*\{\s*)?(?:(?:so|thus|hence|therefore|所以|因此|故|综上)[\s,]*)*(?:the |our |my |final |correct )*"
    r"(?:answer|最终答案|正确答案|答案)\s*(?::|is\b\s*:?|为\s*:?|是\s*:?)\s*(\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_PART_OF_ONE = re.compile(
    r"(?i)(?:\\text\s*\{\s*)?(?:(?:(one |a )?half|(?:a |one )?quarter|three[- ]quarters)(?: of)?) an? ([a-z]+)\s*\}?"
)
_ONE_AND_A_HALF = re.compile(r"(?i)(?:\\text\s*\{\s*)?an? ([a-z]+) and a half\s*\}?")
_IN_INTERVAL = re.compile(
    r"([a-z])\s*((?:\\left)?\([^()\[\]]*,[^()\[\]]*\]|(?:\\left)?\[[^()\[\]]*,[^()\[\]]*\))"
)
"""``t(0, 4]``: the sign of membership was lost."""
_MEANING = re.compile(
    rf"[\s,;]*(?:{_TEXT}\s*\{{)?[\s,(]*\bwhere[\s~]*\}}?\s*\$?\\?[A-Za-z]+(?:_\{{?\w\}}?)?\$?\s*(?:{_TEXT}\s*\{{)?[\s~]*"
    r"(?:is|denotes|represents)\s+(?:the\s+|an?\s+)?([A-Z][a-z]+'?s?'?(?:[ -][A-Za-z]+'?s?){0,5}|"
    r"golden ratio|"
    r"(?:[a-z]+ ){0,3}(?:constant|function|number|integral)(?: of [a-z ]+)?)\s*\}?[).\s]*$"
)
"""What a letter of the answer means, at its end: ``where $G$ is Catalan's constant``."""
_KIND_OF_VALUE = re.compile(
    r"(?i)\b(?:any|some|arbitrary|real|positive|negative|integer|natural|whole|complex|odd|even)\b"
)
_UNIT_FRACTION = re.compile(
    rf"\\[dt]?frac\s*\{{((?:\s|\\cdot|\\,|{_TEXT}\s*\{{[^{{}}]*\}}(?:\s*\^\s*(?:\d|\{{\s*\d\s*\}}))?)+)\}}\s*"
    rf"\{{((?:\s|\\cdot|\\,|{_TEXT}\s*\{{[^{{}}]*\}}(?:\s*\^\s*(?:\d|\{{\s*\d\s*\}}))?)+)\}}"
)
_ABOVE = re.compile(rf"{_TEXT}\s*\{{([^{{}}]*)\}}(?:\s*\^\s*\{{?\s*(\d)\s*\}}?)?")


def without_leading_words(text: str) -> str:
    """Return an answer without "So the answer is" before it, in a group of its own or in that of the answer."""
    if (text[:1].islower() or text[:1].isupper() or text[:1] == "\\" or not text.isascii()) and (
        match := _LEADING_WORDS.fullmatch(text)
    ):
        group, said = match.groups()
        if group is None:
            return said
        return said[1:] if said[0] == "}" else f"{group}{said}"
    return text


_DOMAIN_AND_RANGE = re.compile(
    rf"(?:{_TEXT}\s?\{{)?\s?D(?:\s?\}})?\s?[:=]\s?(?:\}})?\s?([^;=]{{1,200}}?)\s?[;,]\s?(?:{_TEXT}\s?\{{)?\s?R(?:\s?\}})?\s?[:=]"
    r"(?:\s?\})?\s?([^;=]{1,200})"
)
_ANY_INTEGER = re.compile(
    rf"[\s,]{{0,9}},[\s~]{{0,9}}(?:{_TEXT}\s?\{{)?\s?(any|every|each|all) (integer)s?\s?\}}?\s?\$?\s?([a-z])\$?$"
)
_BRACKETED_MODULO = re.compile(r"\(\s?\\bmod\s?(?:\{([^{}()]+)\}|([^{}()]+))\)")
_FORALL = re.compile(r"\s*,\s*\\forall\s*")
_LETTERED = re.compile(
    r"[A-Z]\s?:\s?-?(?:\d|\\frac)[^:;]{0,40}(?:[,;]\s?[A-Z]\s?:\s?-?(?:\d|\\frac)[^:;]{0,40}){1,8}"
)
"""``A: 5, B: 7``: each letter's own value."""
_A_DOZEN = re.compile(r"^(?i:\\text\s?\{\s*)?(?:[Aa]|[Oo]ne) dozen ([a-z]{3,20}s)\s?\}?$")
_A_TOTAL = re.compile(r"(?i)(?:there (?:is|are) )?an? (total|maximum|minimum) of (?=\d|\$|\\frac)")


_GLUED = re.compile(
    r"(?<=[\d})])(or|and)(?=-?\d|\\[fs]|[A-Za-z](?:_\{?\d\}?)?\s*(?:[=<>]|\\(?:in|le|ge|ne)))"
)
"""``x=1orx=3``: words that lost their spaces."""
_MANNER = re.compile(
    rf"(?:\s|~|\\[ ,;])*(?:{_TEXT}\s*\{{\s*)?\((?:the )?"
    r"(?:principal (?:value|branch|root|part)|real (?:cube )?root|real[- ]valued|"
    r"exact(?: value)?|exactly|in simplest form|simplified|as required|主值)\)\s*\}?(?=\s*(?:,|$))"
)
"""How a value is meant: ``i^i (principal value)``."""
_REASON = re.compile(
    rf"(?:[,;]|\.?)\s*(?:{_TEXT}\s*\{{[\s,;]*)?(?:(?<=[,;{{\s])|\()(?:since|because|i\.?e\.)\s.*$|[,，。(]?因为.*$|\(since\b.*$",
    re.DOTALL,
)
"""Why an answer is right, or the answer in other words, after it: ``12, since 3 \\cdot 4 = 12``."""
_YES_FOR = re.compile(r"^(\\text\{\s*)?([Yy]es|[Nn]o)\s*,\s*(for|when|if|only|provided)\b")
_REAL = re.compile(rf"(?<=[\d}}])[\s,~]*{_TEXT}\s*\{{\s*real\s*\}}$")
"""``x \\ne 0 real``: letters are real anyway."""
_QUANTIFIED_LETTER = re.compile(r"([a-z])_(?:0|\{\s*0\s*\})")
_SET_IN_BRACES = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*[,;](?:[^{}]|\{[^{}]*\})*)\}")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+")


def plain_layout(text: str) -> str:
    """Return an answer in the plainest layout that says the same; most answers are in it."""
    if not text.isprintable():
        text = _LOST_ESCAPE.sub(
            lambda match: _ESCAPES.get(match[0], f"\\{'t' if match[0] == chr(9) else 'r'}"), text
        )
    if "\\" in text:
        text = _plain_commands(text)
    if text[:3].lower() in ("yes", "no,") or text[:9] == "\\text{Yes" or text[:8] == "\\text{No":
        text = _YES_FOR.sub(r"\1\2 \3", text)
    if "since" in text or "because" in text or "i.e" in text or "因为" in text:
        text = _without_reason(text)
    if "or" in text or "and" in text:
        text = _GLUED.sub(r" \1 ", text)
    if text.endswith("real}") and "=" not in text[-12:]:
        text = _REAL.sub("", text)
    if ")" in text and ("al" in text or "ex" in text or "as" in text or "sim" in text or "主值" in text):
        text = _MANNER.sub("", text)
    if text[:1] == "{" and (match := _SET_IN_BRACES.fullmatch(text)) and not _THOUSANDS.fullmatch(match[1]):
        text = f"\\{{{match[1]}\\}}"
    if "integer" in text:
        text = _ANY_INTEGER.sub(r" \\text{ for \1 \2 } \3", text)
    if text[:1] in "aAtT":
        text = _A_TOTAL.sub("", text)
    if text[:1] in "D\\" and "R" in text and (match := _DOMAIN_AND_RANGE.fullmatch(text)):
        text = f"\\text{{domain: }}{match[1]}, \\text{{range: }}{match[2]}"
    if "const" in text or "常数" in text:
        text = _CONSTANT.sub("+C", text)
    if (
        text[:6] == "\\text{"
        and (match := _WHOLE_GROUP.fullmatch(text))
        and (_SIGN.search(text) or _NUMBERED.fullmatch(match[1]))
    ):
        text = match[1].strip().rstrip(".")
    if text[1:3].strip()[:1] == ":" and _LETTERED.fullmatch(text):
        text = text.replace(":", "=")
    if "to" in text or "approx" in text:
        text = _ROUNDING_NOTE.sub("", text)
    if text[:1].isdecimal():
        text = _TWO_UNITS.sub(r"\1\\text{ \2 }\3\\text{ \4}", text)
        if text.endswith(")"):
            text = _PER_PRODUCT.sub(_per_product, text)
    if "with" in text or "such that" in text:
        text = _SAID_OF_LETTER.sub(r"\1", text)
    if "的" in text and (match := _LETTER_OF.fullmatch(text)):
        text = _of_letter(*match.groups())
    if "left" in text or "remaining" in text:
        text = _REMAINING.sub("", text)
    if "dozen" in text:
        text = _A_DOZEN.sub(r"12\\text{ \1}", text)
    if "half" in text or "quarter" in text:
        text = _PART_OF_ONE.sub(_part_of_one, text)
        if match := _ONE_AND_A_HALF.fullmatch(text):
            text = f"\\frac{{3}}{{2}}\\text{{ {match[1]}s}}"
    if "where" in text:
        text = _MEANING.sub(_without_meaning, text)
    if "10" in text and "^" in text:
        text = _SCALED_APART.sub(r"\\times ", text)
    if text[:1] in "-0123456789" and (match := _BARE_UNIT.fullmatch(text)):
        return f"{match[1]}\\text{{ {match[2]}}}"
    if (text[:1] in "iIyY\\" or "A" in text or "C" in text) and (match := _YEAR.fullmatch(text)):
        return match[1] or match[2] or match[3]
    if text.endswith(")") and (match := _NOTED_IN_CHINESE.fullmatch(text)):
        return f"{match[1]}\\text{{{match[2]}}}"
    if text.endswith(")") and (match := _NOTED.fullmatch(text)):
        return f"{match[1]}\\text{{ {match[2]}}}"
    if "-" in text and (match := _HYPHENATED.fullmatch(text)):
        return f"{match[1]}\\text{{ {match[2]}}}"
    if text[:1].islower() and text[-1:] in ")]" and (match := _IN_INTERVAL.fullmatch(text)):
        return f"{match[1]}\\in {match[2]}"
    return text


def _plain_commands(text: str) -> str:
    if "=" in text:
        text = with_plain_labels(text)
        if "\\forall" in text and "exists" not in text:
            text = _FORALL.sub(r" \\text{ for all } ", text)
    if "\\exists" in text or "\\forall" in text:
        text = _QUANTIFIED_LETTER.sub(r"\1", text)
    if "\\bmod" in text:
        text = _BRACKETED_MODULO.sub(lambda match: f"\\pmod{{{match[1] or match[2]}}}", text)
    if "array" in text:
        text = _COLUMNS.sub(r"\1{c}", text)
    if ":" in text:
        text = _COLON.sub(":", text)
    if "{-" in text or "{ -" in text:
        text = _LETTER_WITH_NOUN.sub(r"\\text{\1-", text)
    if "\\over" in text:
        text = _OVER.sub(r"\\frac{\1}{\2}", text)
    if "=" in text and "\\in" in text:
        text = _REAL_LETTERS.sub("", text)
    if "if" in text or "when" in text:
        text = _COMMA_BEFORE_IF.sub(r" \1", text)
    if "\\in" in text:
        text = _BARE_SET.sub(r"\\in \\{\1\\}", text)
    if "grad" in text:
        text = _GRADIENT.sub(r"\\nabla ", text)
    if "\\times" in text and "\\mathbb" in text:
        text = _POWER_OF_SET.sub(lambda match: f"{match[1]}^{match[0].count(match[2])}", text)
    if "\\overset" in text:
        text = _OVERSET.sub(
            lambda match: f"\\widehat{{{match[2]}}}" if "frown" in match[1] else match[2], text
        )
    if "\\complement" in text:
        text = _COMPLEMENT.sub(r"C_{\1}", text)
    if "diag" in text:
        text = _DIAGONAL.sub(_diagonal, text)
    if "\\root" in text:
        text = _ROOT.sub(lambda match: f"\\sqrt[{match[1].strip('{}')}]", text)
    if "\\textcircled" in text:
        text = _CIRCLED.sub(r"(\1),", text).rstrip(",")
    if "\\b" in text or "\\mathb" in text or "\\mathc" in text or "\\maths" in text or "\\mathi" in text:
        letters = {first or second for first, second in _ONE_LETTER.findall(text)}
        axes = "ijk" if letters & {"i", "j"} else ""
        text = _ONE_LETTER.sub(lambda match: _letter(match, axes), text)
    if "cup" in text and (match := _UNION.fullmatch(text)):
        body = _BRACES.fullmatch(match[2].strip())
        return f"{body[1] if body else match[2]}, {match[1]}\\in\\mathbb{{Z}}"
    if "\\mathbb" in text and "/" in text:
        text = _RESIDUES.sub(lambda match: f"\\mathbb{{Z}}_{{{match[1] or match[2] or match[3]}}}", text)
    if "\\oplus" in text and "\\mathbb" in text:
        text = text.replace("\\oplus", "\\times")
    if "frac" in text:
        text = _UNIT_FRACTION.sub(_unit_fraction, text)
    return text


def _without_reason(text: str) -> str:
    said = _REASON.sub("", text, count=1).rstrip()
    return said + "}" * (said.count("{") - said.count("}")) if said else text


def _letter(match: re.Match[str], axes: str) -> str:
    r"""Return a letter without its style; ``\\mathbf{i}`` as a unit vector."""
    letter = match[1] or match[2]
    if letter not in axes or not axes:
        return f" {letter}"
    before = match.string[: match.start()].rstrip()
    if before.endswith("hat{"):
        return letter
    times = "\\cdot " if before[-1:].isalnum() or before[-1:] in (")", "}", ",") else ""
    return f"{times}\\hat{{{letter}}}"


def _per_product(match: re.Match[str]) -> str:
    """Read ``J/(mol K)`` after a number as words, if all of its letters are units."""
    above, first, second = match.groups()
    known = all(map(units.is_name, (above, first, second)))
    return f"\\text{{ {above}/{first}/{second}}}" if known else match[0]


def _of_letter(letter: str, kind: str, said: str) -> str:
    """Return what is said of a letter's value or range as a relation."""
    if kind == "值":
        return f"{letter}={said}" if "=" not in said else said
    return f"{letter}\\in {said}" if said[:1] in "([{" or said.startswith("\\left") else said


def _diagonal(match: re.Match[str]) -> str:
    entries = match[1].split(",")
    rows = [
        "&".join(entry if row == place else "0" for place in range(len(entries)))
        for row, entry in enumerate(entries)
    ]
    body = "\\\\".join(rows)
    return f"\\begin{{pmatrix}}{body}\\end{{pmatrix}}" if len(entries) < 9 else match[0]


def _part_of_one(match: re.Match[str]) -> str:
    """Read "half an hour" as a fraction of the unit."""
    if match.start() or match.end() < len(match.string):
        return match[0]
    said = match[0].lower()
    value = "1}{2" if "half" in said else "3}{4" if "three" in said else "1}{4"
    return f"\\frac{{{value}}}\\text{{ {match[2]}}}"


def _without_meaning(match: re.Match[str]) -> str:
    return match[0] if _KIND_OF_VALUE.search(match[1]) else ""


def _unit_fraction(match: re.Match[str]) -> str:
    above, below = (
        [f"{unit[1].strip()}{'^' + unit[2] if unit[2] else ''}" for unit in _ABOVE.finditer(side)]
        for side in match.groups()
    )
    return f"\\text{{ {' '.join(above)}/{'/'.join(below)}}}" if above and below else match[0]
