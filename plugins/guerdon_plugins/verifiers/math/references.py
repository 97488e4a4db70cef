"""References: the texts of the answers that a reference accepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from guerdon.data.references import accepted_answers, placeholder_reason, plain
from guerdon_plugins.verifiers.math.reading.extraction import extract

Reference: TypeAlias = str | int | float | bool | Sequence[str | int | float | bool]
"""A gold answer: text (bare, in ``$…$`` or boxed; or a GSM8K solution that ends in ``####``), a JSON number, a bool
("true" or "yes"), or a list of accepted answers. Scalars and arrays of numpy are read as Python's."""

_BOOLS = {True: ["true", "yes"], False: ["false", "no"]}


def accepted_texts(reference: Reference) -> list[str]:
    """Return the texts of the answers that a reference accepts.

    Raises:
        TypeError: The reference is not text, a number, a bool or a list of these.
    """
    if type(reference) is str:
        return [gold_text(reference)]
    value = plain(reference)
    if reason := placeholder_reason(value):
        raise TypeError(f"the reference {reason}")
    if isinstance(value, bool):
        return _BOOLS[value]
    try:
        return [gold_text(text) for text in accepted_answers(value)]
    except ValueError as error:
        raise TypeError(str(error)) from error


def gold_text(text: str) -> str:
    """Return the gold answer inside a text: what a solution's ``####`` or last box marks, else all of it."""
    if "####" in text:
        return text.rpartition("####")[2].strip()
    if "\\boxed" in text or "\\fbox" in text:
        return extract(text).answer or text
    return text
