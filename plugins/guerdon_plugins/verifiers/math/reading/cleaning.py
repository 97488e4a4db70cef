"""From an answer as it is written to plain LaTeX: markup goes, Unicode becomes LaTeX, thousands are joined."""

from __future__ import annotations

import html
import re
import unicodedata

from guerdon_plugins.verifiers.math.errors import TooLargeError
from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.chinese_phrases import with_plain_phrases
from guerdon_plugins.verifiers.math.reading.edges import stripped
from guerdon_plugins.verifiers.math.reading.emphasis import in_bold
from guerdon_plugins.verifiers.math.reading.factorials import with_factorials_apart
from guerdon_plugins.verifiers.math.reading.layouts import plain_layout, without_leading_words
from guerdon_plugins.verifiers.math.reading.marked_units import with_joined_groups, with_unit_apart
from guerdon_plugins.verifiers.math.reading.number_words import (
    chinese_in_digits,
    leading_chinese_number,
    read_chinese,
    with_digits,
)
from guerdon_plugins.verifiers.math.reading.vocabulary import UNICODE

MAX_CHARACTERS = 10_000
"""Longer answers are refused unread."""

_WORDS = r"\\(?:text|textbf|textrm|mbox|mathrm|operatorname|mathsf)"
_UNIT_FRACTION = re.compile(
    rf"\\[dt]?frac\s*\{{\s*{_WORDS}\s*\{{([^{{}}]*)\}}\s*\}}\s*\{{\s*{_WORDS}\s*\{{([^{{}}]*)\}}\s*\}}"
)
_COUNTED = re.compile(
    rf"{_WORDS}\s*\{{\s*(-?\d+(?:\.\d+)?)[\s~]+(?![^{{}}]*\b(?:and|or)\b)([^\W\d_][^{{}}\\\d^_$]*)\}}"
)
_BARE_RATE = re.compile(r"(?<=[\d}])((?:\\[ ,;:]|[\s~])*)([A-Za-z]+)/([A-Za-z]+)(?=(?:\^\{?\d\}?)?$)")
_SIUNITX = re.compile(r"\\(?:num|SI|si|qty|unit|ang)\s*\{([^{}]*)\}(?:\s*\{([^{}]*)\})?")
_UNIT_GROUP = re.compile(
    r"(?:(?<=[\d})°\]])|(?<=\\pi))((?:\\[,:; !]|~|\s|\\quad|\{\}|\\cdot\s)*+)"
    rf"(?:{_WORDS}\s*\{{|\{{\s*\\(?:rm|mathrm|text)\b)((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}"
)
_PREFIXED_SIGN = re.compile(
    rf"(?<=[\d}}])((?:\\[,:; ]|~|\s)*+)(?:{_WORDS}\s*\{{[\s~]*([kMGmnμ]|\\mu)?\s*\}}|([kMG])|(\\mu))?\s*\\Omega\s*$"
)
_MICRO = re.compile(
    rf"(?<=[\d}}])((?:\\[,:; ]|~|\s)*+)\\mu\s*(?:{_WORDS}\s*\{{\s*|(?=[A-Za-z]$))([A-Za-z]+)\}}?"
)
_PREFIX_WORD = re.compile(r"\b(tera|giga|mega|kilo|hecto|deci|centi|milli|micro|nano|pico)\s+(?=[a-z])")
_GREEK_UNITS = {"\\mu": "μ", "\\Omega": "Ω", "\\AA": "Å", "\\%": "%"}
_DEGREE_NAME = re.compile(r"(?:\{\s*\}\s*)?\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*([CF])(?![A-Za-z])")
_TEXT_MODULO = re.compile(rf"{_WORDS}\s*\{{\s*\(\s*mod\s*\}}")
_SPACED_RELATIONS = re.compile(r"(=[^=,;&]*?)\\q?quad\s*(?=[a-zA-Z](?:_\{?\w+\}?)?\s*=)")
_COMPOSITION = re.compile(r"\(\s*([fgh])\s*\\circ\s*([fgh])\s*\)\s*\(([^()]*)\)")
_BRACKETED_UNITS = re.compile(rf"/\s*\(((?:\s|~|\\cdot|\\,|{_WORDS}\{{[^{{}}]*\}})+)\)")
_ANGSTROM = re.compile(r"\\(?:AA(?![a-zA-Z])|mathring\s*\{\s*(?:\\(?:text|mathrm)\s*\{)?\s*A\s*\}\}?)")
_HOURS_AND_MINUTES = re.compile(r"(?<![\d.])(\d+)\s*h\s*(\d+)\s*m(?:in)?(?![a-zA-Z])")
_MINUTES_AND_SECONDS = re.compile(r"(?<![\d.])(\d+)\s*m(?:in)?\s+(\d+(?:\.\d+)?)\s*s(?:ec)?(?![a-zA-Z])")
_BARE_BUILDER = re.compile(r"(?<![\\a-zA-Z_^}])\{\s*([a-z])\s*(?:\||\\mid)([^{}]*)\}")
_TEXT_PERCENT = re.compile(rf"{_WORDS}\s*\{{\s*(?:\\?%)\s*\}}")
_SQUARE_SIGN = re.compile(r"(?<=[\dπ)}])\s*([kcdmμ]?m|in|ft)([²³])(?![A-Za-z\d])")
_TIMES_TEN = re.compile(r"(?<=[\d.}])\s*[xX]\s*(?=10\s*(?:\^|\*\*))|(?<=\d)\s+[xX]\s+(?=\d)")
_GROUPED = re.compile(r"(\d)\s*(?:\{,\}|,\s*\\!)\s*(?=\d{3}(?!\d))")
_COMMA_NUMERAL = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]*\d)")
_SPACED_NUMERAL = re.compile(r"(?:[-+]|\\\$|\$)*\s*\d{1,3}(?:(?:\\[,:; ]|~|\s)\s*\d{3})+(?:\.\d+)?(?!\d)\D*")
_SPACE_IN_NUMERAL = re.compile(r"(?<=\d)(?:\\[,:; ]|~|\s)\s*(?=\d{3}(?!\d))")
_GROUPING = (("(", ")"), ("[", "]"), ("\\{", "\\}"))
_RAISED_SIGNS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ", "0123456789+-()nix")
_LOWERED_SIGNS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢₖ", "0123456789+-()nik")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢₖ]+")
_CIRCLED = re.compile("[①-⑳]")
_ENTITY = re.compile(r"&#?\w{2,8};")
_SQUARED_SIGN = re.compile("[\u3371-\u33dd]")
_ORDER_SIGN = r"(?:[<>]|\\(?:leq?|geq?|leqslant|geqslant|neq?)(?![a-z]))"
_TRAILING_CONDITION = re.compile(
    r"(?<=[\da-z)}\]])(?<!\\Pr)(?<!\\mathbb\{P\})(?:\s|~|\\[ ,;:]|\\q?quad(?![a-z]))*+"
    rf"\(([^()]*(?:{_ORDER_SIGN}|\\in\s*(?:\\mathbb|[ZNRQ]\b))[^()]*)\)$"
)
"""``y = \\frac6x (x>0)``: the condition on a formula. After a capital the brackets are its argument."""
_TILDE_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\s*~\s*(\d+(?:\.\d+)?)(?![\d./])([^\d~]*)")
_CHINESE_ORDINAL = re.compile(r"(?:\\text\{)?\s*第\s*(\d+|[零一二三四五六七八九十百]+)\s*([^\d{}]*?)\}?")
_QUADRANTS = re.compile(
    r"(?:\\text\{)?第?([一二三四1-4])(?:象限)?((?:[,或和与及]第?[一二三四1-4](?:象限)?)+)\}?"
)
_TEXT_DEGREES = re.compile(rf"{_WORDS}\s*\{{\s*\^\\circ\s*([CF]?)\s*\}}")
_CHINESE_MINUS = re.compile(r"^(?:负|零下)(?=[\d\\])")
_CHINESE_RATE = re.compile(r"(?:速度[为是]?)?每(秒|小时|分钟|分|时|天|年)(\d[\d.]*)\s*([\u4e00-\u9fff]{1,4})")
_CHINESE_DISCOUNT = re.compile(r"^打(?=[一二三四五六七八九\d.]{1,4}折)")
_ANGLED = re.compile(r"<([^<>=|]*,[^<>=|]*)>")
_CHINESE_RATIO = re.compile(r"(?<=\d)\s*比\s*(?=\d)")
_TEXT_DOLLAR = re.compile(rf"{_WORDS}\s*\{{\s*\\\$\s*\}}")
_UNION_LETTER = re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])")
_WITHOUT = re.compile(r"(\\mathbb\s*(?:\{\s*[RZQNC]\s*\}|[RZQNC]))\s*-\s*(?=\\\{)")
_NOT = re.compile(r"\\not\s*(=|\\(?:in|equiv|subset|subseteq|mid)(?![a-z])|\|)")
_NOT_SIGNS = {
    "=": "\\ne ",
    "\\in": "\\notin ",
    "\\subset": "\\nsubset ",
    "\\subseteq": "\\nsubseteq ",
    "\\mid": "\\nmid ",
    "|": "\\nmid ",
}
_RAISED_ORDINAL = re.compile(
    rf"(?<=[\dnk)])\s*\^\s*(?:\{{\s*)?{_WORDS}\s*\{{\s*(?:st|nd|rd|th)\s*\}}(?:\s*\}})?"
    r"|(?<=1)\s*\^\s*\{\s*st\s*\}|(?<=3)\s*\^\s*\{\s*rd\s*\}|(?<=[04-9nk)])\s*\^\s*\{\s*th\s*\}|(?<=1[1-3])\s*\^\s*\{\s*th\s*\}"
)
"""``7^{th}``; ``2^{nd}`` without words may be a power."""
_OVERLINED_LIMIT = re.compile(r"\\(overline|underline|bar)\s*\{\s*\\lim\s*\}")
_LIMITS = re.compile(r"\\(?:lim\s*\\(sup|inf)(?![a-z])|operatorname\*?\{\s*lim\s*(sup|inf)\s*\})")
_PRIMES_AFTER_DIGITS = re.compile(
    r"(?<=\d)\s*\^\s*(?:\{\s*\\prime\s*(\\prime\s*)?\}|\\prime(?![a-z])\s*(\\prime(?![a-z]))?)"
)
_FEET_AND_INCHES = re.compile(r"(-?\d+(?:\.\d+)?)\s*'(?!')\s*(?:(\d+(?:\.\d+)?)\s*(?:''|\"))?")
_INCHES = re.compile(r"(-?(?:\d+(?:\.\d+)?|(?:\d+\s*)?\\[dt]?frac\{\d+\}\{\d+\}))\s*(?:''|\")")
_NEGATIVE_WORD = re.compile(r"(?i)^(\\text\{\s*)?(?:negative|minus)\s+(?=\S)")
_BARE_UNITS = re.compile(
    r"(?<=[\d}])(?:\\[ ,;:]|[\s~])*+((?:[A-Za-zμΩ]{1,9}\s?(?:\^\s?\{?-?\d\}?\s?)?\\cdot\s?){1,4}"
    r"[A-Za-zμΩ]{1,9}\s?\^\s?\{?-?\d\}?)$"
)

