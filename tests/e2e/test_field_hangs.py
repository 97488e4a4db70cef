"""The input that hangs TRL's accuracy_reward, with TRL's own function as the plugin and with the built-in verifier."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from guerdon import Failure, Judgement, Rollout
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric

# Math-Verify, issue 65.
HANG = r"\boxed{\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}}"


def in_main_thread(score: Callable[[], list[Judgement]]) -> list[Judgement]:
    return score()


def in_worker_thread(score: Callable[[], list[Judgement]]) -> list[Judgement]:
    results: list[list[Judgement]] = []
    thread = threading.Thread(target=lambda: results.append(score()))
    thread.start()
    thread.join()
    return results[0]


def entry(use: str, timeout_s: float) -> Entry:
    return Entry("accuracy", load_component(find_plugin(use, SCORERS), {}, None), timeout_s=timeout_s)


@pytest.mark.slow
def test_trls_own_reward_is_stopped_and_the_run_goes_on() -> None:
    def rollouts(answer: str) -> list[Rollout]:
        completion = [{"role": "assistant", "content": answer}]
        return [Rollout([{"role": "user", "content": "?"}], completion, {"solution": "$4$"})]

    with Rubric([entry("trl.rewards:accuracy_reward", 8.0)]) as rubric:
        assert rubric.score(rollouts(r"\boxed{4}"))[0].reward == 1.0  # the import is paid for here
        for run in (in_main_thread, in_worker_thread):
            started = time.monotonic()
            (hung,) = run(lambda: rubric.score(rollouts(HANG)))
            assert time.monotonic() - started < 18.0
            score = hung.verdicts["accuracy"].score
            assert (hung.reward, score.failure) == (None, Failure.TIMEOUT)


@pytest.mark.parametrize("run", [in_main_thread, in_worker_thread])
def test_the_built_in_verifier_answers_in_time(
    run: Callable[[Callable[[], list[Judgement]]], list[Judgement]],
) -> None:
    rollouts = [
        Rollout("?", text, {"reference": "4"}) for text in (HANG, r"\boxed{8" + "!" * 200 + "}", r"\boxed{4}")
    ]
    with Rubric([entry("math", 5.0)]) as rubric:
        rubric.score([Rollout("?", r"\boxed{1}", {"reference": "4"})])  # starts the worker
        started = time.monotonic()
        judgements = run(lambda: rubric.score(rollouts))
        assert time.monotonic() - started < 5.0
    assert [judgement.reward for judgement in judgements] == [0.0, 0.0, 1.0]
