"""Try the verifiers of a plan's stages on completions, all by the same workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from guerdon.manifest.entries import named_stages
from guerdon.manifest.plan import StagePlan
from guerdon.plugins.discovery import Kind
from guerdon.rubric import Entry, Rubric
from guerdon.types import Rollout, Row, Score

Case = tuple[Row, str]
"""A row and a completion."""


_ALONE: dict[str, Any] = {"when": {}, "needs": (), "within": None}
"""What an entry lacks in a trial: what routes it, and what it has to do with others."""


class Trials:
    """The verifiers of stages, each distinct one built once. Holds a worker process: use it as a context manager.

    Args:
        stages: Their entries can be tried, except those that need another stage's model.
    """

    def __init__(self, stages: Iterable[StagePlan]) -> None:
        self._entries: list[Entry] = []
        for entry in (entry for stage in stages for entry in stage.entries):
            verifier = entry.component.kind is Kind.VERIFIER and not named_stages(entry)
            if verifier and self._known(entry) is None:
                self._entries.append(replace(entry, name=str(len(self._entries)), **_ALONE))
        self._rubric = Rubric(self._entries, workers=1)
        self._latencies: dict[str, list[float]] = {entry.name: [] for entry in self._entries}

    def scores(self, entry: Entry, cases: Sequence[Case]) -> list[Score]:
        """Return an entry's scores of completions. Its ``when`` does not count."""
        known = self._known(entry)
        assert known is not None
        rollouts = [
            Rollout(
                row.get("prompt", ""), text, {key: value for key, value in row.items() if key != "prompt"}
            )
            for row, text in cases
        ]
        judgements = self._rubric.score(rollouts, names=[known.name])
        verdicts = [judgement.verdicts[known.name] for judgement in judgements]
        self._latencies[known.name] += [verdict.latency_ms for verdict in verdicts]
        return [verdict.score for verdict in verdicts]

    def latencies(self, entry: Entry) -> list[float]:
        """Return the time of each verdict of an entry so far, in milliseconds."""
        known = self._known(entry)
        return [] if known is None else self._latencies[known.name]

    def _known(self, entry: Entry) -> Entry | None:
        same = (one for one in self._entries if _tried(one) == _tried(entry))
        return next(same, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rubric.close()


def _tried(entry: Entry) -> tuple[object, ...]:
    """Return what a trial of an entry depends on."""
    return entry.component, entry.timeout_s, entry.on_failure
