"""The curriculum: which rows a batch has, and how the signals of earlier batches change it."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import cpu_config

from guerdon import Row
from guerdon.errors import DataError, StageFailedError
from guerdon.grpo.curriculum import LEAST_SHARE, Curriculum, curriculum_dataset
from guerdon.grpo.dynamic_sampling import Signal

SIGNALS = {"learned": Signal.CONSTANT, "learning": Signal.SOME, "failing": Signal.FAILED}


def rows_of(**counts: int) -> list[Row]:
    return [
        {"prompt": f"{bucket} {number}", "level": bucket}
        for bucket, count in counts.items()
        for number in range(count)
    ]


def learn(curriculum: Curriculum, number: int) -> dict[str, float]:
    """Tell the curriculum what is learned, as the name of each bucket says."""
    return curriculum.learn(number, [SIGNALS[row["level"]] for row in curriculum.batch(number)])


def drawn(curriculum: Curriculum, numbers: Sequence[int]) -> Counter[str]:
    return Counter(row["level"] for number in numbers for row in curriculum.batch(number))


def test_at_first_rows_are_drawn_in_the_proportions_of_the_data() -> None:
    curriculum = Curriculum(rows_of(learned=3000, learning=1000), "level", 2000, seed=0)
    assert drawn(curriculum, [0])["learned"] == pytest.approx(1500, rel=0.05)


def test_a_bucket_whose_rewards_do_not_differ_is_drawn_less_but_still_drawn() -> None:
    curriculum = Curriculum(rows_of(learned=500, learning=500), "level", 16, seed=0)
    for number in range(40):
        learn(curriculum, number)
    shares = drawn(curriculum, range(10, 40))
    assert shares["learned"] / shares.total() == pytest.approx(LEAST_SHARE / (1 + LEAST_SHARE), abs=0.03)
    assert shares["learned"] > 0


def test_a_bucket_is_drawn_again_when_its_rewards_differ_again() -> None:
    curriculum = Curriculum(rows_of(learned=500, learning=500), "level", 16, seed=0)
    for number in range(20):
        learn(curriculum, number)
    for number in range(20, 100):
        curriculum.learn(number, [Signal.SOME] * 16)
    assert drawn(curriculum, range(80, 100))["learned"] / 320 == pytest.approx(0.5, abs=0.1)


def test_a_failed_group_says_nothing_about_its_bucket() -> None:
    curriculum = Curriculum(rows_of(failing=500, learning=500), "level", 16, seed=0)
    for number in range(40):
        learn(curriculum, number)
    assert drawn(curriculum, range(40))["failing"] / 640 == pytest.approx(0.5, abs=0.06)


def test_the_metrics_of_a_batch() -> None:
    curriculum = Curriculum(rows_of(learned=1, learning=2, failing=1), "level", 4, seed=0)
    assert learn(curriculum, 0) == {
        "curriculum/learned/drawn": 0.25,
        "curriculum/learning/drawn": 0.5,
        "curriculum/failing/drawn": 0.25,
        "curriculum/learned/signal": 0.0,
        "curriculum/learning/signal": 1.0,
    }


@given(
    counts=st.tuples(*[st.integers(0, 12)] * 3).filter(lambda counts: sum(counts) >= 4),
    seed=st.integers(0, 3),
    lag=st.integers(1, 3),
    stop=st.integers(0, 9),
)
def test_the_rows_of_a_batch_differ_and_a_resumed_curriculum_draws_the_same(
    counts: tuple[int, int, int], seed: int, lag: int, stop: int
) -> None:
    rows = rows_of(**dict(zip(SIGNALS, counts, strict=True)))

    def fresh() -> Curriculum:
        return Curriculum(rows, "level", 4, seed, lag)

    def train(curriculum: Curriculum, numbers: range) -> list[list[str]]:
        batches = []
        for number in numbers:
            curriculum.batch(number + lag - 1)  # a data loader reads ahead
            batches.append([row["prompt"] for row in curriculum.batch(number)])
            learn(curriculum, number)
        return batches

    expected = train(fresh(), range(10))
    assert all(len(set(batch)) == 4 for batch in expected)
    stopped, resumed = fresh(), fresh()
    train(stopped, range(stop))
    resumed.history = pickle.loads(pickle.dumps(stopped.history))
    assert train(resumed, range(stop, 10)) == expected[stop:]


def test_a_batch_that_is_asked_for_too_early_is_an_error() -> None:
    curriculum = Curriculum(rows_of(learning=20), "level", 4, seed=0, lag=2)
    curriculum.batch(1)
    with pytest.raises(StageFailedError, match="asked for batch 2 before batch 0 was judged"):
        curriculum.batch(2)


def test_too_few_rows_for_a_batch_are_an_error() -> None:
    with pytest.raises(DataError, match="there are 3 prompts, and one batch takes 4"):
        Curriculum(rows_of(learning=3), "level", 4, seed=0)


@pytest.mark.parametrize(
    ("options", "batches", "ahead"),
    [
        ({}, 5, 1),
        ({"gradient_accumulation_steps": 2}, 5, 1),
        # one update trains on two batches of generations, which are read before the first is judged
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 2}, 10, 2),
        ({"gradient_accumulation_steps": 3, "steps_per_generation": 2}, 8, 1),
        # the first of the updates that train on a batch has judged it when the last one reads the next batch
        ({"num_iterations": 2}, 3, 0),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4}, 3, 0),
    ],
)
def test_a_dataset_has_the_prompts_of_all_steps(
    tmp_path: Path, options: dict[str, Any], batches: int, ahead: int
) -> None:
    sizes = {"per_device_train_batch_size": 4, "num_generations": 2, "max_steps": 5, **options}
    config = cpu_config(tmp_path, **sizes)
    dataset, curriculum = curriculum_dataset(rows_of(learning=50), "level", config)
    assert len(dataset) == batches * curriculum.size
    assert config.shuffle_dataset is False
    assert dataset[ahead * curriculum.size]["prompt"].startswith("learning")
    with pytest.raises(StageFailedError):
        dataset[(ahead + 1) * curriculum.size]
