"""Completions in the filters of the stage ``sample``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from guerdon import Judgement, Outcome, Rollout, Row
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.generation import rollout_of

__all__ = ["Sampled", "Text", "drop_repeated", "keep_best", "sampled", "samples_of"]

_OTHER_COMPLETIONS = ("messages", "text")
"""Columns that SFT would use instead of the sampled completion."""

_OF_ONE_REQUEST = re.compile(r"\S*\d\S*")
"""The parts that differ between equal refusals: lengths, and the requests' names."""


Text: TypeAlias = tuple[int, str]
"""The number of a prompt, and a completion of it with single spaces."""


@dataclass(slots=True)
class Sampled:
    """One completion in the filters."""

    prompt: int
    """The number of its prompt in the shard."""
    number: int
    """Its number among the completions of the prompt."""
    source: Row
    rollout: Rollout
    tokens: int
    dropped: str | None
    """Why it is dropped, if so."""
    judgement: Judgement = field(default_factory=lambda: Judgement(None, {}))
    """The judgement of all verifiers that have judged it."""

    @property
    def reward(self) -> float:
        """Return the rubric's reward, by which the best of a prompt are kept; 0 where nothing counts."""
        return self.judgement.reward or 0.0

    def judge(self, judgement: Judgement, least: Mapping[str, float]) -> None:
        verdicts = {**self.judgement.verdicts, **judgement.verdicts}
        self.judgement = Judgement.of(verdicts)
        for name, value in least.items():
            verdict = verdicts.get(name)
            if verdict is None or verdict.score.outcome is Outcome.SKIPPED:
                continue
            if verdict.score.value is None:
                self.dropped = f"{name} failed: {verdict.score.failure}"
            elif verdict.score.value < value:
                self.dropped = f"{name} below {value:g}"
            if self.dropped is not None:
                return

    def row(self, stage_id: str, model: str) -> dict[str, Any]:
        """Return its row of the data set."""
        return {
            **{name: value for name, value in self.source.items() if name not in _OTHER_COMPLETIONS},
            "completion": self.rollout.completion,
            "provenance": {
                "stage": stage_id,
                "model": model,
                "sample": self.number,
                "reward": self.reward,
                "scores": {
                    name: verdict.score.to_dict() for name, verdict in self.judgement.verdicts.items()
                },
            },
        }


def samples_of(rows: Sequence[Row], groups: Sequence[Sequence[Completion]]) -> Iterator[Sampled]:
    for prompt, (row, completions) in enumerate(zip(rows, groups, strict=True)):
        for number, completion in enumerate(completions):
            yield sampled(prompt, number, row, completion)


def sampled(prompt: int, number: int, row: Row, completion: Completion) -> Sampled:
    return Sampled(prompt, number, row, rollout_of(row, completion), completion.tokens, _fault(completion))


def _fault(completion: Completion) -> str | None:
    """Return the reason a completion is unusable, normalised so that equal reasons can be counted, or None."""
    if completion.refused is not None:
        return f"refused: {_OF_ONE_REQUEST.sub('#', completion.refused)[:80]}"
    return None if completion.finished else "cut off"


def drop_repeated(samples: Sequence[Sampled], seen: set[Text]) -> None:
    """Drop samples that repeat one of their prompt, and remember the others."""
    for sample in samples:
        key = (sample.prompt, " ".join(sample.rollout.text.split()))
        if key in seen:
            sample.dropped = "repeated"
        seen.add(key)


def keep_best(samples: Sequence[Sampled], limit: int) -> None:
    taken: Counter[int] = Counter()
    for sample in sorted(samples, key=lambda sample: (sample.prompt, -sample.reward, sample.number)):
        taken[sample.prompt] += 1
        if taken[sample.prompt] > limit:
            sample.dropped = f"not among the best {limit}"