_GAP = re.compile(r"\s{8,}")
_BACKSLASHES = re.compile(r"\\+")
_DOUBLED_COMMAND = re.compile(r"(?<!\\)\\\\[a-zA-Z]{2}")


_ARBITRARY = re.compile(
    r"(\\in\s*\\mathbb\s*\{?\s*[RCQZ]\s*\}?)[\s,~]*(?:\\text\s*\{\s*)?,?\s*(?:is\s+|are\s+)?arbitrary\s*\}?$"
)
"""A letter in a number system is arbitrary anyway."""


def clean(text: str) -> str:
    """Return the answer without math delimiters and final punctuation, with Unicode as LaTeX and thousands joined.

    Raises:
        TooLargeError: It is longer than :data:`MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLargeError(f"{len(text):,} characters are more than the limit of {MAX_CHARACTERS:,}")
    text = _GAP.sub("  ", text)  # the patterns below take time by the square of a gap
    if "**" in text:
        text = in_bold(text)
    if "\\\\" in text:
        text = _without_doubled_backslashes(text)
    if "&" in text and ";" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if not text.isascii():
        text = _as_latex(stripped(text))
    text = stripped(text)
    if ("nswer" in text or "答案" in text) and (said := without_leading_words(text)) != text:
        text = stripped(said)
    if "~" in text and (match := _TILDE_RANGE.fullmatch(text)) and not _SPACED_NUMERAL.fullmatch(text):
        text = f"{match[1]}-{match[2]}{match[3]}"
    if "arbitrary" in text:
        text = _ARBITRARY.sub(r"\1", text)
    if "!=" in text:
        text = with_factorials_apart(text)
    if text[:1] == "$" and text.count("$") == 1:  # money in a box
        text = f"\\{text}"
    if text.isdecimal():
        return text
    text = plain_layout(with_unit_apart(text) if text[:1] in "$-+0123456789" else text)
    if text[0:1] in "nNmM\\" and (match := _NEGATIVE_WORD.match(text)):
        rest = f"{match[1] or ''}{text[match.end() :]}"
        digits = with_digits(rest)
        text = f"-{digits}" if digits != rest else f"{match[1] or ''}-{text[match.end() :]}"
    return _join_numerals(_with_units(with_digits(text)))


def _without_doubled_backslashes(text: str) -> str:
    r"""Return ``\\frac{1}{4}``, escaped once too often, as ``\frac{1}{4}``: every backslash in it is doubled."""
    if _DOUBLED_COMMAND.search(text) and all(len(run) % 2 == 0 for run in _BACKSLASHES.findall(text)):
        return _BACKSLASHES.sub(lambda match: match[0][: len(match[0]) // 2], text)
    return text


def _as_latex(text: str) -> str:
    text = _SQUARE_SIGN.sub(lambda match: f"\\text{{ {match[1]}^{'2' if match[2] == '²' else '3'}}}", text)
    text = _RAISED.sub(lambda match: f"^{{{match[0].translate(_RAISED_SIGNS)}}}", text)
    text = _LOWERED.sub(lambda match: f"_{{{match[0].translate(_LOWERED_SIGNS)}}}", text)
    text = _SQUARED_SIGN.sub(_squared_sign, text)
    text = "".join(_plain_digit(character) for character in text.translate(UNICODE))
    if _CIRCLED.search(text):
        text = _CIRCLED.sub(lambda match: f"({ord(match[0]) - 0x2460 + 1}),", text).rstrip(",")
    text = _CHINESE_MINUS.sub("-", text)
    text = with_plain_phrases(text)
    text = _CHINESE_DISCOUNT.sub("", text)
    if "每" in text and (match := _CHINESE_RATE.fullmatch(text)):
        text = f"{match[2]}{match[3]}/{match[1]}"
    if "比" in text:
        text = _CHINESE_RATIO.sub(":", text)
    text = chinese_in_digits(text)
    if "circ" in text and "{" in text:
        text = _TEXT_DEGREES.sub(_degrees, text)
    if _QUADRANTS.fullmatch(text) and ("象限" in text or not any(map(str.isdigit, text))):
        return ",".join(
            f"{read_chinese(place)}\\text{{第象限}}" for place in re.findall("[一二三四1-4]", text)
        )
    if "第" in text[:8] and (ordinal := _CHINESE_ORDINAL.fullmatch(text)):
        text = _without_ordinal_sign(ordinal)
    wrapped = text.startswith("\\text{") and text.endswith("}")
    number = leading_chinese_number(text[6:-1] if wrapped else text)
    if number is not None:
        digits, rest = number
        if not rest or rest in ("成", "折") or units.read_unit(rest):
            return digits + (f"\\text{{{rest}}}" if rest else "")
    return text


def _without_ordinal_sign(match: re.Match[str]) -> str:
    """Put the sign of an ordinal, ``第7个``, after its number; other words stay as they are."""
    number, noun = read_chinese(match[1]), match[2]
    if number is None or (noun and units.read_unit(noun) is None):
        return match[0]
    return f"{number}\\text{{{'第象限' if noun == '象限' else '第'}}}"


def _degrees(match: re.Match[str]) -> str:
    return f"^\\circ\\text{{{match[1]}}}" if match[1] else "^\\circ "


def _squared_sign(match: re.Match[str]) -> str:
    """Read ``㎝`` and ``㎡`` in the letters that they are made of."""
    letters = re.sub(r"(?<=m)([23])$", r"^\1", unicodedata.normalize("NFKC", match[0]))
    return f"\\text{{ {letters}}}"


def _plain_digit(character: str) -> str:
    """Return a digit or letter of another script or style as its plain form: ``٣``, ``𝟑``, ``𝑥``."""
    if character.isascii() or "\u4e00" <= character <= "\u9fff":
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if "\U0001d400" <= character <= "\U0001d7ff":
        plain = unicodedata.normalize("NFKC", character)
        return plain.translate(UNICODE)
    return character


def _with_units(text: str) -> str:
    r"""Return the text with every unit, however it is marked up, in one flat ``\text`` group after its number."""
    if text.endswith(")") and ("<" in text or ">" in text or "\\" in text):
        text = _TRAILING_CONDITION.sub(r", \1", text)
    if "{:}" in text:
        text = text.replace("{:}", ":")
    if "\\" in text:
        text = _with_marked_units(text)
    if "^" in text and ("th" in text or "st" in text or "d" in text):
        text = _RAISED_ORDINAL.sub("", text)
    if "U" in text:
        text = _UNION_LETTER.sub(r"\\cup ", text)
    if text[:1] == "<" and (match := _ANGLED.fullmatch(text)):
        text = f"\\langle {match[1]}\\rangle"
    if "prime" in text and text.count("circ") == 0:
        text = _PRIMES_AFTER_DIGITS.sub(lambda match: "''" if match[1] or match[2] else "'", text)
    if "'" in text or '"' in text:
        text = _with_feet(text)
    if "m" in text and "s" in text:
        text = _MINUTES_AND_SECONDS.sub(r"\1\\text{ min }\2\\text{ s}", text)
    if "h" in text:
        text = _HOURS_AND_MINUTES.sub(r"\1\\text{ h }\2\\text{ min}", text)
    if "{" in text and ("|" in text or "\\mid" in text):
        text = _BARE_BUILDER.sub(r"\\{ \1 | \2 \\}", text)
    if "/" in text:
        text = _BARE_RATE.sub(_rate, text)
    return _TIMES_TEN.sub("\\\\times ", text) if "x" in text or "X" in text else text


def _with_marked_units(text: str) -> str:
    r"""Return a text that has commands with the units that they mark up in flat ``\text`` groups."""
    text = _TEXT_MODULO.sub(r"(\\bmod ", text) if "mod" in text else text
    if "quad" in text:
        text = _SPACED_RELATIONS.sub(r"\1, ", text)
    if "mL^" in text:
        text = text.replace("mL^", "m L^")  # a mass and a length: a volume has no powers
    if "\\circ" in text:
        text = _COMPOSITION.sub(r"\1(\2(\3))", text)
    if "\\not" in text:
        text = _NOT.sub(lambda match: _NOT_SIGNS.get(match[1], match[0]), text)
    if "lim" in text:
        text = _LIMITS.sub(lambda match: f"\\lim{match[1] or match[2]} ", text)
        text = _OVERLINED_LIMIT.sub(
            lambda match: "\\liminf " if match[1] == "underline" else "\\limsup ", text
        )
    if "\\$" in text:
        text = _TEXT_DOLLAR.sub(r"\\$", text)
    if "\\mathbb" in text:
        text = _WITHOUT.sub(r"\1\\setminus ", text)
    if "\\cdot" in text:
        text = _BARE_UNITS.sub(_bare_units, text)
    text = _BRACKETED_UNITS.sub(
        lambda match: "/" + "/".join(re.findall(rf"{_WORDS}\{{[^{{}}]*\}}", match[1])), text
    )
    text = _ANGSTROM.sub(r"\\text{ Å}", text)
    if "%" in text:
        text = _TEXT_PERCENT.sub(r"\\%", text)
    text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", with_joined_groups(text))
    text = _SIUNITX.sub(_siunitx, text)
    if "\\Omega" in text:
        text = _PREFIXED_SIGN.sub(_omega, text)
    if "\\mu" in text:
        text = _MICRO.sub(lambda match: f"{match[1]}\\text{{μ{match[2]}}}", text)
    text = _UNIT_GROUP.sub(_unit_group, text)
    if match := _COUNTED.match(text):  # the whole or the start: \text{5 hours}
        text = f"{match[1]}\\text{{ {match[2]}}}{text[match.end() :]}"
    return text


def _with_feet(text: str) -> str:
    """Read ``5'6''`` as feet and inches, if nothing else is next to it."""
    if match := _INCHES.fullmatch(text):
        return f"{match[1]}\\text{{ inchmark}}"
    if match := _FEET_AND_INCHES.fullmatch(text):
        inches = f"{match[2]}\\text{{ inchmark}}" if match[2] else ""
        return f"{match[1]}\\text{{ footmark }}{inches}"
    return text


