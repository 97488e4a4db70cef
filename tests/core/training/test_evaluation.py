"""What an evaluation decides from a trainer's log, and the batches that it makes."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.training.evaluation import Choice, batches_of, evaluations
from guerdon.training.randomness import own_random_state

METRIC = "evaluation/reward"
MATH = "evaluation/rewards/math/mean"
REWARD = Choice(METRIC)

values = st.lists(st.floats(0, 1, width=16), min_size=1, max_size=12)


def log_of(numbers: list[float]) -> list[dict[str, float]]:
    """Return a log with an evaluation every 10 steps, and a step's own metrics between."""
    log = []
    for place, number in enumerate(numbers):
        log += [{"step": place * 10, "reward": 9.0}, {"step": place * 10, METRIC: number}]
    return log


@given(values)
def test_best_step_is_the_first_of_the_highest(numbers: list[float]) -> None:
    assert REWARD.best_step(log_of(numbers)) == 10 * numbers.index(max(numbers))


@given(values, st.integers(1, 5))
def test_training_is_over_when_the_highest_is_old_enough(numbers: list[float], patience: int) -> None:
    since = len(numbers) - 1 - numbers.index(max(numbers))
    assert REWARD.is_over(log_of(numbers), patience) == (since >= patience)


@given(values, st.integers(1, 5))
def test_failed_evaluations_decide_nothing(numbers: list[float], patience: int) -> None:
    failed = [{"step": 1000 + n, "evaluation/rewards/x/failure_rate": 1.0} for n in range(5)]
    log = log_of(numbers)
    assert REWARD.best_step([*log, *failed]) == REWARD.best_step(log)
    assert REWARD.is_over([*log, *failed], patience) == REWARD.is_over(log, patience)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12), st.integers(0, 3))
def test_best_step_is_the_best_of_those_without_a_larger_drop(
    numbers: list[tuple[int, int]], tenths: int
) -> None:
    log = [
        {"step": place, METRIC: reward / 10, MATH: math / 10} for place, (reward, math) in enumerate(numbers)
    ]
    floor = numbers[0][1] - tenths
    qualified = [(reward, -place) for place, (reward, math) in enumerate(numbers) if math >= floor]
    choice = Choice(METRIC, {MATH: tenths / 10})
    assert choice.best_step(log) == -max(qualified)[1]
    assert choice.is_over(log, 1) == (choice.best_step(log) != len(log) - 1)


def test_evaluation_that_lacks_a_limited_entry_does_not_qualify() -> None:
    log = [
        {"step": 0, METRIC: 0.9},
        {"step": 10, METRIC: 0.5, MATH: 0.6},
        {"step": 20, METRIC: 0.8},
        {"step": 30, METRIC: 0.6, MATH: 0.6},
        {"step": 40, METRIC: 0.7, MATH: 0.5},
    ]
    choice = Choice(METRIC, {MATH: 0.05})
    assert [choice.best_step(log[:end]) for end in range(6)] == [None, None, 10, 10, 30, 30]


def test_log_without_evaluations_decides_nothing() -> None:
    assert evaluations([{"step": 1, "reward": 0.5}]) == []
    assert REWARD.best_step([]) is None
    assert not REWARD.is_over([], 1)


@given(st.integers(1, 500), st.integers(1, 200))
def test_batches_cover_all_rows_with_few_repeats(rows: int, most: int) -> None:
    batches, size = batches_of(rows, most)
    assert size <= most
    assert rows <= batches * size < rows + batches


def test_own_random_state_leaves_every_generator_as_it_was() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(1))

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = [drawn(), drawn()]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    first = drawn()
    with own_random_state(torch.device("cpu")):
        torch.manual_seed(9)
        drawn()
    assert [first, drawn()] == expected
