"""Read references for verifiers: plain values, accepted answers, and placeholders for missing answers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from guerdon.data.json_values import brief

__all__ = [
    "ReferenceList",
    "accepted_answers",
    "placeholder_reason",
    "plain",
    "plain_columns",
]

ReferenceList: TypeAlias = Literal["any", "whole"]
"""How a verifier reads a list as a reference; the values of the param ``reference_list``.

``any``: each item is an accepted answer. ``whole``: the list is one answer, such as a tuple or a set.
"""

_PLACEHOLDERS = frozenset(
    """
    -- --- ? ?? ??? . .. ... … / n/a n.a. n.a na nan <na> nat none null nil undefined unknown missing
    notfound not_found no_answer noanswer not_available not_applicable not_provided not_given to_be_determined tbd
    todo placeholder proof see_proof see_solution see_above prove_it 无 无答案 略 证明 证明略 见解析 见证明 待定 空 暂无
    """.split()  # noqa: SIM905
)
"""Texts that data sets put where an answer is missing, with spaces written as underscores."""
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox)\s*\{([^{}]*)\}")
_LONGEST_NOTE = 2_000
_NOTE = re.compile(
    r"[\[(]*(?:(?:please )?see (?:the )?(?:attached |following |full )?(?:solutions?|proofs?|explanations?|"
    r"graphs?|figures?|diagrams?|pictures?|images?|tables?|answers?|work|text|above|below)(?: (?:above|below|"
    r"attached|for details|section))*|"
    r"answers? (?:will |may |can )?var(?:y|ies)|(?:the )?(?:statement|claim|result|assertion|proof|theorem|"
    r"inequality|identity) (?:is|has been) (?:proved|proven|complete|omitted|shown|established)|proof (?:omitted|"
    r"complete|below|above)|(?:solution |answer )?omitted|(?:solution|answer) not (?:provided|given|available)|"
    r"q\.?e\.?d|\[asy\].*\[/asy\]|(?:答案|证明|解答|过程|图形?|作图)?(?:详?见|如)(?:解析|证明|详解|答案|图|下图|上图|过程|解答)|"
    r"证明(?:过程)?|(?:证明|过程|解答|作图|画图|图)(?:过程)?(?:略|见上|见下))[\])]*",
    re.DOTALL,
)
"""Sentences that point to an answer elsewhere, or say that there is none to compare with."""


def placeholder_reason(value: Any) -> str | None:
    """Return why a reference cannot be an answer, as the rest of a sentence, or ``None`` if it can be one.

    Data sets fill gaps with null, NaN, empty values, or texts such as ``N/A``, ``None`` and ``proof``. A list is a
    placeholder if any of its items is.
    """
    value = plain(value)
    if value is None:
        return "is null, a gap in the data"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, which is not a number"
    if isinstance(value, str):
        words = "_".join(value.strip().strip("$.*_ ").casefold().split()) or value.strip()
        if not words:
            return "is empty"
        missing = _is_placeholder(words) or _is_note(value)
        return f"is {brief(value)}, which marks a missing answer" if missing else None
    if isinstance(value, list | tuple | Mapping) and not value:
        return "is empty"
    if isinstance(value, list | tuple):
        reasons = [(number, placeholder_reason(item)) for number, item in enumerate(value)]
        return next((f"holds an item ({number}) that {why}" for number, why in reasons if why), None)
    return None


def _is_placeholder(words: str) -> bool:
    return words in _PLACEHOLDERS or words.strip("[](){}<>\\") in _PLACEHOLDERS


def _is_note(text: str) -> bool:
    words = _TEXT_COMMAND.sub(r"\1", text).strip("$.*_!。 ").casefold().split()
    return len(text) < _LONGEST_NOTE and _NOTE.fullmatch(" ".join(words)) is not None


def accepted_answers(reference: Any, lists: ReferenceList = "any") -> list[str]:
    """Return the texts of the answers that a reference accepts, for verifiers that compare texts.

    A number is its shortest text, a bool is ``true`` or ``false``.

    Args:
        reference: A row's reference: a text, a number, a bool, or a list of them.
        lists: What a list means: its items are accepted answers, or it is one answer, written ``(a, b)``.

    Raises:
        ValueError: The reference holds something that is not an answer.
    """
    reference = plain(reference)
    if not isinstance(reference, list | tuple):
        return [_text(reference)]
    if not reference:
        raise ValueError("the reference is an empty list")
    texts = [_text(item) for item in reference]
    return list(dict.fromkeys(texts)) if lists == "any" else [f"({', '.join(texts)})"]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    raise ValueError(
        f"the reference is {brief(value)} of type {type(value).__name__}; give a text, a number or a bool"
    )


_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


def plain_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's columns as plain Python values. NaN, which tables use for a missing value, becomes ``None``."""
    row = {name: plain(value) for name, value in columns.items()}
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
    }


def plain(value: Any) -> Any:
    """Return a value with the types of numpy, pandas and torch replaced by numbers, texts, lists and ``None``."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return value if set(map(type, value)) <= _PLAIN else kind(map(plain, value))
    if kind is dict:
        return value if set(map(type, value.values())) <= _PLAIN else {k: plain(v) for k, v in value.items()}
    module = kind.__module__.partition(".")[0]
    if module == "pandas" and kind.__name__ in ("NAType", "NaTType"):
        return None
    if module in ("numpy", "torch") and callable(tolist := getattr(value, "tolist", None)):
        return plain(tolist())
    return value
