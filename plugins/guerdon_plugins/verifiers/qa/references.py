"""Read the accepted answers of a row, in the shapes of the common data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.data.references import accepted_answers, placeholder_reason, plain
from guerdon_plugins.verifiers.qa.languages import NO, YES


@dataclass(frozen=True, slots=True)
class Gold:
    """The accepted answers to a question."""

    alternatives: Sequence[Sequence[str]]
    """Each a list of spans, all of which the answer must give; most have one."""


def read(reference: Any, no_answer: Sequence[str]) -> Gold:
    """Return the accepted answers in a reference.

    Args:
        reference: A text, a number, a bool, a list of accepted answers, or a mapping of SQuAD, TriviaQA or DROP.
        no_answer: The phrases that answer a question without an answer.

    Raises:
        ValueError: It cannot be read.
    """
    value = plain(reference)
    if isinstance(value, bool):
        return Gold([[text] for text in (YES if value else NO)])
    if isinstance(value, Mapping):
        return _of_mapping(value, no_answer)
    if isinstance(value, list | tuple) and not value and no_answer:
        return Gold([[text] for text in no_answer])
    return Gold([[text] for text in _texts(value)])


def _texts(value: Any) -> list[str]:
    items = list(value) if isinstance(value, list | tuple) else [value]
    reasons = [(item, placeholder_reason(item)) for item in items]
    readable = [item for item, reason in reasons if reason is None]
    if not readable:
        raise ValueError(f"the reference {reasons[0][1] if reasons else 'is empty'}")
    return accepted_answers(readable)


def _of_mapping(value: Mapping[str, Any], no_answer: Sequence[str]) -> Gold:
    if "text" in value:  # SQuAD
        if not value["text"] and no_answer:
            return Gold([[text] for text in no_answer])
        return Gold([[text] for text in _texts(value["text"])])
    if "aliases" in value or "value" in value:  # TriviaQA
        lists = [value.get(name) or [] for name in ("aliases", "normalized_aliases")]
        names = [
            value.get("value"),
            *(name for names in lists if isinstance(names, list | tuple) for name in names),
        ]
        return Gold([[text] for text in _texts([name for name in names if name])])
    if value.get("number") not in (None, ""):  # DROP
        return Gold([_texts(value["number"])])
    day = value.get("date")
    if isinstance(day, Mapping) and any(day.values()):
        return Gold([[" ".join(str(day[part]) for part in ("day", "month", "year") if day.get(part))]])
    if value.get("spans"):
        return Gold([list(dict.fromkeys(_texts(value["spans"])))])
    raise ValueError(
        f"the reference is a mapping with the keys {', '.join(map(str, value)) or 'none'}; give 'text' (SQuAD), "
        "'aliases' (TriviaQA), or 'number', 'date' or 'spans' (DROP)"
    )
