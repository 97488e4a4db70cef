"""Layouts of data sets in plainer notation: lost backslashes, reasons, notes in brackets."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.plain_commands import plain_commands
from guerdon_plugins.verifiers.math.reading.rules import Rule, apply, replace, rewrite_whole

__all__ = ["plain_layout", "without_leading_words"]

_TEXT = r"\\(?:text|textbf|textrm|mbox|mathrm|operatorname|mathsf)"
_ESCAPES = {"\f": "\\f", "\b": "\\b", "\v": "\\v", "\a": "\\a"}
_LOST_ESCAPE = re.compile(
    r"[\f\b\v\a](?=[a-z])|\t(?=imes|ext|heta|an\b|o\b|riangle|frac)|\r(?=ight|angle|ho\b)"
)
"""``\\frac`` whose backslash and letter a reader of JSON or Python took for a control character."""
_WHOLE_GROUP = re.compile(r"\\text\s*\{([^{}\\]*)\}")
"""``\\text{x = 3}``, ``\\text{1 hour 20 minutes}``: mathematics in a group for words."""
_SIGN = re.compile(r"[\d=<>]")
_NUMBERED = re.compile(r"(?:[IVX]{1,4}(?:, ?| and |, and )){1,5}[IVX]{1,4} only")
"""Statements by their Roman numerals."""
_CONSTANT = re.compile(rf"\+\s*(?:{_TEXT}\s*\{{\s*)?(?:const(?:ant)?\.?|常数)(?:\s*\}})?$")
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
_HYPHENATED = re.compile(r"(-?\d[\d.,]*) ((?:[a-z]+ ){0,2}[a-z]+-[a-z]+(?: [a-z]+){0,3})")
_BARE_UNIT = re.compile(r"(-?\d[\d.,]*) ([KAVNJWTCFHgmsL])")
"""``273.15 K`` in plain text: a variable would be next to its number."""
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
_DOMAIN_AND_RANGE = re.compile(
    rf"(?:{_TEXT}\s?\{{)?\s?D(?:\s?\}})?\s?[:=]\s?(?:\}})?\s?([^;=]{{1,200}}?)\s?[;,]\s?(?:{_TEXT}\s?\{{)?\s?R(?:\s?\}})?\s?[:=]"
    r"(?:\s?\})?\s?([^;=]{1,200})"
)
_ANY_INTEGER = re.compile(
    rf"[\s,]{{0,9}},[\s~]{{0,9}}(?:{_TEXT}\s?\{{)?\s?(any|every|each|all) (integer)s?\s?\}}?\s?\$?\s?([a-z])\$?$"
)
_LETTERED = re.compile(
    r"[A-Z]\s?:\s?-?(?:\d|\\frac)[^:;]{0,40}(?:[,;]\s?[A-Z]\s?:\s?-?(?:\d|\\frac)[^:;]{0,40}){1,8}"
)
"""``A: 5, B: 7``: each letter's own value."""
_A_DOZEN = re.compile(r"^(?i:\\text\s?\{\s*)?(?:[Aa]|[Oo]ne) dozen ([a-z]{3,20}s)\s?\}?$")
_A_TOTAL = re.compile(r"(?i)^(?:there (?:is|are) )?an? (total|maximum|minimum) of (?=\d|\$|\\frac)")
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
_SET_IN_BRACES = re.compile(r"\{((?:[^{}]|\{[^{}]*\})*[,;](?:[^{}]|\{[^{}]*\})*)\}")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+")
_DERIVATIVE = re.compile(r"(?<![a-zA-Z\\])([fghyuFGH])\s*\^\s*\{\s*\(\s*(\d|1[0-2])\s*\)\s*\}")
"""``f^{(3)}``: a derivative; ``f^{3}`` is a power or an iteration."""


def plain_layout(text: str) -> str:
    """Return an answer in the plainest layout that says the same; most answers are in it."""
    if text.isdecimal():
        return text
    if not text.isprintable():
        text = _LOST_ESCAPE.sub(
            lambda match: _ESCAPES.get(match[0], f"\\{'t' if match[0] == chr(9) else 'r'}"), text
        )
    if "\\" in text:
        text = plain_commands(text)
    return apply(_RULES, text)


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


def _without_reason(text: str) -> str:
    said = _REASON.sub("", text, count=1).rstrip()
    return said + "}" * (said.count("{") - said.count("}")) if said else text


def _per_product(match: re.Match[str]) -> str:
    """Read ``J/(mol K)`` after a number as words, if all of its letters are units."""
    above, first, second = match.groups()
    known = all(map(units.is_name, (above, first, second)))
    return f"\\text{{ {above}/{first}/{second}}}" if known else match[0]


def _of_letter(text: str) -> str:
    """Return what is said of a letter's value or range as a relation."""
    if not (match := _LETTER_OF.fullmatch(text)):
        return text
    letter, kind, said = match.groups()
    if kind == "值":
        return f"{letter}={said}" if "=" not in said else said
    return f"{letter}\\in {said}" if said[:1] in "([{" or said.startswith("\\left") else said


