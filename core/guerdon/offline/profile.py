"""Measure how often each prompt is answered right, from judged completions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.errors import DataError, UsageError
from guerdon.files import Located
from guerdon.plugins.spelling import did_you_mean
from guerdon.types import Judgement, Outcome, completion_text

__all__ = ["PASS_RATE", "SAMPLES", "Profile"]

PASS_RATE, SAMPLES = "pass_rate", "samples"
"""The columns that a profile adds to each prompt's row."""

REWARD = "reward"
CUT_OFF = "cut off"
"""Why ``sample`` drops a completion that reaches the length limit."""

_OF_A_COMPLETION = ("completion", "completion_ids", "reward", "scores")
_BANDS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))


@dataclass(slots=True)
class _Prompt:
    passed: int = 0
    scored: int = 0


class Profile:
    """Counts, for each prompt, its scored completions and those that pass.

    Two rows are of one prompt if their ``prompt`` and their ``reference`` are equal. Failed and skipped scores do not
    count. The stage ``sample`` does not judge completions that are cut off, and those that repeat another one: the
    first do not pass, the others have the score of the one that they repeat. Memory grows with the number of
    completions, not with their length.

    Args:
        by: The entry that decides, or ``reward``; by default the only entry.
        least: The least value that passes.
        model: The model whose completions count, where the rows name several.
    """

    def __init__(self, by: str | None = None, least: float = 1.0, model: str | None = None) -> None:
        self._by = by
        self._least = least
        self._model = model
        self._models: dict[str, None] = {}
        self._prompts: dict[bytes, _Prompt] = {}
        self._known: dict[bytes, float | None] = {}
        """The values of the completions of ``sample``, which others may repeat."""

    def add(self, where: str, row: Mapping[str, Any], judgement: Judgement) -> None:
        """Count a completion.

        Raises:
            DataError: The row has no prompt, or no verdict of the entry.
            UsageError: The rows are of several models, or have several entries, and none is selected.
        """
        if not self._is_selected(where, row):
            return
        key = _key(where, row)
        prompt = self._prompts.setdefault(key, _Prompt())
        value = (
            self._sampled(where, row, key, judgement) if "dropped" in row else self._value(where, judgement)
        )
        if value is not None:
            prompt.scored += 1
            prompt.passed += value >= self._least

    def _sampled(self, where: str, row: Mapping[str, Any], key: bytes, judgement: Judgement) -> float | None:
        """Return the value of a completion of the stage ``sample``, which judges only some."""
        text = completion_text(row["completion"]).split()
        same = hashlib.sha256(" ".join(text).encode("utf-8", "surrogatepass") + key).digest()[:16]
        if judgement.verdicts:
            needed = self._by in (None, REWARD) or self._by in judgement.verdicts or row["dropped"] is None
            self._known[same] = self._value(where, judgement) if needed else None
        elif row["dropped"] == CUT_OFF:
            return -math.inf
        return self._known.get(same)

    def _is_selected(self, where: str, row: Mapping[str, Any]) -> bool:
        name = row.get("model")
        if name is None or not _is_recorded(row):
            return True
        self._models[str(name)] = None
        if self._model is None and len(self._models) > 1:
            raise UsageError(
                f"{where}: the completions are of several models: {', '.join(self._models)}. Select one with --model."
            )
        return self._model in (None, str(name))

    def _value(self, where: str, judgement: Judgement) -> float | None:
        if self._by == REWARD:
            return judgement.reward
        names = list(judgement.verdicts)
        if self._by is None:
            if len(names) != 1:
                raise UsageError(
                    f"{where}: the completion has scores of {', '.join(names) or 'no entry'}. Name the entry that "
                    "decides with --by, or 'reward'."
                )
            self._by = names[0]
        if self._by not in names:
            hint = did_you_mean(self._by, [*names, REWARD])
            raise DataError(
                f"{where}: has no score of '{self._by}', only of {', '.join(names) or 'no entry'}.{hint}"
            )
        score = judgement.verdicts[self._by].score
        return score.value if score.outcome is Outcome.SCORED else None

    def rows(self, rows: Iterator[Located]) -> Iterator[dict[str, Any]]:
        """Yield each prompt's row with its pass rate, in the order of their first completions.

        Args:
            rows: The rows that were counted, again.
        """
        written: set[bytes] = set()
        for where, row in rows:
            key = _key(where, row)
            prompt = self._prompts.get(key)
            if prompt is None or key in written or not prompt.scored or not self._is_selected(where, row):
                continue
            written.add(key)
            yield {**_data_row(row), PASS_RATE: prompt.passed / prompt.scored, SAMPLES: prompt.scored}

    def table(self) -> list[dict[str, Any]]:
        """Return the number of prompts in bands of the pass rate.

        Raises:
            DataError: No completion has a score.
            UsageError: A model is selected, and the rows name none.
        """
        if self._model is not None and not self._models:
            raise UsageError(
                f"--model {self._model} selects among the models of a run's rollouts, and the rows name none. "
                "Leave it out."
            )
        rates = [prompt.passed / prompt.scored for prompt in self._prompts.values() if prompt.scored]
        if not rates:
            raise DataError(
                f"none of {len(self._prompts)} prompts has a score"
                + (
                    f" of model '{self._model}'. Models: {', '.join(self._models) or 'none'}."
                    if self._model
                    else "."
                )
            )
        bands = [("0", [rate for rate in rates if rate == 0])]
        for low, high in _BANDS:
            inside = [rate for rate in rates if low <= rate < high and rate > 0]
            bands.append((f"{'above ' if low == 0 else ''}{low:g} to below {high:g}", inside))
        bands.append(("1", [rate for rate in rates if rate == 1]))
        return [
            {"pass rate": name, "prompts": len(found), "share": len(found) / len(rates)}
            for name, found in bands
        ]

    def remarks(self) -> Sequence[str]:
        """Return what the table does not say."""
        unscored = sum(not prompt.scored for prompt in self._prompts.values())
        return [f"left out: {unscored} prompts without a score"] if unscored else []


def _is_recorded(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of a run's ``rollouts.jsonl``."""
    return isinstance(row.get("columns"), Mapping)


def _data_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row that the completion was sampled for."""
    if _is_recorded(row):
        return {"prompt": row["prompt"], **row["columns"]}
    return {name: value for name, value in row.items() if name not in _OF_A_COMPLETION}


def _key(where: str, row: Mapping[str, Any]) -> bytes:
    data = _data_row(row) if "prompt" in row else {}
    if "prompt" not in data:
        raise DataError(
            f"{where}: has no column 'prompt', and a pass rate is of a prompt. Columns: {', '.join(row) or 'none'}."
        )
    text = json.dumps([data["prompt"], data.get("reference")], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
