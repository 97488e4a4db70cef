"""``match``: check that the answer equals, holds, starts with or ends with the reference, or matches a pattern."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from guerdon import Failure, Score
from guerdon.data.references import accepted_answers, placeholder_reason
from guerdon.errors import library_of
from guerdon.text import Part, checked_tags, select_part, words
from guerdon_plugins.shared.visible import without_invisible

Mode: TypeAlias = Literal["equal", "includes", "starts", "ends", "pattern"]

MAX_CHARACTERS = 200_000
"""A longer text matches no pattern."""

_MARKS = ",:∶'’_٫٬"
_OPERATORS = "+*/^×·⋅∙÷⁄∕"
_NUMERALS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉"
"""Fractions, powers and indices."""
_LEADS = re.compile(
    rf"(?:(?<![^\W\d_])\.|\d[{_MARKS}]|(?<!\w)[-−]|\de[-−]|[a-z0-9)\]}}](?:[{_OPERATORS}]|\*\*)|[√±∓{_NUMERALS}])$",
    re.IGNORECASE,
)
"""What before a digit belongs to the same number or expression: ``1.``, ``1,``, ``-``, ``1e-``, ``2^``, ``√``."""
_FOLLOWS = re.compile(rf"[.{_MARKS}]\d|(?:[{_OPERATORS}]|\*\*)[a-z0-9(\[{{√−-]|[{_NUMERALS}]", re.IGNORECASE)
"""What after a digit does."""

_SHOWN = 200
"""The most characters of a reference in an explanation."""


class Match:
    """Scores 1 if a part of the completion matches the reference, else 0. It compares characters, not meaning.

    ``includes``, ``starts`` and ``ends`` match whole words, and pay for a list of guesses; prefer ``equal``, or the
    verifiers ``qa`` and ``choice``.

    Args:
        mode: ``equal``: the text is the reference; ``includes``, ``starts``, ``ends``: it holds the reference, at any
            place, at its start or at its end; ``pattern``: all of it matches a regular expression.
        pattern: The regular expression of ``pattern``; by default the reference is one.
        case_sensitive: Whether case counts.
        lists: Whether ``any`` or ``all`` items of a list of references must match.
        part: The part to match: the reasoning, the final answer or the whole.
        limit_s: With ``pattern``, the seconds of matching after which the score fails as a timeout.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: A param is invalid, or ``pattern`` is not a regular expression.
        MissingDependencyError: The mode is ``pattern``, and the package ``regex`` is not installed.
    """

    audit_kind = "answer"

    def __init__(
        self,
        mode: Mode = "equal",
        pattern: str | None = None,
        case_sensitive: bool = False,
        lists: Literal["any", "all"] = "any",
        part: Part = "answer",
        limit_s: float = 2.0,
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if pattern is not None and mode != "pattern":
            raise ValueError(f"pattern is set, and mode is {mode!r}; set mode to pattern")
        if limit_s <= 0:
            raise ValueError(f"limit_s is {limit_s}; give a number of seconds above 0")
        self._mode = mode
        self._pattern = pattern
        self._case_sensitive = case_sensitive
        self._all = lists == "all"
        self._part: Part = part
        self._limit_s = limit_s
        self._tags = checked_tags(reasoning_tags)
        if mode == "pattern":
            self._compile(pattern or "")

    def __call__(self, completion: str, reference: Any = None) -> Score:
        try:
            wanted = [self._pattern] if self._pattern is not None else _wanted(reference)
            if self._mode == "pattern":
                for expression in wanted:
                    self._compile(expression)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        text = select_part(completion, self._part, self._tags).strip()
        try:
            found = [self._matches(text, item) for item in wanted]
        except TimeoutError:
            return Score.failed(Failure.TIMEOUT, f"the pattern did not match within {self._limit_s:g} s")
        right = all(found) if self._all else any(found)
        missed = next((item for item, met in zip(wanted, found, strict=True) if not met), "")
        return Score(float(right), answer=text[:1000], explanation="" if right else self._difference(missed))

    def _difference(self, missed: str) -> str:
        """Return which reference the text does not match."""
        shown = missed if len(missed) <= _SHOWN else f"{missed[:_SHOWN]}…"
        return f"the text does not match '{shown}' ({self._mode})"

    def gold_completion(self, reference: Any) -> str | None:
        """Return a completion that is the reference, or ``None`` for a pattern."""
        if self._mode == "pattern":
            return None
        try:
            wanted = _wanted(reference)
        except ValueError:
            return None
        if self._all and len(wanted) > 1:
            return " ".join(wanted) if self._mode == "includes" else None
        return wanted[0]

    def _matches(self, text: str, wanted: str) -> bool:
        if self._mode == "pattern":
            if len(text) > MAX_CHARACTERS:
                return False
            return self._compile(wanted).fullmatch(text, timeout=self._limit_s) is not None
        text, wanted = self._folded(text), self._folded(wanted)
        if self._mode == "equal":
            return text == wanted
        return _holds(text, wanted, self._mode)

    def _folded(self, text: str) -> str:
        normal = unicodedata.normalize("NFC", text if self._case_sensitive else text.casefold())
        normal = without_invisible(normal)
        return " ".join(normal.split())

    def _compile(self, expression: str) -> Any:
        with library_of("verifier 'match' with mode 'pattern'", extra="match"):
            import regex
        flags = regex.DOTALL | (0 if self._case_sensitive else regex.IGNORECASE)
        try:
            return regex.compile(expression, flags)
        except (regex.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{expression[:60]!r} is not a regular expression: {error}") from None


def _wanted(reference: Any) -> list[str]:
    """Return the texts in a reference.

    Raises:
        ValueError: It cannot be read.
    """
    reason = placeholder_reason(reference)
    if reason is not None:
        raise ValueError(f"the reference {reason}")
    return [text.strip() for text in accepted_answers(reference)]


def _holds(text: str, wanted: str, mode: Mode) -> bool:
    """Return whether the text holds the wanted one as whole words, in linear time."""
    start = text.find(wanted) if mode != "ends" else len(text) - len(wanted)
    while start >= 0:
        if mode == "starts" and start > 0:
            return False
        end = start + len(wanted)
        if text.startswith(wanted, start) and not (_inside_word(text, start) or _inside_word(text, end)):
            return True
        if mode != "includes":
            return False
        start = text.find(wanted, end)
    return False


def _inside_word(text: str, place: int) -> bool:
    """Return whether a place is between two characters of one word or number. In Chinese, each character is a word."""
    before, after = text[max(place - 3, 0) : place], text[place : place + 3]
    if not before or not after:
        return False
    pair = before[-1] + after[0]
    if pair.isascii() and pair.isalnum():
        return True
    return (pair.isalnum() and len(words(pair)) == 1) or _inside_number(before, after)


def _inside_number(before: str, after: str) -> bool:
    """Return whether a place is beside a digit, within a number or an expression that has no spaces."""
    return (after[0].isdigit() and _LEADS.search(before) is not None) or (
        before[-1].isdigit() and _FOLLOWS.match(after) is not None
    )
