"""Try the verifiers of a plan's stages on completions, all by the same workers."""

from __future__ import annotations

from collections import Counter
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


_ENOUGH_MS = 10_000.0
"""The time that verdicts of one check of an entry take, after which no further completion is tried."""

_PORTION = 4
"""The completions that are tried before the time is looked at."""

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
        self._untried: Counter[str] = Counter()

    def scores(self, entry: Entry, cases: Sequence[Case]) -> list[Score]:
        """Return an entry's scores of the first completions: of all, if its verdicts do not take long.

        A verifier may take seconds, or ask a model that costs money. The entry's ``when`` does not count.
        """
        known = self._known(entry)
        assert known is not None
        rollouts = [
            Rollout(
                row.get("prompt", ""), text, {key: value for key, value in row.items() if key != "prompt"}
            )
            for row, text in cases
        ]
        scores: list[Score] = []
        spent_ms = 0.0
        while len(scores) < len(rollouts) and spent_ms < _ENOUGH_MS:
            portion = rollouts[len(scores) : len(scores) + _PORTION]
            judgements = self._rubric.score(portion, names=[known.name])
            verdicts = [judgement.verdicts[known.name] for judgement in judgements]
            self._latencies[known.name] += [verdict.latency_ms for verdict in verdicts]
            spent_ms += sum(verdict.latency_ms for verdict in verdicts)
            scores += [verdict.score for verdict in verdicts]
        self._untried[known.name] += len(rollouts) - len(scores)
        return scores

    def take_untried(self, entry: Entry) -> int:
        """Return how many completions were not tried since the last call, because the entry's verdicts take long."""
        known = self._known(entry)
        return 0 if known is None else self._untried.pop(known.name, 0)

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
