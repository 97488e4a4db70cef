"""The rule of ``needs`` and ``first_of``: the tables of the documentation, and every mix of outcomes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure, Rollout
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, FirstOf, OnFailure, Rubric
from guerdon.rubric.rule import decided, is_full, unmet
from guerdon.scoring.entries import Asked
from guerdon.types import Judgement, Outcome, Score, Verdict

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "scores.md"

STATES: Mapping[str, Score] = {
    "1 or more": Score(1.0),
    "less than 1": Score(0.25),
    "skipped": Score.skipped(),
    "failed": Score.failed("timeout", "late"),
}


def said(score: Score | None) -> str:
    if score is None:
        return "asked"
    return f"scored {score.value:g}" if score.value is not None else score.outcome.value


def needs_table() -> Iterator[str]:
    for first, second in itertools.combinations_with_replacement(STATES, 2):
        verdicts = {"a": Verdict(STATES[first], 1.0, 0.0), "b": Verdict(STATES[second], 1.0, 0.0)}
        score = unmet(["a", "b"], verdicts)
        yield f"| {first} | {second} | {said(score)} |"


def first_of_table() -> Iterator[str]:
    for first, second in itertools.product(STATES, STATES):
        asked = {"a": Verdict(STATES[first], 0.0, 0.0)}
        if not is_full(asked["a"]):
            asked["b"] = Verdict(STATES[second], 0.0, 0.0)
        elif second != "1 or more":
            continue
        score = decided(asked)
        by = {"a": "the first's", "b": "the second's"}.get(str(score.metadata.get("decided_by")), "none")
        shown = second if len(asked) == 2 else "not asked"
        yield f"| {first} | {shown} | {score.outcome} | {by} |"


@pytest.mark.parametrize("line", [*needs_table(), *first_of_table()])
def test_truth_table_of_the_page_has_every_line(line: str) -> None:
    assert line in PAGE.read_text(encoding="utf-8").splitlines()


def test_unmet_of_a_failure_that_counts_zero_is_zero() -> None:
    verdict = Verdict(STATES["failed"], 1.0, 0.0, OnFailure.ZERO)
    assert unmet(["a"], {"a": verdict}) == Score(
        0.0, explanation="not asked: it needs 'a', which failed and counts as 0"
    )


def test_unmet_of_an_entry_routed_elsewhere_is_skipped() -> None:
    score = unmet(["a"], {})
    assert score is not None
    assert score.outcome is Outcome.SKIPPED


@dataclass
class Known:
    """A scorer whose scores are known, and the positions that it was asked for."""

    scores: Sequence[Score]
    asked: list[int] = field(default_factory=list)

    def require(self, rollout: Rollout) -> None: ...

    def prepare(self, asked: Asked) -> Known:
        self.asked += asked.positions
        self._positions = asked.positions
        return self

    def again(self, asked: Asked, failed: Collection[int]) -> Asked:
        return asked.only(lambda index: asked.positions[index] in failed)

    jobs: Sequence[Any] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    def collect(self) -> dict[int, tuple[Score, float]]:
        return {position: (self.scores[position], 1.0) for position in self._positions}


COMPONENT = load_component(find_plugin("readable", SCORERS), {}, None)
"""Never called: each entry's scorer is a ``Known``."""

SCORES = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0, 1.5, -1.0]).map(Score),
    st.just(Score.skipped("not mine")),
    st.sampled_from(Failure).map(lambda failure: Score.failed(failure, "broke")),
)
WEIGHTS = st.sampled_from([0.0, 1.0, -0.5, 2.0])
REACTIONS = st.sampled_from([OnFailure.SKIP, OnFailure.ZERO])


@st.composite
def rubrics(draw: st.DrawFn) -> tuple[list[Entry], dict[str, Score]]:
    """Return entries in any order, a ``first_of`` among them, and what each scorer says."""
    names = ["e0", "e1", "e2", "whole"]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else []
        for i, name in enumerate(names)
    }
    within = FirstOf(
        name="whole", weight=draw(WEIGHTS), on_failure=draw(REACTIONS), needs=tuple(needs["whole"])
    )
    entries = [
        Entry(name, COMPONENT, draw(WEIGHTS), on_failure=draw(REACTIONS), needs=tuple(needs[name]))
        for name in names[:3]
    ]
    entries.append(Entry("last", COMPONENT, draw(WEIGHTS), needs=("whole",)))
    members = [
        Entry(f"m{i}", COMPONENT, 0.0, on_failure=draw(REACTIONS), within=within)
        for i in range(draw(st.integers(2, 3)))
    ]
    order = draw(st.permutations(entries))
    place = draw(st.integers(0, len(order)))
    every = [*order[:place], *members, *order[place:]]
    return every, {entry.name: draw(SCORES) for entry in every}


