"""Early calls: a later call has the same verdicts, failures and usage as without, and asks for nothing twice."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guerdon import Rollout, Verdict
from guerdon.errors import FailureBudgetError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, FirstOf, Rubric
from guerdon.rubric.early import EarlyJudge
from guerdon.rubric.node import MemberRubric, hosted
from guerdon.rubric.shared import SharedRubric
from guerdon.scoring.cache import ScoreCache
from guerdon.types import OnFailure

MODULE = """
import os
import time
from pathlib import Path

from guerdon import Score

LOG = Path(__file__).with_name("asked.txt")


def tell(name, what):
    with open(LOG, "a") as file:
        file.write(f"{name} {what}\\n")


def short(completion):
    tell("short", completion)
    if completion == "once" and LOG.read_text().count("short once") == 1:
        return Score(None, "failed", "infrastructure", usage={"requests": 1})
    if "down" in completion:
        raise ConnectionError("down")
    if "crash" in completion:
        os._exit(3)
    return Score(float(len(completion) < 6), usage={"requests": 1})


async def judge(completion, reference):
    tell("judge", completion)
    return Score(float(completion == reference), usage={"tokens": len(completion)})


def longest(completions, met):
    tell("longest", "|".join(completions))
    return [float(len(one) == max(map(len, completions))) for one in completions]


longest.guerdon_kind = "group_reward"


def batch(completions, **kwargs):
    tell("batch", "|".join(completions))
    return [float(len(completions)) for _ in completions]


def after(completion):
    tell("after", completion)
    return 1.0


class Loads:
    def setup(self):
        tell("setup", "")

    def __call__(self, completion):
        tell("loads", completion)
        return 1.0


def sleeps(completion):
    time.sleep(30)
    return 1.0
