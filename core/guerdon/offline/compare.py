"""Compare two judgements of the same rollouts: list the verdicts that differ, and count them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.errors import UsageError
from guerdon.offline.summary import Spread
from guerdon.types import Judgement, Score, Verdict

SAME = 1e-6
"""Values this close are equal, because models round differently in batches of other sizes."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A verdict on which the two sides differ."""

    where: str
    verifier: str
    a: Score | None
    """``None`` if the rollout was not routed to the verifier."""
    b: Score | None
    reward_a: float | None
    reward_b: float | None
    completion: str

    def to_dict(self) -> dict[str, Any]:
        """Return the flip as JSON values."""
        return {
            "where": self.where,
            "verifier": self.verifier,
            "a": self.a.to_dict() if self.a else None,
            "b": self.b.to_dict() if self.b else None,
            "reward_a": self.reward_a,
            "reward_b": self.reward_b,
            "completion": self.completion,
        }


@dataclass(slots=True)
class _Count:
    a: Spread = field(default_factory=Spread)
    b: Spread = field(default_factory=Spread)
    same: int = 0
    up: int = 0
    down: int = 0
    outcome: int = 0

    def add(self, a: float | None, b: float | None) -> bool:
        """Count a pair of values. Return whether they are equal."""
        if a is not None:
            self.a.add(a)
        if b is not None:
            self.b.add(b)
        if a is None or b is None:
            agree = a is b
            self.outcome += not agree
        else:
            agree = abs(a - b) <= SAME
            self.up += b > a and not agree
            self.down += b < a and not agree
        self.same += agree
        return agree

    def to_dict(self) -> dict[str, Any]:
        return {
            "same": self.same,
            "up": self.up,
            "down": self.down,
            "other outcome": self.outcome,
            "mean A": self.a.mean,
            "mean B": self.b.mean,
        }


class Comparison:
    """Compares two sides, row by row.

    Verifiers are paired by name. If each side has only one, these two are paired regardless of their names.

    Args:
        names_a: The verifiers of side A.
        names_b: The verifiers of side B.

    Raises:
        UsageError: No verifier of one side has a counterpart on the other.
    """

    def __init__(self, names_a: Sequence[str], names_b: Sequence[str]) -> None:
        if len(names_a) == 1 == len(names_b):
            pairs = [(names_a[0], names_b[0])]
        else:
            pairs = [(name, name) for name in names_a if name in names_b]
        if not pairs:
            raise UsageError(
                f"nothing to compare: A has {', '.join(names_a)}, and B {', '.join(names_b)}. "
                "Give rewards that belong together the same 'name'."
            )
        self._pairs = {a if a == b else f"{a} / {b}": (a, b) for a, b in pairs}
        self._counts = {label: _Count() for label in self._pairs}
        self._rewards = _Count()
        paired_a, paired_b = ({pair[side] for pair in pairs} for side in (0, 1))
        self.only_a = [name for name in names_a if name not in paired_a]
        """Verifiers of A without a counterpart."""
        self.only_b = [name for name in names_b if name not in paired_b]

    def add(self, where: str, completion: str, a: Judgement, b: Judgement) -> Iterator[Flip]:
        """Count a row, and yield its differences."""
        self._rewards.add(a.reward, b.reward)
        for label, (name_a, name_b) in self._pairs.items():
            score_a, score_b = _score(a.verdicts, name_a), _score(b.verdicts, name_b)
            count = self._counts[label]
            agree = count.add(*(score.value if score else None for score in (score_a, score_b)))
            # Two scores without values may differ in outcome or failure.
            same_outcome = (score_a and (score_a.outcome, score_a.failure)) == (
                score_b and (score_b.outcome, score_b.failure)
            )
            if agree and not same_outcome:
                count.same -= 1
                count.outcome += 1
            if not (agree and same_outcome):
                yield Flip(where, label, score_a, score_b, a.reward, b.reward, completion)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each pair of verifiers, and one for the reward."""
        counts = [*self._counts.items(), ("reward", self._rewards)]
        return [{"name": label, **count.to_dict()} for label, count in counts]

    @property
    def flips(self) -> int:
        """Return the number of verdicts that differ."""
        return sum(count.up + count.down + count.outcome for count in self._counts.values())


def _score(verdicts: Mapping[str, Verdict], name: str) -> Score | None:
    verdict = verdicts.get(name)
    return verdict.score if verdict is not None else None
