"""What `evaluate` measures of one model's answers, prompt by prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import comb, fsum
from typing import TypeAlias

from guerdon import Judgement
from guerdon.rubric import Rubric
from guerdon.rubric.rule import is_full
from guerdon.types import ToolCall
from guerdon_plugins.shared.intervals import Part

__all__ = ["REWARD", "Answered", "Entries", "Measures", "best_of_k", "majority_value", "measure", "pass_at_k"]

REWARD = "reward"
"""The name of the rubric's reward among the entries that choose or weigh samples."""

Measures: TypeAlias = dict[str, list[Part]]
"""Each measure's part of every prompt, by the measure's name in the table."""

SameAnswer = Callable[[str, str], bool]
"""Whether two answers in a verifier's scores mean the same."""


_NONE: Part = (0.0, 0)


@dataclass(frozen=True, slots=True)
class Answered:
    """One prompt's answers by one model. A prompt that the model refused has no samples and an empty judgement."""

    greedy: Judgement
    samples: Sequence[Judgement]
    tokens: Sequence[int]
    """Each sample's length."""
    corrections: Sequence[int]
    """The number of self-corrections in each sample."""
    calls: Sequence[Sequence[ToolCall] | None] = ()
    """Each sample's calls of tools; ``None`` without tools."""


class Entries:
    """What the measures need to know of a rubric's entries."""

    def __init__(self, rubric: Rubric) -> None:
        self.names = tuple(rubric.names)
        self.same: dict[str, SameAnswer] = {}
        """The ``same_answer`` of each verifier that has one, by name."""
        self.verifiers: set[str] = set()
        """The entries whose full value means a right answer, unlike a reward's."""
        rewards: set[str] = set()
        for entry in rubric.entries:
            names = [entry.name] if entry.within is None else [entry.name, entry.within.name]
            if entry.component.kind != "verifier":
                rewards.update(names)
                continue
            self.verifiers.update(names)
            same = entry.component.member("same_answer", of=entry.component.build())
            for name in names if same is not None else ():
                self.same.setdefault(name, same)  # of a `first_of`, the first member that can compare does
        self.verifiers -= rewards


def measure(
    answers: Sequence[Answered],
    entries: Entries,
    count: int,
    ks: Sequence[int],
    best_by: Sequence[str],
    vote_by: Sequence[str],
) -> Measures:
    """Return all measures of one model, without those that no prompt has.

    Args:
        answers: One for each prompt.
        entries: The rubric's entries.
        count: The number of samples of each prompt.
        ks: The numbers of samples of ``pass@k`` and ``best@k``.
        best_by: The entries that choose the best sample.
        vote_by: The entries that weigh the votes.
    """
    found: Measures = {}
    for name in entries.names:
        found |= {label: [part(one) for one in answers] for label, part in _parts_of(
            name, entries, count, ks, best_by, vote_by
        )}  # fmt: skip
    found["completion_tokens"] = [(sum(one.tokens), len(one.tokens)) for one in answers]
    found["self_corrections"] = [(sum(one.corrections), len(one.corrections)) for one in answers]
    with_tools = [[calls for calls in one.calls if calls is not None] for one in answers]
    found["tool_calls"] = [(sum(map(len, samples)), len(samples)) for samples in with_tools]
    found["failed_tool_calls"] = [
        (sum(call.failure is not None for calls in samples for call in calls), len(samples))
        for samples in with_tools
    ]
    return {label: parts for label, parts in found.items() if any(number for _, number in parts)}


def _parts_of(
    name: str,
    entries: Entries,
    count: int,
    ks: Sequence[int],
    best_by: Sequence[str],
    vote_by: Sequence[str],
) -> Iterator[tuple[str, Callable[[Answered], Part]]]:
    """Yield one entry's measures: the label, and the function that gives a prompt's part."""
    yield f"{name}_greedy", lambda one: _part([value_of(one.greedy, name)])
    yield f"{name}_mean@{count}", lambda one: _part([value_of(sample, name) for sample in one.samples])
    for k in ks if name in entries.verifiers else ():
        yield f"{name}_pass@{k}", partial(_passes, name, k)
    for by in best_by:
        for k in ks if by != name else ():
            yield f"{name}_best@{k}_by_{by}", partial(_best, name, by, k)
    if name in entries.same:
        same = entries.same[name]
        yield f"{name}_maj@{count}", partial(_majority, name, same, None)
        for by in vote_by:
            yield f"{name}_maj@{count}_by_{by}", partial(_majority, name, same, by)