"""

TEXTS = ["a", "b", "a", "long text", "down", "once", "c", "down", "crash", "dd"]
ROWS: list[dict[str, Any]] = [{"reference": "a"}] * 5 + [{"reference": "c", "hard": True}] * 5
GROUPS = [0] * 5 + [1] * 5

Make = Callable[..., Entry]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "early.py").write_text(MODULE)

    def entry(name: str, /, as_name: str = "", **fields: Any) -> Entry:
        plugin = find_plugin(f"early.py:{name}", SCORERS, tmp_path)
        return Entry(as_name or name, load_component(plugin, {}, tmp_path), **fields)

    return entry


def rollouts() -> list[Rollout]:
    return [Rollout("p", text, row) for text, row in zip(TEXTS, ROWS, strict=True)]


def without_times(judgements: Sequence[Any]) -> list[Any]:
    return [
        {name: (v.score, v.weight, v.on_failure, v.tries) for name, v in one.verdicts.items()}
        for one in judgements
    ]


def asked(folder: Path) -> Counter[str]:
    log = folder / "asked.txt"
    return Counter(log.read_text().splitlines() if log.exists() else [])


def rubrics(make: Make) -> dict[str, list[Entry]]:
    whole = FirstOf(name="whole")
    return {
        "plain": [make("short"), make("judge")],
        "retries": [make("short", retries=2), make("judge", needs=["short"])],
        "zero": [make("short", on_failure=OnFailure.ZERO), make("judge", needs=["short"])],
        "first_of": [make("short", within=whole, weight=0.0), make("judge", within=whole, weight=0.0)],
        "routed": [make("short", when={"hard": True}), make("judge", needs=["short"])],
        "groups": [make("short"), make("longest", needs=["short"])],
        "groups_retried": [make("short", retries=1), make("longest")],
        "reward": [make("short"), make("batch", needs=["short"]), make("after", needs=["batch"])],
        "setup": [make("Loads"), make("after", needs=["Loads"]), make("judge")],
    }


NAMES = ["plain", "retries", "zero", "first_of", "routed", "groups", "groups_retried", "reward", "setup"]


@pytest.mark.parametrize("name", NAMES)
def test_later_call_is_as_without(make: Make, tmp_path: Path, name: str) -> None:
    entries = rubrics(make)[name]
    given: dict[str, Any] = {"groups": GROUPS} if "groups" in name else {}
    with Rubric(entries, workers=1) as rubric:
        expected = rubric.score(rollouts(), **given)
    expected_asked = asked(tmp_path)
    late = {"batch", "after", "loads", "setup"}
    for parts in (
        [[10], [5, 5], [5]] if given else [[10], [5, 5], [3, 3, 4], [7]]
    ):  # an early call has whole groups
        (tmp_path / "asked.txt").unlink()
        with Rubric(entries, workers=1) as rubric:
            start = 0
            for part in parts:
                some = slice(start, start + part)
                own: dict[str, Any] = {"groups": GROUPS[some]} if given else {}
                rubric.score(rollouts()[some], early=True, **own)
                start += part
            early = asked(tmp_path)
            judged = rubric.score(rollouts(), **given)
        assert without_times(judged) == without_times(expected), parts
        later = asked(tmp_path) - early
        assert not [line for line in early if line.split()[0] in late], parts
        assert early, (parts, "something is judged early")
        assert early + later == expected_asked, (parts, "nothing is asked twice")
        if sum(parts) == len(TEXTS) and name in ("plain", "zero", "first_of", "routed", "groups"):
            assert not later, (parts, "all answers are there")


@pytest.mark.parametrize("name", NAMES)
def test_early_answers_of_another_machine_are_as_own_ones(make: Make, tmp_path: Path, name: str) -> None:
    entries = rubrics(make)[name]
    given: dict[str, Any] = {"groups": GROUPS} if "groups" in name else {}

    def early(rubric: Rubric, part: slice) -> None:
        own: dict[str, Any] = {"groups": GROUPS[part]} if given else {}
        rubric.score(rollouts()[part], early=True, **own)

    with Rubric(entries, workers=1) as rubric:
        early(rubric, slice(5))
        early(rubric, slice(5, 10))
        expected = rubric.score(rollouts(), **given)
    expected_asked = asked(tmp_path)
    (tmp_path / "asked.txt").unlink()
    with Rubric(entries, workers=1) as near, Rubric(entries, workers=1) as far:
        early(near, slice(5))
        early(far, slice(5, 10))
        near.add_early(json.loads(json.dumps(far.take_early())))
        assert not any(far.take_early().values())
        judged = near.score(rollouts(), **given)
    assert without_times(judged) == without_times(expected)
    more = asked(tmp_path) - expected_asked
    assert set(more) <= {"short down"}, "only what both halves have is asked twice"


def test_early_answers_of_another_machine_are_cached(make: Make, tmp_path: Path) -> None:
    entries = [make("judge"), make("longest")]
    with Rubric(entries, workers=1) as far:
        far.score(rollouts(), early=True, groups=GROUPS)
        answers = far.take_early()
    known = asked(tmp_path)
    with closing(ScoreCache(tmp_path / "scores.sqlite")) as cache:
        with Rubric(entries, workers=1, cache=cache) as near:
            near.add_early(answers)
        with Rubric(entries, workers=1, cache=cache) as resumed:
            judged = resumed.score(rollouts(), groups=GROUPS)
    assert judged[0].values(["judge", "longest"]) == {"judge": 1.0, "longest": 0.0}
    assert asked(tmp_path) == known


def test_times_are_those_of_the_early_call(make: Make) -> None:
    with Rubric([make("judge")], workers=1) as rubric:
        rubric.score(rollouts(), early=True)
        first = rubric.score(rollouts())
        again = rubric.score(rollouts())

    def times(judgements: Sequence[Any]) -> list[float]:
        verdicts: list[Verdict] = [one.verdicts["judge"] for one in judgements]
        return [verdict.latency_ms for verdict in verdicts]

    assert min(times(first)) > 0
    assert times(again) == [0.0] * len(TEXTS), "the answers are taken once, the cache has no times"


def test_only_the_later_call_counts_failures_and_stops_at_them(make: Make) -> None:
    failing = [Rollout("p", f"down {number}") for number in range(30)]
    with Rubric([make("short")], workers=1, failure_budget=0.5) as rubric:
        for rollout in failing:
            rubric.score([rollout], early=True)
        with pytest.raises(FailureBudgetError, match="failed on 30 of its latest 30"):
            rubric.score(failing)
    with Rubric([make("short", on_failure=OnFailure.ABORT)], workers=1) as rubric:
        rubric.score(failing[:1], early=True)
        with pytest.raises(FailureBudgetError, match="on_failure' is abort"):
            rubric.score(failing[:1])


def test_columns_without_a_canonical_text_are_judged_once_by_the_later_call(
    make: Make, tmp_path: Path
) -> None:
    odd = [Rollout("p", "c", {"reference": "c", "made": {1: "x", "y": 2}})]
    with Rubric([make("judge")], workers=1) as rubric:
        rubric.score(odd, early=True)
        assert not asked(tmp_path)
        assert rubric.score(odd)[0].reward == 1.0
        assert asked(tmp_path).total() == 1


def test_early_call_of_another_process_of_the_launch(make: Make, tmp_path: Path) -> None:
    with (
        SharedRubric(Rubric([make("judge")], workers=1)) as shared,
        hosted(shared) as address,
        MemberRubric([make("judge")], address) as member,
    ):
        member.score(rollouts(), early=True)
        early = asked(tmp_path)
        judged = member.score(rollouts())
    assert set(early) == {f"judge {text}" for text in TEXTS}
    assert asked(tmp_path) == early
    assert [one.reward for one in judged] == [
        float(t == r["reference"]) for t, r in zip(TEXTS, ROWS, strict=True)
    ]


def test_thread_judges_whole_prompts_and_all_that_waits_together() -> None:
    seen: list[list[str]] = []
    first, go = threading.Event(), threading.Event()

    def judge(items: Sequence[str]) -> None:
        seen.append(list(items))
        first.set()
        go.wait(5)

    with EarlyJudge(judge, 2) as judging:
        judging.submit(0, 1, "a1")
        judging.submit(1, 1, "b1")
        judging.submit(0, 0, None)
        first.wait(5)
        for prompt, number, item in ((1, 0, "b0"), (2, 0, "c0"), (3, 0, "d0"), (3, 1, "d1")):
            judging.submit(prompt, number, item)
        go.set()
        while len(seen) < 2:
            time.sleep(0.001)
    assert seen == [["a1"], ["b0", "b1", "d0", "d1"]]


def test_thread_finishes_what_waits_if_it_is_told_to() -> None:
    seen: list[int] = []
    first = threading.Event()

    def judge(items: Sequence[int]) -> None:
        seen.extend(items)
        first.wait(5)

    with EarlyJudge(judge, finish=True) as judging:
        for number in range(20):
            judging.submit(number, 0, number)
        first.set()
    assert seen == list(range(20))


def test_error_is_left_to_the_later_call(caplog: pytest.LogCaptureFixture) -> None:
    def judge(items: Sequence[int]) -> None:
        raise RuntimeError(f"no {items[0]}")

    with EarlyJudge(judge) as judging:
        judging.submit(0, 0, 1)
        for _ in range(1000):
            if caplog.messages:
                break
            time.sleep(0.005)
        judging.submit(1, 0, 2)
    assert caplog.messages == ["completions are judged when all are generated, not as they finish: no 1"]


def test_closing_the_rubric_ends_a_running_early_call(make: Make) -> None:
    began = time.monotonic()

    def stopped() -> None:
        with (
            Rubric([make("sleeps", timeout_s=60.0)], workers=1) as rubric,
            EarlyJudge[Rollout](lambda items: rubric.score(items, early=True)) as judging,
        ):
            judging.submit(0, 0, Rollout("p", "a"))
            time.sleep(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert time.monotonic() - began < 20