def _bare_units(match: re.Match[str]) -> str:
    r"""Read ``m \cdot s^{-1}`` after a number as words, if all of its letters are units and one is below the line."""
    words = re.sub(r"\\cdot|[{}]", " ", match[1]).replace("^ ", "^")
    words = " ".join(re.sub(r"\s*\^\s*", "^", words).split())
    names = re.findall(r"[^\W\d_]+", words)
    known = "-" in words and all(units.is_name(name) for name in names)
    return f"\\text{{ {words}}}" if known else match[0]


def _siunitx(match: re.Match[str]) -> str:
    first, second = match.groups()
    if second is None:
        return first if "num" in match[0][:5] else f"\\text{{{_siunitx_names(first)}}}"
    return f"{first}\\text{{ {_siunitx_names(second)}}}"


def _siunitx_names(text: str) -> str:
    names = re.sub(r"\\([a-z]+)", r" \1 ", text.replace("\\per", "/"))
    return _PREFIX_WORD.sub(r"\1", names).replace("  ", " ")


def _omega(match: re.Match[str]) -> str:
    prefix = match[2] or match[3] or match[4] or ""
    return f"{match[1]}\\text{{ {_GREEK_UNITS.get(prefix, prefix)}Ω}}"


def _unit_group(match: re.Match[str]) -> str:
    r"""Read ``\mathrm{kJ\,mol^{-1}}`` as ``\text{ kJ mol^-1}`` if its content is a unit, else as it is."""
    gap, content = match.groups()
    if not any(mark in content for mark in "\\^~{"):
        is_unit = "rm" in match[0] and units.read_unit(content) is not None
        return f"{gap}\\text{{ {content.strip()}}}" if is_unit else match[0]
    if "circ" in content:
        content = _DEGREE_NAME.sub(
            lambda match: " celsius" if match[1] == "C" else " fahrenheit", content
        ).strip()
    for command, sign in _GREEK_UNITS.items():
        content = content.replace(command, sign)
    content = re.sub(r"\\(?:cdot|times)(?![a-z])|\\[,:; !]|~|\\quad", " ", content)
    content = re.sub(r"(?<=[μkMmnGc])\s+(?=Ω)|(?<=μ)\s+", "", content)
    content = re.sub(r"\^\s*\{\s*(-?\d)\s*\}", r"^\1", content)
    if "\\" in content or "{" in content or units.read_unit(content) is None:
        return match[0]
    return f"{gap}\\text{{ {content.strip()}}}"


