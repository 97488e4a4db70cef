"""``rollout_func``: what a user's function returns, and what becomes of it in a training step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import ParamsError, PluginContractError
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute
from guerdon.sampling.rollout_function import COLUMNS, RolloutFunction

MODULE = '''
import helper

class Rows:
    def __iter__(self): return ({"prompt": f"say {i}", "reference": "4"} for i in range(16))

def sampled(prompts, trainer):
    """Each rollout has two tokens of the model and one from outside."""
    tokenizer = trainer.processing_class
    completions = [tokenizer(helper.answer(i))["input_ids"][:2] + [7] for i in range(len(prompts))]
    return {
        "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
        "completion_ids": completions,
        "logprobs": None,
        "env_mask": [[1, 1, 0]] * len(prompts),
        "place": list(range(len(prompts))),
    }

def even(completion, place=None): return float(place % 2 == 0)

def returns(**fields):
    return lambda prompts, trainer: fields

nothing = returns()
few = returns(prompt_ids=[[1]], completion_ids=[[1]], logprobs=None)
column = returns(prompt_ids=[[1]] * 2, completion_ids=[[1]] * 2, logprobs=None, place=[1])
empty = returns(prompt_ids=[[1]] * 2, completion_ids=[[1], []], logprobs=None)
mask = returns(prompt_ids=[[1]] * 2, completion_ids=[[1], [2, 3]], logprobs=None, env_mask=[[1], [1]])
listed = lambda prompts, trainer: []
def broken(prompts, trainer): raise KeyError("a")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "helper.py").write_text("def answer(i): return f'{i} and more words'")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "has no prompt_ids and no completion_ids and no logprobs"),
        ("few", "there are 2 prompts, and 'prompt_ids' has not one value for each: 1"),
        ("column", "'place' has not one value for each: 1"),
        ("empty", "completion 1 has no token"),
        ("mask", "completion 1 has 2 tokens, and its env_mask has 1 values"),
        ("listed", "it returned a list"),
        ("broken", "raised KeyError: 'a'"),
    ],
)
def test_rollout_function_that_returns_something_else_is_named(folder: Path, name: str, message: str) -> None:
    function = RolloutFunction(f"./m.py:{name}", folder)
    with pytest.raises(PluginContractError, match=f"rollout_func './m.py:{name}'") as raised:
        function(["a", "b"], None)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("./m.py", "names no function"),
        ("./none.py:sampled", "cannot be loaded"),
        ("nowhere.at_all:sampled", "cannot be loaded"),
        ("./m.py:sampledd", "defines no function 'sampledd'. Did you mean 'sampled'?"),
    ],
)
def test_rollout_function_that_does_not_exist_is_one_error(folder: Path, target: str, message: str) -> None:
    with pytest.raises(ParamsError) as raised:
        RolloutFunction(target, folder)
    assert message in str(raised.value)


def test_rollout_function_other_fields_become_columns(folder: Path) -> None:
    made = RolloutFunction("m:returns", folder)
    assert made._function is not None  # a module beside the file
    (folder / "n.py").write_text(
        "def f(prompts, trainer):\\n    return {'prompt_ids': [[1]], 'completion_ids': [[2]], 'logprobs': [[0.0]],"
        " 'state': ['x'], 'env_mask': [[1]]}".replace("\\n", "\n")
    )
    assert RolloutFunction("./n.py:f", folder)(["a"], None) == {
        "prompt_ids": [[1]],
        "completion_ids": [[2]],
        "logprobs": [[0.0]],
        "env_mask": [[1]],
        COLUMNS: [{"state": "x"}],
    }


def manifest(folder: Path, model: Path, params: str) -> Path:
    (folder / "m.yaml").write_text(f"""\
name: x
model: {model}
stages:
  - id: rl
    use: grpo
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:even'}}]
    params: {{max_steps: 2, num_generations: 4, per_device_train_batch_size: 8, max_completion_length: 6, {params}}}
""")
    return folder / "m.yaml"


def test_rollout_function_trains_on_its_tokens_and_columns(
    tiny_model: Callable[..., Path], folder: Path
) -> None:
    file = manifest(folder, tiny_model(), "rollout_func: './m.py:sampled'")
    execute(plan_run(load_manifest(file)), folder / "out", [])
    rollouts = [json.loads(line) for line in (folder / "out/stages/rl/rollouts.jsonl").open()]
    assert len(rollouts) == 16
    for number, rollout in enumerate(rollouts):
        place = number % 8
        assert rollout["reward"] == float(place % 2 == 0)
        assert (rollout["advantage"] > 0) == (place % 2 == 0)


def test_rollout_function_that_replaces_a_column_leaves_the_buckets_of_a_curriculum(
    tiny_model: Callable[..., Path], folder: Path
) -> None:
    (folder / "m.py").write_text(MODULE.replace("place", "reference"))
    file = manifest(folder, tiny_model(), "rollout_func: './m.py:sampled', curriculum_by: reference")
    execute(plan_run(load_manifest(file)), folder / "out", [])
    events = [json.loads(line) for line in (folder / "out/events.jsonl").open()]
    metrics = [event["metrics"] for event in events if event["event"] == "stage_progress"]
    assert metrics[-1]["curriculum/4/drawn"] == 1


def test_rollout_function_beside_dynamic_sampling_is_refused(
    tiny_model: Callable[..., Path], folder: Path, call: Any
) -> None:
    manifest(folder, tiny_model(), "rollout_func: './m.py:sampled', dynamic_sampling: {max_rounds: 2}")
    ended = call("check", "m.yaml")
    assert ended.status == 1
    assert "rollout_func is set, and the stage has dynamic_sampling" in ended.err


def test_rollout_function_is_checked_before_a_run(
    tiny_model: Callable[..., Path], folder: Path, call: Any
) -> None:
    manifest(folder, tiny_model(), "rollout_func: './m.py:samples'")
    ended = call("check", "m.yaml")
    assert ended.status == 1
    assert "defines no function 'samples'. Did you mean 'sampled'?" in ended.err
