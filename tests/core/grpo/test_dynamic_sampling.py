"""Dynamic sampling: which groups are replaced, in which order, and what a training makes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from guerdon import Judgement, Rollout
from guerdon.errors import DataError
from guerdon.grpo.dynamic_sampling import Filled, Group, PromptOrder, Sampled, Signal, fill, signal_of
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute


@pytest.mark.parametrize(
    ("scored", "columns", "expected"),
    [
        (4, [[0, 0, 0, 1]], Signal.SOME),
        (4, [[1, 1, 1, 1]], Signal.CONSTANT),
        (3, [[1, 1, 1]], Signal.CONSTANT),
        (1, [[1]], Signal.FAILED),
        (0, [[]], Signal.FAILED),
        (0, [], Signal.FAILED),
        # of several objectives, one that differs is enough
        (2, [[1, 1], [0, 1]], Signal.SOME),
        (2, [[1, 1], [0, 0]], Signal.CONSTANT),
        # equal sums hide objectives that differ
        (2, [[0, 1], [1, 0]], Signal.SOME),
        (3, [[math.nan, 1, 1]], Signal.CONSTANT),
        (2, [[math.nan, math.nan]], Signal.CONSTANT),
        # TRL normalizes in float32
        (2, [[1.0, 1.0 + 1e-12]], Signal.CONSTANT),
        (2, [[1.0, 1.0 + 1e-6]], Signal.SOME),
    ],
)
def test_signal_of_columns(scored: int, columns: Sequence[Sequence[float]], expected: Signal) -> None:
    assert signal_of(scored, columns) is expected


@given(rows=st.integers(1, 20), seed=st.integers(0, 5), steps=st.lists(st.integers(1, 5), max_size=12))
def test_prompt_order_resumed_at_a_position_gives_the_same_rows(
    rows: int, seed: int, steps: Sequence[int]
) -> None:
    whole, resumed = PromptOrder(rows, seed), PromptOrder(rows, seed)
    for wanted in steps:
        resumed, position = PromptOrder(rows, seed), resumed.position
        resumed.position = position
        assert whole.take(wanted, ()) == resumed.take(wanted, ())


@given(rows=st.integers(1, 20), tried=st.sets(st.integers(0, 19)), start=st.integers(0, 50))
def test_prompt_order_gives_every_row_that_was_not_tried_once(rows: int, tried: set[int], start: int) -> None:
    order = PromptOrder(rows, 0)
    order.position = start
    assert sorted(order.take(rows + 1, tried)) == sorted(set(range(rows)) - tried)


def group(row: int) -> Group:
    rollout = Rollout("", "", {}, [])
    return [Sampled(row, rollout, Judgement.of({}), ())] * 2


def filled(
    signals: Sequence[Signal], batch: int = 4, max_rounds: int = 3, multiple: int = 1
) -> tuple[Filled, list[list[int]]]:
    """Fill a batch of the first rows, where a row's signal is known; return the rows of each further round."""
    asked: list[list[int]] = []

    def sample(rows: Sequence[int]) -> Sequence[Group]:
        asked.append(list(rows))
        return [group(row) for row in rows]

    result = fill(
        [group(row) for row in range(batch)],
        PromptOrder(len(signals), 0),
        sample,
        lambda one: signals[one[0].index],
        max_rounds=max_rounds,
        multiple=multiple,
    )
    return result, asked


SIGNALS = st.sampled_from(list(Signal))


@given(
    signals=st.lists(SIGNALS, min_size=4, max_size=30),
    max_rounds=st.integers(1, 5),
    multiple=st.sampled_from([1, 2, 4]),
)
def test_fill_replaces_only_constant_groups_by_groups_with_a_signal(
    signals: list[Signal], max_rounds: int, multiple: int
) -> None:
    result, asked = filled(signals, max_rounds=max_rounds, multiple=multiple)
    rows = [one[0].index for one in result.groups]
    assert len(rows) == 4
    for place, row in enumerate(rows):
        if row != place:
            assert signals[place] is Signal.CONSTANT
            assert signals[row] is Signal.SOME
            assert row >= 4
    fresh = [row for round_ in asked for row in round_]
    assert len(set(fresh)) == len(fresh)
    assert not set(fresh) & set(range(4))
    assert len(asked) <= max_rounds
    assert all(len(round_) % multiple == 0 and round_ for round_ in asked)
    left = sum(signals[row] is Signal.CONSTANT for row in rows)
    assert result.constant == left
    if left and len(asked) < max_rounds:  # only where no whole round of fresh rows is left
        assert len(signals) - 4 - len(fresh) < multiple
    metrics = result.metrics
    seen = [*range(4), *fresh]
    assert metrics["sampled"] == len(seen)
    assert metrics["dropped"] == len(fresh)
    assert metrics["rounds"] == 1 + len(asked)
    assert metrics["failed"] == sum(signals[row] is Signal.FAILED for row in seen)
    assert metrics["constant"] == sum(signals[row] is Signal.CONSTANT for row in seen)
    trained = sum(signals[row] is Signal.SOME for row in rows)
    assert metrics["kept_share"] == pytest.approx(trained / len(seen))


def test_fill_without_constant_groups_samples_nothing() -> None:
    result, asked = filled([Signal.SOME, Signal.FAILED, Signal.SOME, Signal.FAILED, Signal.SOME])
    assert asked == []
    assert result.metrics["rounds"] == 1