def _rate(match: re.Match[str]) -> str:
    """Read ``km/h`` at the end as words; of two single letters, which may be variables, ``m/s`` after a space only."""
    gap, above, below = match.groups()
    known = units.is_name(above) and units.is_name(below)
    if known and (len(above) > 1 or len(below) > 1 or (above == "m" and below == "s" and gap)):
        return f"\\text{{ {above}/{below}}}"
    return match[0]


def _join_numerals(text: str) -> str:
    if "\\!" in text or "{,}" in text:
        text = _GROUPED.sub(r"\1", text)
    if _SPACED_NUMERAL.fullmatch(text):
        return _SPACE_IN_NUMERAL.sub("", text)
    return _join_thousands(text) if "," in text else text


def _join_thousands(text: str) -> str:
    """Read ``1,234`` as one number if it is outside brackets and no other comma could be a thousands sign."""
    numerals = list(_COMMA_NUMERAL.finditer(text))
    if not numerals:
        return text
    before = text[: numerals[-1].start()]
    if any(before.count(left) > before.count(right) for left, right in _GROUPING):
        return text
    rest = _COMMA_NUMERAL.sub("", text)
    if "," in rest and (len(numerals) == 1 or any(not after[:1].isspace() for after in rest.split(",")[1:])):
        return text
    return _COMMA_NUMERAL.sub(lambda match: match[0].replace(",", ""), text)