class Oracle:
    """The rule once more, by recursion over one rollout, in the words of the page."""

    def __init__(self, entries: Sequence[Entry], scores: Mapping[str, Score]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._members = [entry for entry in entries if entry.within is not None]
        self._scores = scores
        self.asked: set[str] = set()

    def state(self, name: str) -> float | str:
        """Return a name's value, ``skipped`` or ``failed``, before its own ``on_failure``."""
        part: Any = self._members[0].within if name == "whole" else self._entries[name]
        states = [self._for_needs(need) for need in part.needs]
        if any(isinstance(state, float) and state < 1 for state in states):
            return 0.0
        if "skipped" in states:
            return "skipped"
        if "failed" in states:
            return "failed"
        return self._whole() if name == "whole" else self._own(name)

    def _for_needs(self, name: str) -> float | str:
        part: Any = self._members[0].within if name == "whole" else self._entries[name]
        state = self.state(name)
        return 0.0 if state == "failed" and part.on_failure is OnFailure.ZERO else state

    def _whole(self) -> float | str:
        opinion: float | str = "skipped"
        for member in self._members:
            state = self._for_needs(member.name)
            if state != "skipped":
                opinion = state
            if isinstance(state, float) and state >= 1:
                break
        return opinion

    def _own(self, name: str) -> float | str:
        self.asked.add(name)
        score = self._scores[name]
        return score.outcome.value if score.value is None else score.value

    def reward(self) -> float | None:
        counted = []
        alone = [entry.name for entry in self._entries.values() if entry.within is None]
        for name in (*alone, "whole"):
            part: Any = self._members[0].within if name == "whole" else self._entries[name]
            state = self.state(name)
            if part.weight == 0 or state == "skipped":
                continue
            if state == "failed":
                if part.on_failure is OnFailure.SKIP:
                    return None
                state = 0.0
            counted.append(part.weight * state)
        return math.fsum(counted) if counted else None


def judged(entries: Sequence[Entry], scores: Mapping[str, Score]) -> tuple[Judgement, set[str]]:
    with Rubric(entries, workers=1) as rubric:
        known = {name: Known([score]) for name, score in scores.items()}
        rubric._scorers = known  # type: ignore[assignment]
        (judgement,) = rubric.score([Rollout("p", "c")])
    return judgement, {name for name, scorer in known.items() if scorer.asked}


@given(rubrics())
def test_reward_of_any_mix_is_that_of_the_rule(case: tuple[list[Entry], dict[str, Score]]) -> None:
    entries, scores = case
    judgement, asked = judged(entries, scores)
    oracle = Oracle(entries, scores)
    assert judgement.reward == oracle.reward()
    for name, verdict in judgement.verdicts.items():
        score = verdict.score
        if not name.startswith("m"):
            assert (score.outcome.value if score.value is None else score.value) == oracle.state(name)
    for name in ("whole", *(entry.name for entry in entries if entry.within is None)):
        oracle.state(name)
    assert asked == oracle.asked


@given(rubrics())
def test_judgement_of_any_mix_survives_json(case: tuple[list[Entry], dict[str, Score]]) -> None:
    judgement, _ = judged(*case)
    again = Judgement.from_dict(judgement.to_dict())
    assert again.to_dict() == judgement.to_dict()
    assert Judgement.of(again.verdicts).reward == judgement.reward


@given(rubrics())
def test_failure_never_pays_or_costs(case: tuple[list[Entry], dict[str, Score]]) -> None:
    """An entry that failed without ``zero`` leaves no reward, or is a metric, or another opinion replaced it."""
    entries, scores = case
    judgement, _ = judged(entries, scores)
    for name, verdict in judgement.verdicts.items():
        if (
            verdict.score.outcome is Outcome.FAILED
            and verdict.weight
            and verdict.on_failure is OnFailure.SKIP
        ):
            assert judgement.reward is None, name