def pass_at_k(n: int, right: int, k: int) -> float:
    """Return the probability that k of n samples, drawn without replacement, contain a right one.

    It is the unbiased estimate of pass@k (Chen et al. 2021, arXiv 2107.03374, equation 1): 1 - C(n - c, k) / C(n, k).

    Args:
        n: The number of samples.
        right: The number of right ones, c.
        k: At most n.
    """
    return 1 - comb(n - right, k) / comb(n, k)


def best_of_k(samples: Sequence[tuple[float, float]], k: int) -> float:
    """Return the expected value of the sample that is chosen from k of n, drawn without replacement.

    The highest choosing value wins, and equal ones win with the same probability. So there is no bias from the order of
    samples, and k may be less than n.

    Args:
        samples: Each sample's choosing value and its value.
        k: At most the number of samples.
    """
    expected = []
    below = 0
    for _, level in groupby(sorted(samples, key=lambda sample: sample[0]), key=lambda sample: sample[0]):
        values = [value for _, value in level]
        upto = below + len(values)
        share = (comb(upto, k) - comb(below, k)) / comb(len(samples), k)
        expected.append(share * fsum(values) / len(values))
        below = upto
    return fsum(expected)


def majority_value(
    group: Sequence[Judgement], name: str, same: SameAnswer, by: str | None = None
) -> float | None:
    """Return the value of a group's most frequent answer, or that of a missing answer if there is none.

    Args:
        group: The judgements of a prompt's samples.
        name: The verifier whose answers vote.
        same: Whether two of its answers mean the same.
        by: The entry whose values weigh the votes. A negative value, and none, weighs 0. Of equal weights, the more
            frequent answer wins.
    """
    given = [
        (answer, value_of(judgement, name), 1.0 if by is None else max(0.0, value_of(judgement, by) or 0.0))
        for judgement in group
        if (answer := _answer(judgement, name)) is not None
    ]
    camps: list[list[tuple[str, float | None, float]]] = []
    for vote in given:
        answer, value, _ = vote
        for camp in camps:
            first, its_value, _ = camp[0]
            # Answers with different values are different, even if a verifier without the reference takes them for the
            # same.
            if value == its_value and (answer == first or same(first, answer)):
                camp.append(vote)
                break
        else:
            camps.append([vote])
    if not camps:
        return value_of(group[0], name) if group else None
    return max(camps, key=lambda camp: (fsum(weight for _, _, weight in camp), len(camp)))[0][1]


def value_of(judgement: Judgement, name: str) -> float | None:
    """Return an entry's value, or the rubric's reward."""
    verdict = judgement.verdicts.get(name)
    if verdict is None:
        return judgement.reward if name == REWARD else None
    return verdict.score.value


def _answer(judgement: Judgement, name: str) -> str | None:
    verdict = judgement.verdicts.get(name)
    return None if verdict is None else verdict.score.answer


def _passes(name: str, k: int, one: Answered) -> Part:
    judged = [sample.verdicts[name] for sample in one.samples if value_of(sample, name) is not None]
    return (pass_at_k(len(judged), sum(map(is_full, judged)), k), 1) if len(judged) >= k else _NONE


def _best(name: str, by: str, k: int, one: Answered) -> Part:
    pairs = [(value_of(sample, by), value_of(sample, name)) for sample in one.samples]
    judged = [(choosing, value) for choosing, value in pairs if choosing is not None and value is not None]
    return (best_of_k(judged, k), 1) if len(judged) >= k else _NONE


def _majority(name: str, same: SameAnswer, by: str | None, one: Answered) -> Part:
    return _part([majority_value(one.samples, name, same, by)])


def _part(values: Sequence[float | None]) -> Part:
    judged = [value for value in values if value is not None]
    return fsum(judged), len(judged)
