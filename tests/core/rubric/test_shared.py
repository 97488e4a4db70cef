"""Many callers of one rubric: nobody gets another's verdict, and one caller's mistake is not another's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import DataError, UsageError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.rubric.shared import SharedRubric
from guerdon.types import Rollout

MODULE = """
import time
def equals(completion, reference): return float(completion == reference)
def slow(completion): time.sleep(0.3); return 1.0
def batch_size(completions, **columns): return [float(len(completions))] * len(completions)
"""


def shared(folder: Path, name: str) -> SharedRubric:
    (folder / "m.py").write_text(MODULE)
    component = load_component(find_plugin(f"./m.py:{name}", SCORERS, folder), {}, folder)
    return SharedRubric(Rubric([Entry(name, component)], workers=1))


def test_each_caller_gets_its_own_verdicts(tmp_path: Path) -> None:
    def call(number: int) -> None:
        size = number % 5 + 1
        rollouts = [
            Rollout("p", f"{number}.{i}", {"reference": f"{number}.{i}" if i % 2 else "no"})
            for i in range(size)
        ]
        judgements = rubric.score(rollouts)
        assert [j.reward for j in judgements] == [float(i % 2) for i in range(size)]

    with shared(tmp_path, "equals") as rubric, ThreadPoolExecutor(16) as threads:
        list(threads.map(call, range(300)))
        assert rubric.pending == 0


def test_calls_that_wait_become_one_batch(tmp_path: Path) -> None:
    with shared(tmp_path, "slow") as rubric:
        rubric.score([Rollout("p", "first")])
        busy = rubric.submit([Rollout("p", "second")])
        waiting = [rubric.submit([Rollout("p", "the same")]) for _ in range(50)]
        assert rubric.pending == 51
        assert busy.result()[0].reward == 1.0
        assert {future.result(timeout=2)[0].reward for future in waiting} == {1.0}


def test_a_reward_function_sees_one_caller_at_a_time(tmp_path: Path) -> None:
    with shared(tmp_path, "batch_size") as rubric:
        calls = [rubric.submit([Rollout("p", "c")] * size) for size in (1, 2, 3, 4)]
        assert [[j.reward for j in call.result()] for call in calls] == [[s] * s for s in (1, 2, 3, 4)]


def test_a_callers_mistake_is_its_own(tmp_path: Path) -> None:
    with shared(tmp_path, "equals") as rubric:
        good = [rubric.submit([Rollout("p", "1", {"reference": "1"})]) for _ in range(5)]
        bad = rubric.submit([Rollout("p", "1")])
        good += [rubric.submit([Rollout("p", "1", {"reference": "1"})]) for _ in range(5)]
        with pytest.raises(DataError, match="needs the column 'reference'"):
            bad.result()
        assert [call.result()[0].reward for call in good] == [1.0] * 10


def test_closing_judges_what_was_handed_in(tmp_path: Path) -> None:
    others = set(threading.enumerate())
    rubric = shared(tmp_path, "slow")
    calls = [rubric.submit([Rollout("p", str(number))]) for number in range(3)]
    rubric.close()
    assert [call.result(timeout=0)[0].reward for call in calls] == [1.0] * 3
    with pytest.raises(ValueError, match="closed"):
        rubric.submit([Rollout("p", "late")])
    assert not set(threading.enumerate()) - others


def test_a_cancelled_call_is_not_judged(tmp_path: Path) -> None:
    with shared(tmp_path, "slow") as rubric:
        first = rubric.submit([Rollout("p", "first")])
        cancelled = rubric.submit([Rollout("p", "second")])
        assert cancelled.cancel()
        assert first.result()[0].reward == 1.0
        assert rubric.score([Rollout("p", "third")])[0].reward == 1.0


@pytest.mark.parametrize(
    "rows", [Rollout("p", "x"), [{"completion": "x"}], [("p", "x")], "x", {"a": 1}, None]
)
def test_what_is_not_a_list_of_rollouts_raises_and_later_calls_are_judged(tmp_path: Path, rows: Any) -> None:
    with shared(tmp_path, "equals") as rubric:
        with pytest.raises(
            UsageError, match=r"score takes a list of rollouts, and .* Give a list of guerdon"
        ):
            rubric.score(rows)
        judged = rubric.submit([Rollout("p", "x", {"reference": "x"})]).result(timeout=30)
        assert judged[0].reward == 1.0


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), GeneratorExit(), TypeError("odd")])
def test_any_exception_reaches_its_caller_and_the_thread_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    with shared(tmp_path, "equals") as rubric:
        with monkeypatch.context() as patched:
            patched.setattr(Rubric, "score", fail)
            assert rubric.submit([Rollout("p", "x")]).exception(timeout=30) is error
        assert rubric.submit([Rollout("p", "x", {"reference": "x"})]).result(timeout=30)[0].reward == 1.0