MODULE = '''
from guerdon import Score


class Rows:
    def __iter__(self):
        return ({"prompt": f"say {i}", "number": i} for i in range(24))


def rare(completion, number):
    """Rewards of two thirds of the prompts are equal."""
    return 1.0 if number % 3 else sum(map(ord, completion)) % 7 / 7


def differs(completion, number):
    return sum(map(ord, completion)) % 97 / 97


def never(completion, number):
    return 1.0


def breaks(completion, number):
    if number % 3 == 0:
        raise RuntimeError("no")
    return 1.0


def one(completion, number):
    return sum(map(ord, completion)) % 2


def other(completion, number):
    return 1 - sum(map(ord, completion)) % 2


def steps(completion, number):
    half = max(1, len(completion) // 2)
    value = 0.5 if number % 3 else sum(map(ord, completion)) % 7 / 7
    return Score(value, spans=[(0, half, value), (half, len(completion), value)] if half < len(completion) else ())
'''

Train = Callable[..., Path]


@pytest.fixture
def train(tiny_model: Callable[..., Path], tmp_path: Path) -> Train:
    (tmp_path / "m.py").write_text(MODULE)
    model = tiny_model()

    def run(name: str, scorers: str, **params: Any) -> Path:
        rewards = [{"use": f"./m.py:{scorer}"} for scorer in scorers.split()]
        options = {
            "max_steps": 3,
            "num_generations": 4,
            "per_device_train_batch_size": 16,
            "max_completion_length": 6,
            "learning_rate": 1e-2,
            "dynamic_sampling": {"max_rounds": 8},
            **params,
        }
        (tmp_path / "m.yaml").write_text(f"""\
name: x
model: {model}
failure_budget: 1
stages:
  - id: rl
    use: grpo
    data: [{{use: './m.py:Rows'}}]
    rewards: {json.dumps(rewards)}
    params: {json.dumps(options)}
""")
        execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / name, [])
        return tmp_path / name

    return run


def rollouts(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "stages/rl/rollouts.jsonl").read_text().splitlines()]


def metrics(run: Path) -> list[dict[str, float]]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    found = [event["metrics"] for event in events if event["event"] == "stage_progress"]
    return [one for one in found if "reward" in one]


@pytest.mark.parametrize("params", [{}, {"fused_loss": False, "beta": 0.1}], ids=["fused", "trl"])
def test_training_sees_only_groups_whose_rewards_differ(train: Train, params: dict[str, Any]) -> None:
    out = train("out", "rare", **params)
    every = rollouts(out)
    assert len(every) == 3 * 16
    for start in range(0, len(every), 4):
        members = every[start : start + 4]
        assert len({one["prompt"] for one in members}) == 1
        assert len({one["reward"] for one in members}) > 1
        assert sum(one["advantage"] for one in members) == pytest.approx(0, abs=1e-4)
    for step in metrics(out):
        assert step["dynamic_sampling/sampled"] == 4 + step["dynamic_sampling/dropped"]
        assert step["dynamic_sampling/rounds"] > 1
        assert step["dynamic_sampling/kept_share"] == pytest.approx(4 / step["dynamic_sampling/sampled"])
        assert step["frac_reward_zero_std"] == 0
        assert step["dynamic_sampling/reward_before"] != step["reward"]


def test_training_without_constant_groups_is_the_same_as_without_dynamic_sampling(train: Train) -> None:
    dynamic, plain = train("dynamic", "differs"), train("plain", "differs", dynamic_sampling=None)
    assert [step["dynamic_sampling/rounds"] for step in metrics(dynamic)] == [1.0] * 3
    ours, theirs = (load_file(run / "stages/rl/output/model.safetensors") for run in (dynamic, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    seen = [
        [(one["prompt"], one["completion"], one["reward"], one["advantage"]) for one in rollouts(run)]
        for run in (dynamic, plain)
    ]
    assert seen[0] == seen[1]


def test_training_where_all_rewards_are_equal_ends_at_the_bound(train: Train) -> None:
    out = train("out", "never", dynamic_sampling={"max_rounds": 2})
    for step in metrics(out):
        assert step["dynamic_sampling/rounds"] == 3
        assert step["dynamic_sampling/sampled"] == 12
        assert step["dynamic_sampling/kept_share"] == 0
        assert step["dynamic_sampling/constant"] == 12
    assert all(one["advantage"] == 0 for one in rollouts(out))


def test_training_leaves_failed_groups_where_they_are(train: Train) -> None:
    out = train("out", "breaks")
    assert any(step["dynamic_sampling/failed"] for step in metrics(out))
    every = rollouts(out)
    plain = rollouts(train("plain", "breaks", dynamic_sampling=None))
    failed, failed_before = (
        [(one["step"], one["prompt"]) for one in rows if one["reward"] is None] for rows in (every, plain)
    )
    assert failed == failed_before


@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_training_with_gdpo_keeps_groups_whose_objectives_differ(train: Train, aggregation: str) -> None:
    out = train("out", "one other", multi_objective_aggregation=aggregation)
    constant = [step["dynamic_sampling/constant"] / step["dynamic_sampling/sampled"] for step in metrics(out)]
    if aggregation == "sum_then_normalize":
        assert constant == [1.0] * 3  # the two always add up to 1
    else:
        assert all(share < 1 for share in constant)
        every = rollouts(out)
        for start in range(0, len(every), 4):
            assert len({one["scores"]["one"]["value"] for one in every[start : start + 4]}) == 2


def test_training_with_process_supervision_keeps_groups_whose_steps_differ(train: Train) -> None:
    out = train("out", "steps", supervision="process")
    every = rollouts(out)
    assert every
    assert all(any(one["advantage"] for one in every[start : start + 4]) for start in range(0, len(every), 4))


def test_training_without_fresh_prompts_is_refused(train: Train) -> None:
    with pytest.raises(DataError, match="dynamic_sampling has no fresh prompts: there are 24"):
        train("out", "rare", per_device_train_batch_size=96)
