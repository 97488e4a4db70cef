"""From cleaned LaTeX, ASCII math or prose to tokens: numerals, letters, names, commands, words and operators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from guerdon_plugins.verifiers.math.errors import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.numerals import read_numeral, starts_numeral
from guerdon_plugins.verifiers.math.reading.vocabulary import (
    ASCII,
    COMMON_WORDS,
    CURRENCIES,
    CURRENCY_WORDS,
    FUNCTIONS,
    GREEK,
    IGNORED,
    IGNORED_WITH_ARGUMENT,
    JOINING_WORDS,
    MATRIX_GROUPS,
    SPACES,
    SYNONYMS,
    TEXT_COMMANDS,
)

MAX_TOKENS = 6_000

__all__ = ["MAX_TOKENS", "Token", "TooLargeError", "UnreadableError", "tokenize"]


@dataclass(slots=True)
class Token:
    """One token; ``kind`` is ``num``, ``let``, ``name``, ``cmd``, ``text`` or ``op``."""

    kind: str
    text: str
    spaced: bool = False
    """Whether white space comes before it."""
    value: Fraction | None = None
    """The value of a numeral."""


_LEXEME = re.compile(r"\s+|\\(?:[a-zA-Z]+\*?|.)|[A-Za-z]+|\*\*|<=|>=|!=|==|:=|->|=>|\.\.\.|.", re.DOTALL)
_OPERATORS = {"**": "^", "==": "=", ":=": "=", "*": "\\cdot"}
_FLAT_GROUP = re.compile(r"\s*\{([^{}]*)\}")
_NEXT_CHARACTER = re.compile(r"\s*(\S)")
_DELIMITER = re.compile(r"\s*(\\[{}|]|\\[a-zA-Z]+|.)")
_NOT_WORDS = re.compile(r"[\\^_$]|^\s*-?[\d.]+\s*$")
_VALUE_IN_WORDS = re.compile(r"\d|\b[A-Z]\b")
_JOIN = re.compile(r"\b(?:and|or)\b")
_ALIGNED_IN_COLUMNS = frozenset(("array", "alignedat", "alignat"))
_ROUNDING = frozenset(("floor", "ceil"))
"""Functions before brackets only: a floor is a storey too."""
_VALUES = frozenset(("num", "let", "name"))
_KNOWN = FUNCTIONS | GREEK | frozenset(("cdot", "times", "infty", "pi", "pm", "mp", *SYNONYMS))
"""Commands after which a letter may lack its space."""
_AFTER_A_MARK = re.compile(
    r"[\s~]*([,;])[\s~]*(?=(?:the )?(?:radius|cent(?:er|re)|range|domain|vertex|focus|foci|axis|directrix|slope|period|"
    r"amplitude|m(?:ax|in)(?:imum)?|area|perimeter|volume|variance|mean|median|mode)\b)"
)
"""A mark in a group for words, before what a second value is: ``\\text{, radius }5``."""
_ORDINAL_ENDINGS = frozenset(("st", "nd", "rd", "th"))
_VALUE_ENDS = frozenset((")", "}", "]", "\\frac", "\\pi"))
_OPENERS = frozenset("([{") | {"\\{", "\\langle"}
_CLOSERS = frozenset(")]}") | {"\\}", "\\rangle"}
_TWO_LETTERS = re.compile("(?!i[dmn])[a-z]{2}")
_BEFORE_A_VALUE = frozenset("+-{=")
_SCRIPTS = ("^", "_")
"""Signs after a letter: ``Be^{-x}`` is a product."""
_NAME = re.compile(r"[A-Z](?=[a-z]*[aeiouy])[a-z]{2}|He|We|My|Mr|Dr")
"""``Tom``, ``She``: a capital is the first letter of a product of variables by chance only."""
_NOUN = re.compile(r"\s+[a-z]{3}")
"""What comes after an article."""
_HYPHENATED = re.compile(
    r"(?<![\\a-zA-Z\d}])(?:[a-zA-Z]|non|pre|anti|co|semi|half|self|well|one|two)-(?!(?:sqrt|alpha|beta|gamma|theta|lambda|sigma|omega|"
    r"delta|infinity|floor|ceil|tanh|sinh|cosh|sgn|log|max|min)\b)[a-z]{4,}(?![a-zA-Z^_({])"
)
"""``y-intercept``, ``non-negative``: one word."""
_JOINING = re.compile(r"\s*\b(and|or)\b\s*")


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a cleaned answer.

    Raises:
        TooLargeError: There are more than :data:`MAX_TOKENS`.
    """
    return _Tokenizer(text).run()


