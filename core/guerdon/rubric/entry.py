"""The entries of a rubric: one scorer each, alone or as a member of a ``first_of``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.types import OnFailure

__all__ = ["Entry", "FirstOf", "Weight", "compares_groups", "first_ofs", "names_of", "order_of"]

Weight: TypeAlias = float | Mapping[int, float]
"""A number, or a schedule: weights at steps, linear in between, constant before the first and after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstOf:
    """One verdict from several entries: each is asked only where none before it gave the full value.

    ``guerdon.rubric.rule.decided`` says which verdict counts.
    """

    name: str
    weight: Weight = 1.0
    when: Mapping[str, Any] = field(default_factory=dict)
    """The rollouts that it judges, by column, as for an entry."""
    on_failure: OnFailure = OnFailure.SKIP
    needs: Sequence[str] = ()
    """The names of the entries whose full value it needs."""

    def weight_at(self, step: int) -> float:
        """Return the weight at a training step; a schedule is linear between its steps."""
        return _weight_at(self.weight, step)

    @property
    def is_metric(self) -> bool:
        """Return whether the weight is 0 at every step."""
        return _is_zero(self.weight)

    def applies_to(self, columns: Mapping[str, Any]) -> bool:
        """Return whether a rollout with these columns is routed to it."""
        return _matches(self.when, columns)


@dataclass(frozen=True, slots=True)
class Entry:
    """One scorer of a rubric: a verifier, a reward or a group reward."""

    name: str
    component: Component
    weight: Weight = 1.0
    when: Mapping[str, Any] = field(default_factory=dict)
    """The rollouts it judges, by column: each must equal the value, or be one of a list's. All, if empty."""
    on_failure: OnFailure = OnFailure.SKIP
    timeout_s: float | None = None
    """The deadline of one verdict (for a reward: of one call); by default the plugin's own ``timeout_s``, else 10 s for
    a verifier and 300 s for a reward."""
    retries: int = 0
    """How often a failed score is asked for again, before ``on_failure`` applies. An unreadable reference is not."""
    needs: Sequence[str] = ()
    """The names of the entries whose full value it needs: elsewhere it is not asked, and ``rule.unmet`` is its
    score."""
    within: FirstOf | None = None
    """The ``first_of`` that it is a member of. Its own weight is then 0, because only the whole counts."""

    def weight_at(self, step: int) -> float:
        """Return the weight at a training step; a schedule is linear between its steps."""
        return _weight_at(self.weight, step)

    @property
    def is_metric(self) -> bool:
        """Return whether it never counts by itself: its weight, or that of its ``first_of``, is 0 at every step."""
        return _is_zero(self.weight) and (self.within is None or self.within.is_metric)

    def applies_to(self, columns: Mapping[str, Any]) -> bool:
        """Return whether a rollout with these columns is routed to this entry."""
        return _matches(self.when, columns) and (self.within is None or self.within.applies_to(columns))


def first_ofs(entries: Iterable[Entry]) -> dict[str, FirstOf]:
    """Return the ``first_of`` wholes of entries, by name."""
    return {entry.within.name: entry.within for entry in entries if entry.within is not None}


def compares_groups(entries: Iterable[Entry]) -> bool:
    """Return whether one of the entries is a group reward."""
    return any(entry.component.kind is Kind.GROUP_REWARD for entry in entries)


def names_of(entries: Sequence[Entry]) -> list[str]:
    """Return the names of all verdicts that the entries give: each entry's, a ``first_of``'s after its last member's.

    The names may repeat; a rubric refuses that.
    """
    names = []
    for number, entry in enumerate(entries):
        names.append(entry.name)
        whole = entry.within
        if whole is not None and not any(later.within == whole for later in entries[number + 1 :]):
            names.append(whole.name)
    return names


def order_of(entries: Sequence[Entry]) -> dict[str, set[str]]:
    """Return for each name the names whose verdicts must be known before it: those it needs, and earlier members."""
    before: dict[str, set[str]] = {}
    members: dict[str, list[str]] = {}
    for entry in entries:
        before[entry.name] = set(entry.needs)
        if entry.within is not None:
            earlier = members.setdefault(entry.within.name, [])
            before[entry.name] |= {*earlier, *entry.within.needs}
            earlier.append(entry.name)
    return before | {name: set(members[name]) for name in first_ofs(entries)}


def _weight_at(weight: Weight, step: int) -> float:
    if not isinstance(weight, Mapping):
        return weight
    steps = sorted(weight)
    after = bisect_right(steps, step)
    if after == 0:
        return weight[steps[0]]
    if after == len(steps):
        return weight[steps[-1]]
    start, end = steps[after - 1], steps[after]
    share = (step - start) / (end - start)
    return (1 - share) * weight[start] + share * weight[end]


def _is_zero(weight: Weight) -> bool:
    return not any(weight.values() if isinstance(weight, Mapping) else (weight,))


def _matches(when: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
    return all(
        columns.get(column) in (wanted if isinstance(wanted, list) else [wanted])
        for column, wanted in when.items()
    )
