"""From LaTeX, ASCII math or prose to tokens: markup goes, Unicode becomes LaTeX, numerals get their exact values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from guerdon_plugins.verifiers.math import units
from guerdon_plugins.verifiers.math.vocabulary import (
    ASCII,
    COMMON_WORDS,
    FUNCTIONS,
    GREEK,
    IGNORED,
    IGNORED_WITH_ARGUMENT,
    SPACES,
    SYNONYMS,
    TEXT_COMMANDS,
    UNICODE,
)

MAX_CHARACTERS = 10_000
"""Longer answers are refused unread."""
MAX_TOKENS = 6_000


class UnreadableError(ValueError):
    """Something that is no mathematical answer in a form that this library reads."""


class TooLargeError(UnreadableError):
    """Something too long, too deep or too costly to read or evaluate: a guard held."""


@dataclass(slots=True)
class Token:
    """One token; ``kind`` is ``num``, ``let``, ``name``, ``cmd``, ``text`` or ``op``."""

    kind: str
    text: str
    spaced: bool = False
    """Whether white space stands before it."""
    value: Fraction | None = None
    """The value of a numeral."""


_TOKEN = re.compile(r"\s+|\\(?:[a-zA-Z]+\*?|.)|[A-Za-z]+|\*\*|<=|>=|!=|==|:=|->|=>|\.\.\.|.", re.DOTALL)
_NUMERAL = re.compile(r"([0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?\d{1,9})(?![\d.]))?")
_FRACTION_PART = re.compile(r"\.(?:[0-9]|\s*\\(?:overline|bar|dot)\s*\{?\s*[0-9]+\s*\}?)")
_OVERLINED = re.compile(r"(\d*)\.(\d*)\s*\\(?:overline|bar)\s*(?:\{\s*(\d+)\s*\}|(\d))")
_DOTTED = re.compile(r"(\d*)\.(\d*)\s*\\dot\s*\{?(\d)\}?(?:(\d*)\s*\\dot\s*\{?(\d)\}?)?")
_PARENTHESISED = re.compile(r"(\d+)\.()\((\d+)\)(?!\s*[\dA-Za-z(\\^])")
_CONTINUED = re.compile(r"(\d*)\.(\d{0,12}?)(\d{1,12}?)\3{2,}\s*(?:\\[lc]?dots|\.\.\.)")
_GROUPED = re.compile(r"(\d)\s*(?:\{,\}|,\s*\\!)\s*(?=\d{3}(?!\d))")
_UNIT_FRACTION = re.compile(
    r"\\[dt]?frac\s*\{\s*\\(?:text|mathrm)\s*\{([^{}]*)\}\s*\}\s*\{\s*\\(?:text|mathrm)\s*\{([^{}]*)\}\s*\}"
)
_COUNTED = re.compile(
    r"\\(?:text|textbf|textrm|mbox|mathrm)\s*\{\s*(-?\d+(?:\.\d+)?)[\s~]+"
    r"(?![^{}]*\b(?:and|or)\b)([^\W\d_][^{}\\\d^_$]*)\}"
)
_BARE_RATE = re.compile(r"(?<=[\d}])((?:\\[ ,;:]|[\s~])*)([A-Za-z]+)/([A-Za-z]+)(?=(?:\^\{?\d\}?)?$)")
_FLAT_GROUP = re.compile(r"\s*\{([^{}]*)\}")
_NEXT_CHARACTER = re.compile(r"\s*(\S)")
_NOT_WORDS = re.compile(r"[\\^_$]|(?:\d|\b[A-Z]\b).*\b(?:and|or)\b")
_EDGES = ("\\,", "\\;", "\\!", "\\:", "\\ ", "~", " ")
_COMMA_NUMERAL = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED_NUMERAL = re.compile(r"(?:[-+]|\\\$|\$)*\s*\d{1,3}(?:(?:\\[,:; ]|~|\s)\s*\d{3})+(?:\.\d+)?(?!\d)\D*")
_SPACE_IN_NUMERAL = re.compile(r"(?<=\d)(?:\\[,:; ]|~|\s)\s*(?=\d{3}(?!\d))")
_GROUPING = (("(", ")"), ("[", "]"), ("\\{", "\\}"))
_DELIMITERS = (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$"))


def clean(text: str) -> str:
    """The answer without math delimiters and final punctuation, with Unicode as LaTeX and thousands joined.

    Raises:
        TooLargeError: It is longer than :data:`MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLargeError(f"{len(text):,} characters are more than the limit of {MAX_CHARACTERS:,}")
    if not text.isascii():
        text = text.translate(UNICODE)
    text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", _strip(text))
    if match := _COUNTED.match(text):  # the whole or the start: \text{5 hours}
        text = f"{match[1]}\\text{{ {match[2]}}}{text[match.end() :]}"
    if "/" in text:
        text = _BARE_RATE.sub(_rate, text)
    if "\\!" in text or "{,}" in text:
        text = _GROUPED.sub(r"\1", text)
    if _SPACED_NUMERAL.fullmatch(text):
        return _SPACE_IN_NUMERAL.sub("", text)
    return _join_thousands(text) if "," in text else text


def _rate(match: re.Match[str]) -> str:
    """``km/h`` at the end as words; of two single letters, which may be variables, ``m/s`` after a space only."""
    gap, above, below = match.groups()
    known = units.is_name(above) and units.is_name(below)
    if known and (len(above) > 1 or (above == "m" and below == "s" and gap)):
        return f"\\text{{ {above}/{below}}}"
    return match[0]


def _strip(text: str) -> str:
    r"""Take off white space, ``$…$``, ``\\(…\\)``, ``\\[…\\]`` and punctuation at the end, until none is left."""
    while True:
        before = text
        text = text.strip().removesuffix("\\\\").removeprefix("=")
        if text.startswith("\\approx") and not text[7:8].isalpha():
            text = text[7:]
        if text.startswith("**") and text.endswith("**"):
            text = text[2:-2]
        if text.endswith((".", ",", ";", ":", "!.")) and not text.endswith(
            ("..", "\\,", "\\;", "\\:", "\\.")
        ):
            text = text[:-1]
        for left, right in _DELIMITERS:
            inner = text[len(left) : -len(right)]
            if (
                len(text) >= len(left) + len(right)
                and text.startswith(left)
                and text.endswith(right)
                and not inner.endswith("\\")
                and (left != "$" or "$" not in inner.replace("\\$", ""))
            ):
                text = inner
                break
        while text.startswith(_EDGES):
            text = text[1 + (text[0] == "\\") :]
        while text.endswith(_EDGES):
            text = text[: -1 - (text[-2:-1] == "\\")]
        if text == before:
            return text


def _join_thousands(text: str) -> str:
    """Read ``1,234`` as one number where it stands outside brackets and no other comma makes it a list."""
    numerals = _COMMA_NUMERAL.findall(text)
    if len(numerals) != 1 or text.count(",") != numerals[0].count(","):
        return text
    before = text[: text.index(numerals[0])]
    if any(before.count(left) > before.count(right) for left, right in _GROUPING):
        return text
    return text.replace(numerals[0], numerals[0].replace(",", ""))


def tokenize(text: str) -> list[Token]:
    """The tokens of a cleaned answer.

    Raises:
        UnreadableError: Braces of a text command do not close.
        TooLargeError: There are more than :data:`MAX_TOKENS`.
    """
    tokens: list[Token] = []
    position, end, spaced = 0, len(text), False
    while position < end:
        character = text[position]
        if "0" <= character <= "9" or (character == "." and _FRACTION_PART.match(text, position)):
            token, position = _numeral(text, position)
            token.spaced = spaced
            tokens.append(token)
            spaced = False
            continue
        match = _TOKEN.match(text, position)
        assert match is not None
        lexeme, position = match[0], match.end()
        if lexeme.isspace() or lexeme in "~$":
            spaced = True
        elif lexeme[0] == "\\" and len(lexeme) > 1:
            name = lexeme[1:]
            if name in SPACES or name.isspace():
                spaced = True
                continue
            position = _command(text, position, name, spaced, tokens)
            spaced = name in IGNORED
        elif lexeme.isascii() and lexeme.isalpha():
            _letters(text, lexeme, match.start(), spaced, tokens)
            spaced = False
        elif lexeme.isalpha() or lexeme in "€£¢":
            _append_text(tokens, lexeme, spaced)
            spaced = False
        else:
            tokens.append(
                Token("op", {"**": "^", "==": "=", ":=": "=", "*": "\\cdot"}.get(lexeme, lexeme), spaced)
            )
            spaced = False
        if len(tokens) > MAX_TOKENS:
            raise TooLargeError(f"more than {MAX_TOKENS:,} tokens")
    return tokens


def _command(text: str, position: int, name: str, spaced: bool, tokens: list[Token]) -> int:
    """Add what a command stands for; return where reading goes on."""
    if name in IGNORED:
        invisible = name in ("left", "right", "middle") and text.startswith(".", position)
        return position + invisible
    group = _FLAT_GROUP.match(text, position)
    if name in IGNORED_WITH_ARGUMENT:
        return group.end() if group else position
    if name in TEXT_COMMANDS:
        # Words stand in a group without markup; any other group is read as math, the command says nothing.
        if group and not group[1].strip(" .,;:!"):
            return group.end()
        if group is None or _NOT_WORDS.search(group[1]) or not any(map(str.isalpha, group[1])):
            return position
        _add_words(group[1], name, spaced, tokens)
        return group.end()
    if name == "mathbb":
        letter = group or _NEXT_CHARACTER.match(text, position)
        tokens.append(Token("cmd", f"\\mathbb{letter[1] if letter else ''}", spaced))
        return letter.end() if letter else position
    if name in ("begin", "end"):
        environment = group[1].rstrip("*") if group else ""
        position = group.end() if group else position
        if environment == "array" and (columns := _FLAT_GROUP.match(text, position)):
            position = columns.end()
        tokens.append(Token("cmd", f"\\{name}{{{environment}}}", spaced))
        return position
    if name.startswith(("quad", "qquad")):  # \quadx, a missing space
        _letters(text, name[name.index("d") + 1 :], position, True, tokens)
        return position
    name = SYNONYMS.get(name, name)
    if name in ("e", "i"):
        tokens.append(Token("let", name, spaced))
    elif len(name) == 1 and name not in "{}$%&\\":
        tokens.append(Token("op", name, spaced))
    else:
        tokens.append(Token("cmd", name if name[0] == "\\" and len(name) > 1 else f"\\{name}", spaced))
    return position


def _add_words(content: str, command: str, spaced: bool, tokens: list[Token]) -> None:
    words = " ".join(content.replace("~", " ").split())
    if not words:
        return
    function = ASCII.get(words, words)  # \operatorname{atan} is arctan
    if command in ("operatorname", "operatorname*", "mathrm", "text") and function in FUNCTIONS:
        tokens.append(Token("cmd", f"\\{function}", spaced))
    elif len(words) == 1 and words.isalpha() and words.isascii() and command != "text":
        is_unit = (
            units.is_name(words) and tokens and (tokens[-1].kind in ("num", "text") or tokens[-1].text == "/")
        )
        tokens.append(Token("text" if is_unit else "let", words, spaced))
    else:
        _append_text(tokens, words, spaced)


def _append_text(tokens: list[Token], words: str, spaced: bool) -> None:
    if tokens and tokens[-1].kind == "text":
        gap = "" if not words.isascii() and not spaced else " "
        tokens[-1].text += gap + words
    else:
        tokens.append(Token("text", words, spaced))


def _letters(text: str, run: str, start: int, spaced: bool, tokens: list[Token]) -> None:
    """Tell a function's name, a word, a unit and a name like ``AB`` from a product of variables."""
    previous = tokens[-1] if tokens else None
    free = previous is None or spaced or previous.kind == "text"
    after_value = previous is not None and (previous.kind == "num" or previous.text in (")", "}", "\\frac"))
    ends = not text[start + len(run) : start + len(run) + 1].isalnum()
    if run in ASCII and not (run in GREEK and previous is not None and previous.kind == "text"):
        tokens.append(Token("cmd", f"\\{ASCII[run]}", spaced))
    elif run in ("and", "or", "AND", "OR"):
        tokens.append(Token("text", run.lower(), spaced))
    elif (
        (after_value and run in units.BARE and ends)
        or (
            previous is not None and previous.kind == "text" and spaced and len(run) > 1 and not run.isupper()
        )
        or (free and ((len(run) >= 4 and not run.isupper()) or run.lower() in COMMON_WORDS) and ends)
    ):
        _append_text(tokens, run, spaced)
    elif len(run) > 1 and run.isupper():
        tokens.append(Token("name", run, spaced))
    else:
        for index, letter in enumerate(run):
            tokens.append(Token("let", letter, spaced and index == 0))


def _numeral(text: str, position: int) -> tuple[Token, int]:
    """The numeral at a position, repeating decimals included, and where it ends."""
    if "\\" in text or "(" in text or "..." in text:
        for pattern in (_OVERLINED, _DOTTED, _PARENTHESISED, _CONTINUED):
            if match := pattern.match(text, position):
                return _repeating(pattern, match), match.end()
    match = _NUMERAL.match(text, position)
    if not match or not match[0]:  # a point before something that only looked like a repeating decimal
        return Token("op", text[position]), position + 1
    whole, decimals, exponent = match.groups()
    value = Fraction(to_int(whole + (decimals or "")))
    if decimals:
        value /= 10 ** len(decimals)
    if exponent:
        if abs(int(exponent)) > MAX_CHARACTERS:
            raise TooLargeError(f"the exponent of {match[0][:40]} is too large")
        value *= Fraction(10) ** int(exponent)
    return Token("num", match[0], value=value), match.end()


def _repeating(pattern: re.Pattern[str], match: re.Match[str]) -> Token:
    groups = match.groups()
    whole, fixed = groups[0] or "0", groups[1]
    if pattern is _OVERLINED:
        period = groups[2] or groups[3]
    elif pattern is _DOTTED:
        period = groups[2] + (groups[3] or "") + (groups[4] or "")
    else:
        period = groups[2]
    scale = 10 ** len(fixed)
    value = Fraction(to_int(whole + fixed), scale)
    value += Fraction(to_int(period), scale * (10 ** len(period) - 1))
    return Token("num", match[0], value=value)


def to_int(digits: str) -> int:
    """``int`` without Python's limit of 4,300 digits; the length of an answer is bounded."""
    if len(digits) <= 4000:
        return int(digits or "0")
    rest = digits[4000:]
    scale: int = 10 ** len(rest)
    return int(digits[:4000]) * scale + to_int(rest)
