"""The inputs of the checks: cases with a known verdict, and hostile completions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon.errors import DataError
from guerdon.files import read_rows
from guerdon.types import Failure, Messages, Rollout, Row, Score, completion_text

Expected = float | None | Failure
"""A value, ``None`` for a completion to be skipped, or the expected failure."""


class Case:
    """A completion whose verdict is known.

    ```python
    Case("It is 4.", 1.0, reference="4")
    Case("It is 4.", Failure.REFERENCE, reference="")
    ```

    Args:
        completion: What a model might write: text, or messages.
        value: In ``golden``, the expected value; in ``hacks``, the largest value that it may earn.
        prompt: The prompt, for plugins that read it.
        why: The purpose of the case, shown if it fails.
        completion_ids: Its token ids, for rewards that count tokens; by default one for every four characters.
        columns: The row's columns, ``reference`` among them.
    """

    def __init__(
        self,
        completion: str | Messages,
        value: Expected,
        /,
        *,
        prompt: str | Messages = "",
        why: str = "",
        completion_ids: Sequence[int] | None = None,
        **columns: Any,
    ) -> None:
        text = completion_text(completion)
        self.value = value
        self.why = why
        self.rollout = Rollout(
            prompt,
            completion,
            columns,
            range(math.ceil(len(text) / 4)) if completion_ids is None else completion_ids,
        )

    def __str__(self) -> str:
        return f"{shown(self.rollout.text)}{f' ({self.why})' if self.why else ''}"


def read_cases(path: Path) -> tuple[list[Case], list[Case]]:
    """Return golden and hack cases from a JSONL file.

    A row has ``completion``, the columns that the plugin reads, and ``prompt`` and ``why`` if they help. It also has
    ``expected`` (a number, ``null`` or a failure's name: a golden case) or ``at_most`` (a number: a hack case).

    Raises:
        DataError: The file cannot be read, or a row is not a case.
    """
    golden: list[Case] = []
    hacks: list[Case] = []
    for where, row in read_rows(path):
        columns = dict(row)
        if not isinstance(columns.get("completion"), str | list) or ("expected" in row) == ("at_most" in row):
            raise DataError(
                f"{where}: a case has 'completion' and either 'expected' (what it must get) or 'at_most' (the most "
                f"that it may earn). Columns: {', '.join(row) or 'none'}."
            )
        completion = columns.pop("completion")
        if "expected" in row:
            golden.append(Case(completion, _expected(where, columns.pop("expected")), **columns))
        else:
            hacks.append(Case(completion, _at_most(where, columns.pop("at_most")), **columns))
    return golden, hacks


def _expected(where: str, value: Any) -> Expected:
    if value is None or isinstance(value, int | float):
        return value
    if value in tuple(Failure):
        return Failure(value)
    raise DataError(
        f"{where}: expected is {value!r}. Give a number, null, or a failure: {', '.join(Failure)}."
    )


def _at_most(where: str, value: Any) -> float:
    if isinstance(value, int | float):
        return value
    raise DataError(f"{where}: at_most is {value!r}. Give a number: the most that the completion may earn.")


HOSTILE: Mapping[str, str] = {
    "empty": "",
    "blank": " \t\n\r\v\f ",
    "huge text": "so it is " * 20_000,
    "huge word": "a" * 200_000,
    "huge number": "9" * 50_000,
    "binary": bytes(range(256)).decode("latin-1") * 40,
    "lone surrogates": "\ud800 4 \udfff",
    "unicode": "４²٤४ \u202e4\u202c e\u0301\u0301\u0301 \u200b\ufeff 👩‍👩‍👧‍👦 Ⅳ ﷽ 𝟜 零",
    "nested brackets": "(" * 5_000 + "4" + ")" * 5_000,
    "nested JSON": "[" * 20_000 + "]" * 20_000,
    "nested tags": "<think>" * 5_000 + "<answer>4</answer>" + "</think>" * 5_000,
    "unclosed tag": "<think>" + "wait, " * 10_000,
    "nested formula": "\\boxed{" + "\\frac{1}{" * 1_000 + "4" + "}" * 1_001,
    "unclosed formula": "\\boxed{" * 2_000,
    "tower of powers": r"\boxed{\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}}",
    "fences": "```python\n" * 2_000,
    "templates": "{reference} {0.__class__} %s %(reference)s ${reference} $(reference) `reference`",
}
"""Completions that a policy may produce: malformed, binary, nested, longer than any current context window.

Each must get a verdict.
"""

UNREADABLE_REFERENCES = ("", "   ", None)
"""Values of references in data sets where an answer is missing."""


def hostile_cases(row: Row) -> list[Case]:
    """Return the hostile completions, as answers to an ordinary row."""
    return [Case(text, None, why=f"hostile: {name}", **row) for name, text in HOSTILE.items()]


def shown(text: str) -> str:
    """Return a completion as a message shows it."""
    if len(text) <= 60:
        return repr(text)
    return f"{text[:50]!r}… ({len(text):,} characters)"


def verdict_of(score: Score) -> str:
    """Return a score as a message shows it."""
    verdict = str(score.failure or score.outcome) if score.value is None else f"{score.value:g}"
    return f"{verdict} ({score.explanation})" if score.explanation else verdict


def fits(score: Score, expected: Expected) -> bool:
    """Return whether a score is the one that a golden case expects."""
    if isinstance(expected, Failure):
        return score.failure is expected
    if expected is None:
        return score.value is None and score.failure is None
    return score.value is not None and abs(score.value - expected) < 1e-6


def same(first: Score, second: Score) -> bool:
    """Return whether two scores are equal, apart from explanations, which may differ."""
    return (first.value, first.outcome, first.failure, first.answer) == (
        second.value,
        second.outcome,
        second.failure,
        second.answer,
    )