def _mark_division(tokens: list[Token]) -> None:
    r"""Mark the only bar of an answer, if it is outside of brackets between values, as "divides"."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.text in _OPENERS) - (token.text in _CLOSERS)
        if token.text == "|" and not depth and 0 < place < len(tokens) - 1:
            before, after = tokens[place - 1], tokens[place + 1]
            starts = after.kind in _VALUES or after.text in _OPENERS
            if starts and (before.kind in _VALUES or before.text in _CLOSERS):
                token.kind, token.text = "cmd", "\\mid"


def _is_mathematics(content: str) -> bool:
    """Return whether a group for words holds signs of mathematics, or values that a word joins."""
    if _NOT_WORDS.search(content):
        return True
    value = _VALUE_IN_WORDS.search(content)
    return value is not None and _JOIN.search(content, value.end()) is not None


class _Tokenizer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._spaced = False
        self._tokens: list[Token] = []
        self._openers: list[int] = []
        """The positions of the delimiters that ``\\left`` opened; -1 for the invisible one."""

    def run(self) -> list[Token]:
        text, end, tokens = self._text, len(self._text), self._tokens
        while self._position < end:
            if starts_numeral(text, self._position) and self._numeral():
                continue
            match = _LEXEME.match(text, self._position)
            assert match is not None
            self._position = match.end()
            self._lexeme(match[0], match.start())
            if len(tokens) > MAX_TOKENS:
                raise TooLargeError(f"more than {MAX_TOKENS:,} tokens")
        if text.count("|") + text.count("\\mid") == 1:
            _mark_division(tokens)
        return [token for token in tokens if token.text]

    def _add(self, kind: str, text: str) -> None:
        self._tokens.append(Token(kind, text, self._spaced))
        self._spaced = False

    def _numeral(self) -> bool:
        found = read_numeral(self._text, self._position)
        if found is None:
            return False
        text, value, self._position = found
        self._tokens.append(Token("num", text, self._spaced, value))
        self._spaced = False
        return True

    def _lexeme(self, lexeme: str, start: int) -> None:
        if lexeme.isspace() or lexeme in "~$":
            self._spaced = True
        elif lexeme[0] == "\\" and len(lexeme) > 1:
            self._command(lexeme[1:])
        elif lexeme.isascii() and lexeme.isalpha():
            self._letters(lexeme, start)
        elif lexeme in JOINING_WORDS:
            self._add("text", JOINING_WORDS[lexeme])
        elif lexeme in CURRENCIES or lexeme == "¢":
            self._add("text" if self._follows_value() else "op", lexeme)
        elif lexeme == "...":
            self._add("cmd", "\\ldots")
        elif lexeme.isalpha() or lexeme == "@":
            self._words("at" if lexeme == "@" else lexeme)
        else:
            self._add("op", _OPERATORS.get(lexeme, lexeme))

    # Commands

    def _command(self, name: str) -> None:
        """Add the tokens of a command, with the argument that belongs to it."""
        if name in SPACES or name.isspace():
            self._spaced = True
        elif name in ("left", "right", "middle"):
            self._delimiter(name)
        elif name in IGNORED:
            self._spaced = True
        elif name in IGNORED_WITH_ARGUMENT:
            self._flat_group()
        elif name in TEXT_COMMANDS:
            self._text_command(name)
        elif name == "mathbb":
            self._blackboard_letter()
        elif name in ("begin", "end"):
            self._environment(name)
        elif name.startswith(("quad", "qquad")):  # \quadx, a missing space
            self._spaced = True
            self._letters(name[name.index("d") + 1 :], self._position)
        elif (name not in _KNOWN and name[:-1] in _KNOWN and name[-1].isalpha()) or (
            name[:-1] in ("in", "notin") and name[-1].isupper()
        ):  # \cotx, \inZ, a missing space
            self._symbol(SYNONYMS.get(name[:-1], name[:-1]))
            self._letters(name[-1], self._position)
        else:
            self._symbol(SYNONYMS.get(name, name))

    def _flat_group(self) -> str | None:
        """Return the content of a group without markup, which is taken."""
        group = _FLAT_GROUP.match(self._text, self._position)
        if group is None:
            return None
        self._position = group.end()
        return group[1]

    def _delimiter(self, name: str) -> None:
        r"""Read a delimiter. The brace of ``\left\{`` around a system's rows is dropped: it is not a set's brace."""
        if name == "middle":
            return
        match = _DELIMITER.match(self._text, self._position)
        sign = match[1] if match else "."  # the final point may have gone with punctuation
        if name == "left":
            self._openers.append(-1 if sign == "." else len(self._tokens))
        elif self._openers:
            opener = self._openers.pop()
            if opener < 0 and sign == "\\}" and self._previous().startswith("\\end"):
                sign = "."
            elif sign == "." and 0 <= opener < len(self._tokens) - 1 and self._tokens[opener].text == "\\{":
                system = self._tokens[opener + 1].text.startswith("\\begin")
                self._tokens[opener].text = "" if system else "\\{"
        if match and sign == ".":
            self._position = match.end()
        elif match and sign in "<>":
            self._position = match.end()
            self._add("cmd", "\\langle" if name == "left" else "\\rangle")

    def _text_command(self, name: str) -> None:
        """Add a group without markup as words. Read any other group as math, and ignore the command."""
        start = self._position
        content = self._flat_group()
        if content is None:
            return
        if not content.strip(" .,;:!~"):
            self._spaced = True
        elif content in _ORDINAL_ENDINGS and self._follows_ordinal():
            return
        elif "^" in content and self._follows_value() and units.read_unit(content):
            self._words(content.strip())
        elif _is_mathematics(content) or not any(map(str.isalpha, content)):
            self._position = start
        else:
            if (title := _AFTER_A_MARK.match(content)) and self._tokens:
                self._add("op", title[1])
                content = content[title.end() :]
            words = content.rstrip(" ~")
            separates = words.endswith(",") and self._follows_value()  # 12\\text{ V, }3\\text{ A}
            self._grouped_words(words[:-1] if separates else content, name)
            if separates:
                self._add("op", ",")

    def _grouped_words(self, content: str, command: str) -> None:
        words = " ".join(content.replace("~", " ").split())
        function = ASCII.get(words) or SYNONYMS.get(words, words)  # \operatorname{atan}, \operatorname{tg}
        plain = command in ("operatorname", "operatorname*", "mathrm", "text")
        if (words in units.BARE_AFTER_A_NUMERAL or words == "deg") and self._follows_value():
            self._words(words)
        elif (
            words.isupper()
            and words.isalpha()
            and words.isascii()
            and 1 < len(words) < 5
            and (self._is_indexed() or words in MATRIX_GROUPS)
        ):
            self._add("name", words)
        elif plain and function in FUNCTIONS:
            self._add("cmd", f"\\{function}")
        elif command == "mathrm" and _TWO_LETTERS.fullmatch(words) and self._previous() in _BEFORE_A_VALUE:
            for letter in words:  # \\frac{5+\\mathrm{bw}}{a}
                self._add("let", letter)
        elif len(words) == 1 and words.isascii() and words.isalpha() and command != "text":
            is_unit = units.is_name(words) and (self._follows_value() or self._previous() == "/")
            self._add("text" if is_unit else "let", words)
        else:
            self._words(words)

    def _follows_ordinal(self) -> bool:
        last = self._tokens[-1] if self._tokens else None
        return last is not None and (last.kind in ("num", "let") or last.text == ")")

    def _is_indexed(self) -> bool:
        return self._text[self._position : self._position + 1] == "_"

    def _blackboard_letter(self) -> None:
        letter = _FLAT_GROUP.match(self._text, self._position) or _NEXT_CHARACTER.match(
            self._text, self._position
        )
        if letter:
            self._position = letter.end()
        self._add("cmd", f"\\mathbb{letter[1].strip() if letter else ''}")

    def _environment(self, name: str) -> None:
        environment = (self._flat_group() or "").strip().rstrip("*")
        if name == "begin" and environment in _ALIGNED_IN_COLUMNS:
            self._flat_group()
        self._add("cmd", f"\\{name}{{{environment}}}")

    def _symbol(self, name: str) -> None:
        if name in ("e", "i", "j"):
            self._add("let", name)
        elif name == "-" and any(token.text.startswith("\\begin{") for token in self._tokens):
            self._add("cmd", "\\\\")  # a row's end that lost a backslash before a minus sign
            self._add("op", "-")
        elif name == "&":
            self._add("text", "and")
        elif len(name) == 1 and name not in "{}$%\\":
            self._add("op", name)
        else:
            self._add("cmd", name if name[0] == "\\" and len(name) > 1 else f"\\{name}")

    # Words and letters

    def _previous(self) -> str:
        return self._tokens[-1].text if self._tokens else ""

    def _follows_value(self) -> bool:
        """Return whether a number, or what may end one, comes just before."""
        if not self._tokens:
            return False
        last = self._tokens[-1]
        return (last.kind == "num" or last.text in _VALUE_ENDS) or (
            last.kind == "text" and last.text not in ("and", "or")
        )

    def _words(self, words: str) -> None:
        """Add words to the text before them, if it is text; "and" and "or" stay tokens of their own."""
        if words.isascii() and (" and" in words or " or" in words or words[:3] in ("and", "or ")):
            for piece in filter(None, _JOINING.split(words)):
                self._one_text(piece)
        else:
            self._one_text(words)

    def _one_text(self, words: str) -> None:
        last = self._tokens[-1] if self._tokens else None
        joined = last is not None and last.kind == "text" and last.text not in ("and", "or")
        if last is None or not joined or words in ("and", "or"):
            self._add("text", words)
            return
        gap = "" if not words.isascii() and not self._spaced else " "
        last.text += gap + words
        self._spaced = False

    def _letters(self, run: str, start: int) -> None:
        """Tell a function's name, a word, a unit and a name like ``AB`` from a product of variables."""
        if not run:
            return
        if hyphenated := _HYPHENATED.match(self._text, start):
            self._position = hyphenated.end()
            self._words(hyphenated[0])
            return
        following = self._text[start + len(run) : start + len(run) + 1]
        ends = not following.isalnum() or not following.isascii()
        after_value = self._follows_value()
        if after_value and ends and run in units.BARE_AFTER_A_NUMERAL and not self._applies(start + len(run)):
            self._words(run)
        elif (
            run in _ORDINAL_ENDINGS
            and ends
            and self._tokens
            and self._tokens[-1].kind == "num"
            and not self._spaced
        ):
            return
        elif (
            run in ASCII
            and not (run in GREEK and self._follows_text())
            and not (run in _ROUNDING and following != "(")
        ):
            self._add("cmd", f"\\{ASCII[run]}")
        elif run.lower() in ("and", "or") and (run.islower() or run.isupper()):
            self._add("text", run.lower())
        elif self._is_word(run, ends, after_value):
            self._words(run)
        elif len(run) > 1 and run.isupper():
            self._add("name", run)
        else:
            for letter in run:
                self._add("let", letter)

    def _applies(self, position: int) -> bool:
        """Return whether a function's name at a position has an argument: ``2 sec x`` is not a time."""
        rest = self._text[position:].lstrip(" ~")
        return rest[:1] in ("(", "^", "{", "_", "\\") or (rest[:1].isalnum() and not rest[:2].isalpha())

    def _follows_text(self) -> bool:
        return bool(self._tokens) and self._tokens[-1].kind == "text"

    def _is_word(self, run: str, ends: bool, after_value: bool) -> bool:
        if (after_value and ends and units.is_bare_name(run)) or (
            not self._tokens and run in CURRENCY_WORDS and ends
        ):
            return True
        if self._follows_text() and self._spaced and len(run) > 1 and not run.isupper():
            return True
        if run == "a" and self._follows_text() and _NOUN.match(self._text, self._position):
            return True
        free = not self._tokens or self._spaced or self._follows_text()
        if not free or not ends or self._text[self._position : self._position + 1] in _SCRIPTS:
            return False
        return (
            (len(run) >= 4 and run[1:].islower()) or run.lower() in COMMON_WORDS or bool(_NAME.fullmatch(run))
        )
