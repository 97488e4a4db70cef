"""Read a stage's rollouts in one pass, whatever their size: means by step, and the positions of samples to show."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guerdon.data.json_values import parse_object
from guerdon.text import self_corrections
from guerdon.types import completion_text


@dataclass
class StepMeans:
    """The sums over the rollouts of one step, or in an evaluation of one model."""

    count: int = 0
    tokens: int = 0
    self_corrections: int = 0
    lowest: tuple[float, int] | None = None
    """The lowest reward and the position of its line in the file."""
    highest: tuple[float, int] | None = None

    def add(self, record: Mapping[str, Any], place: int) -> None:
        """Count one rollout."""
        self.count += 1
        self.tokens += int(record.get("completion_tokens") or 0)
        self.self_corrections += self_corrections(completion_text(record.get("completion", "")))
        reward = record.get("reward")
        if reward is not None:
            if self.lowest is None or reward < self.lowest[0]:
                self.lowest = (reward, place)
            if self.highest is None or reward > self.highest[0]:
                self.highest = (reward, place)


@dataclass
class Rollouts:
    """The content of ``rollouts.jsonl``."""

    path: Path
    steps: dict[int, StepMeans] = field(default_factory=dict)
    unreadable: int = 0

    @property
    def tokens(self) -> int:
        return sum(step.tokens for step in self.steps.values())

    def samples(self, steps: int) -> list[Mapping[str, Any]]:
        """Return the rollouts with the lowest and the highest reward of some steps.

        The steps are the first, the last and some between.
        """
        chosen = _spread(sorted(self.steps), steps)
        places = [
            extreme[1]
            for step in chosen
            for extreme in (self.steps[step].highest, self.steps[step].lowest)
            if extreme is not None
        ]
        return self._read(dict.fromkeys(places))

    def of_steps(self, steps: Collection[int]) -> Iterator[Mapping[str, Any]]:
        """Yield the rollouts of some steps, in their order in the file."""
        if not self.steps.keys() & set(steps):
            return
        with self.path.open("rb") as lines:
            for line in lines:
                record = parse_object(line) or {}
                if record.get("step") in steps:
                    yield record

    def _read(self, places: Iterable[int]) -> list[Mapping[str, Any]]:
        records = []
        if self.steps:
            with self.path.open("rb") as file:
                for place in places:
                    file.seek(place)
                    records.append(json.loads(file.readline()))
        return records


def read_rollouts(path: Path) -> Rollouts:
    """Read a log of rollouts. Other lines are counted and left out."""
    rollouts = Rollouts(path)
    if not path.exists():
        return rollouts
    place = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = parse_object(line) or {}
                rollouts.steps.setdefault(int(record["step"]), StepMeans()).add(record, place)
            except (AttributeError, KeyError, TypeError, ValueError):
                rollouts.unreadable += 1
            place += len(line)
    rollouts.steps = {step: means for step, means in rollouts.steps.items() if means.count}
    return rollouts


def _spread(items: Sequence[int], count: int) -> list[int]:
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]