def _part_of_one(match: re.Match[str]) -> str:
    """Read "half an hour" as a fraction of the unit."""
    if match.start() or match.end() < len(match.string):
        return match[0]
    said = match[0].lower()
    value = "1}{2" if "half" in said else "3}{4" if "three" in said else "1}{4"
    return f"\\frac{{{value}}}\\text{{ {match[2]}}}"


def _without_meaning(match: re.Match[str]) -> str:
    return match[0] if _KIND_OF_VALUE.search(match[1]) else ""


def _without_real(text: str) -> str:
    return text if "=" in text[-12:] else _REAL.sub("", text)


def _set_in_braces(text: str) -> str:
    match = _SET_IN_BRACES.fullmatch(text) if text[0] == "{" else None
    return f"\\{{{match[1]}\\}}" if match and not _THOUSANDS.fullmatch(match[1]) else text


def _without_group(text: str) -> str:
    """Return what a group for words holds, if it is mathematics."""
    match = _WHOLE_GROUP.fullmatch(text)
    if match and (_SIGN.search(text) or _NUMBERED.fullmatch(match[1])):
        return match[1].strip().rstrip(".")
    return text


def _lettered(text: str) -> str:
    return text.replace(":", "=") if _LETTERED.fullmatch(text) else text


def _in_two_units(text: str) -> str:
    return _TWO_UNITS.sub(r"\1\\text{ \2 }\3\\text{ \4}", text) if text[0].isdecimal() else text


def _with_primes(match: re.Match[str]) -> str:
    return match[1] + "'" * int(match[2])


_GLUED_DIFFERENTIALS = re.compile(r"(?<![a-zA-Z\\])[a-z]?(?:d[r-z])+d(?:[r-z](?![a-zA-Z])|(?=\\[a-z]))")
"""``dxdy`` is not a word."""
_SO_MANY_TIMES = re.compile(
    r"(\d[\d.,]*|\\?[dt]?frac\s*\{\d+\}\s*\{\d+\}|[a-z]+)\s*(?:\\times|(?<=[\s\d])times)[\s.]*"
)
"""``3\\times`` and "3 times" without a second factor."""

_RULES = (
    Rule(("Yes", "yes", "No", "no"), replace(_YES_FOR, r"\1\2 \3")),
    Rule(("since", "because", "i.e", "因为"), _without_reason),
    Rule(("or", "and"), replace(_GLUED, r" \1 ")),
    Rule(("real",), _without_real),
    Rule(("(the", "(pr", "(re", "(ex", "(in", "(si", "(as", "(主"), replace(_MANNER, "")),
    Rule(("{",), _set_in_braces),
    Rule(("integer",), replace(_ANY_INTEGER, r" \\text{ for \1 \2 } \3")),
    Rule(("tal of ", "mum of "), replace(_A_TOTAL, "")),
    Rule(("D",), rewrite_whole(_DOMAIN_AND_RANGE, r"\\text{domain: }\1, \\text{range: }\2")),
    Rule(("const", "常数"), replace(_CONSTANT, "+C")),
    Rule(("\\text",), _without_group),
    Rule((":",), _lettered),
    Rule(
        ("\\iint", "\\iiint", "\\int"),
        replace(_GLUED_DIFFERENTIALS, lambda match: match[0].replace("d", " d")),
    ),
    Rule(("times",), rewrite_whole(_SO_MANY_TIMES, r"\1\\text{ times}")),
    Rule(("to", "approx"), replace(_ROUNDING_NOTE, "")),
    Rule(("m", "g", "L", "l"), _in_two_units),
    Rule(("/",), replace(_PER_PRODUCT, _per_product)),
    Rule(("with", "such that"), replace(_SAID_OF_LETTER, r"\1")),
    Rule(("的",), _of_letter),
    Rule(("left", "remaining"), replace(_REMAINING, "")),
    Rule(("dozen",), replace(_A_DOZEN, r"12\\text{ \1}")),
    Rule(("half", "quarter"), replace(_PART_OF_ONE, _part_of_one)),
    Rule(("half",), rewrite_whole(_ONE_AND_A_HALF, r"\\frac{3}{2}\\text{ \1s}")),
    Rule(("where",), replace(_MEANING, _without_meaning)),
    Rule(("10^", "10 ^"), replace(_SCALED_APART, r"\\times ")),
    Rule((" ",), rewrite_whole(_BARE_UNIT, r"\1\\text{ \2}")),
    Rule(("year", "Year", "in", "In", "A", "C"), rewrite_whole(_YEAR, r"\1\2\3")),
    Rule((")",), rewrite_whole(_NOTED_IN_CHINESE, r"\1\\text{\2}")),
    Rule((")",), rewrite_whole(_NOTED, r"\1\\text{ \2}")),
    Rule(("-",), rewrite_whole(_HYPHENATED, r"\1\\text{ \2}")),
    Rule(("^{(", "^ {(", "^{ ("), replace(_DERIVATIVE, _with_primes)),
    Rule((",",), rewrite_whole(_IN_INTERVAL, r"\1\\in \2")),
)
