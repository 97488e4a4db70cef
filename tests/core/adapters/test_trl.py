"""The adapter to TRL, by TRL's calling convention and in its real GRPOTrainer."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guerdon.adapters.trl import reward_function
from guerdon.errors import FailureBudgetError, UsageError


def test_trls_calling_convention(folder: Path) -> None:
    metrics: defaultdict[str, list[float]] = defaultdict(list)
    extra: dict[str, list[Any]] = {}
    with reward_function("m.yaml", stage="zero", columns={"reference": "solution"}, workers=1) as reward:
        assert reward.__name__ == "zero"
        rewards = reward(
            prompts=["p"] * 4,
            completions=[[{"role": "assistant", "content": text}] for text in ("A", "b", "skip", "bug")],
            completion_ids=[[1]] * 4,
            solution=["A", "c", "skip", "bug"],
            trainer_state=SimpleNamespace(global_step=10),
            log_metric=lambda name, value: metrics[name].append(value),
            log_extra=lambda column, values: extra.update({column: values}),
        )
    assert rewards == [3.2, 0.2, 3.0, None]
    assert extra == {
        "equals": [1.0, 0.0, 1.0, 1.0],
        "choosy": [0.1, 0.1, None, None],
        "shout": [0.5, 0, 0, 0],
    }
    assert metrics["guerdon/equals/mean"] == [0.75]
    assert metrics["guerdon/choosy/failure_rate"] == [0.25]


def test_it_pickles(folder: Path) -> None:
    reward = pickle.loads(pickle.dumps(reward_function("./v.py:equals", workers=1)))
    assert reward.__name__ == "equals"
    assert reward(prompts=["p", "p"], completions=["1", "2"], reference=["1", "1"]) == [1.0, 0.0]
    reward.close()


def test_a_trl_reward_function_goes_through_unchanged(folder: Path) -> None:
    with reward_function("./v.py:brevity", workers=1) as reward:
        assert reward(prompts=["p", "p"], completions=["12345", "1"], completion_ids=[[1], [2]]) == [
            -0.5,
            -0.1,
        ]


def test_a_column_that_is_not_there(folder: Path) -> None:
    with (
        reward_function("./v.py:equals", columns={"reference": "gold"}) as reward,
        pytest.raises(UsageError, match="there is no column 'gold', only answer"),
    ):
        reward(prompts=["p"], completions=["1"], answer=["1"])


def tiny_model(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(["<end>", *letters])}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def train(folder: Path, reward: Any) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=str(tiny_model(folder / "model")),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(folder / "out"),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=6,
            max_steps=2,
            logging_steps=1,
            learning_rate=1e-2,
            use_cpu=True,
            bf16=False,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["a", "b", "c", "d"], "answer": ["x", "y", "z", "w"]}),
    )
    assert trainer.model is not None
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    moved = any((new != old).any() for new, old in zip(trainer.model.parameters(), before, strict=True))
    return trainer, moved


def test_a_real_grpo_trainer_learns_from_a_manifests_rubric(folder: Path) -> None:
    (folder / "rewards.py").write_text(
        "def length(completion): return len(completion.encode()) / 10\n"
        "def even(completion, reference):\n"
        "    if len(completion) % 5 == 0: raise ConnectionRefusedError('a dead judge')\n"
        "    return float(len(completion) % 2 == 0)\n"
    )
    (folder / "zero.yaml").write_text(
        "name: x\nfailure_budget: 1.0\nstages:\n- id: zero\n  use: grpo\n  rewards:\n"
        "  - {use: './rewards.py:length', weight: 0.5}\n  - {use: './rewards.py:even'}\n"
    )
    with reward_function("zero.yaml", columns={"reference": "answer"}, workers=1) as reward:
        trainer, moved = train(folder, reward)
    logs = [entry for entry in trainer.state.log_history if "rewards/zero/mean" in entry]
    assert moved
    assert [entry["step"] for entry in logs] == [1, 2]
    for entry in logs:
        assert 0 <= entry["guerdon/length/mean"] <= 2
        assert 0 <= entry["guerdon/even/failure_rate"] < 1
        assert entry["rewards/zero/mean"] == pytest.approx(entry["rewards/zero/mean"])  # not NaN
    table = trainer._logs
    for reward_value, length, even in zip(
        table["rewards"]["zero"], table["extra"]["length"], table["extra"]["even"], strict=True
    ):
        if even is None:  # failed: no reward at all, and not what is left of the sum
            assert reward_value != reward_value
        else:
            assert reward_value == pytest.approx(0.5 * length + even)


def test_a_real_grpo_trainer_stops_when_judging_is_down(folder: Path) -> None:
    (folder / "down.py").write_text("def down(completion): raise ConnectionRefusedError('a dead judge')\n")
    with (
        reward_function("./down.py:down", workers=1) as reward,
        pytest.raises(FailureBudgetError, match="a dead judge"),
    ):
        train(folder, reward)


def test_reward_function_of_a_conversation_judges_the_models_own_words(folder: Path) -> None:
    own, tool = {"role": "assistant", "content": "B"}, {"role": "tool", "content": "A"}
    with reward_function("./v.py:equals", columns={"reference": "reward_model.gold"}, workers=1) as reward:
        rewards = reward(
            prompts=["p"] * 3,
            completions=[[own, tool], [tool, own], [{**own, "content": "A"}, tool]],
            reward_model=[{"gold": "A"}] * 3,
        )
    assert rewards == [0.0, 0.0, 1.0]


def test_reward_function_of_turns_with_tools_knows_the_calls_and_the_environments_states(
    folder: Path,
) -> None:
    (folder / "t.py").write_text(
        "def score(completion, tool_calls, environment, environment_reward):\n"
        "    assert environment_reward is None  # TRL adds it itself\n"
        "    return environment['count'] + 10 * sum(call['name'] == 'add' for call in tool_calls)\n"
    )

    class Counter:
        def __init__(self, count: int) -> None:
            self.count, self._secret, self.lock = count, 5, object()

    class Shown(Counter):
        async def state(self) -> dict[str, int]:
            return {"count": self.count + self._secret}

    call = {"type": "function", "function": {"name": "add", "arguments": {"n": 1}}}
    called: list[dict[str, Any]] = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1"},
    ]
    with reward_function("./t.py:score", workers=1) as reward:
        rewards = reward(
            prompts=["p"] * 2,
            completions=[called, [{"role": "assistant", "content": "A"}]],
            environments=[Counter(1), Shown(2)],
        )
    assert rewards == [11.0, 7.0]


def test_reward_function_of_a_reward_passes_on_its_metrics(folder: Path) -> None:
    (folder / "w.py").write_text(
        "def noted(completions, log_metric, **kwargs):\n"
        "    log_metric('seen', len(completions))\n"
        "    return [1.0] * len(completions)\n"
    )
    metrics: dict[str, float] = {}
    with reward_function("./w.py:noted", workers=1) as reward:
        reward(prompts=["p", "p"], completions=["a", "b"], log_metric=metrics.__setitem__)
    assert metrics["seen"] == 2.0


def test_reward_function_by_a_recipes_name_is_its_rubric() -> None:
    with reward_function("r1-zero-mini", stage="zero", workers=1) as reward:
        assert len(reward.rubric.names) > 1


def test_trls_asynchronous_trainer_scores_whole_groups(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_module = pytest.importorskip("trl.experimental.async_grpo.async_rollout_worker")
    monkeypatch.setattr(worker_module, "logger", logging.getLogger())  # its own needs accelerate's state
    (folder / "zero.yaml").write_text(
        "name: x\nstages:\n- id: zero\n  use: grpo\n  rewards:\n"
        "  - {use: './v.py:equals', weight: {0: 1.0, 10: 3.0}}\n  - {use: './v.py:choosy'}\n"
    )
    texts = ["A", "b", "bug"]
    group = worker_module.RolloutGroup(
        prompts=[[{"role": "user", "content": "Say A."}]] * 3,
        reward_kwargs={"answer": ["A"] * 3},
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completions_ids=[[1]] * 3,
        completions_sequences=[[worker_module.TrainingSequence([1], [1], [0.0], None)]] * 3,
        tool_call_counts=[0] * 3,
        tool_failure_counts=[0] * 3,
        model_version=4,
        group_id=0,
        env_rewards=[None] * 3,
        rollout_rewards=[None] * 3,
    )
    loop = object.__new__(worker_module._AsyncRolloutLoop)
    with reward_function(
        "zero.yaml", columns={"reference": "answer"}, num_generations=3, workers=1
    ) as reward:
        sent = pickle.loads(pickle.dumps(reward))  # TRL sends it to the process of the rollouts
        loop.reward_funcs, loop.reward_func_names = [sent], ["zero"]
        loop._env_reward_types, loop._provides_rollout_reward = [], False
        samples = [asyncio.run(loop._score_group(group)) for _ in range(2)][1]
        sent.close()
    right, wrong, failed = samples
    assert (right.metrics["rewards/zero"], wrong.metrics["rewards/zero"]) == (
        pytest.approx(1.1),
        pytest.approx(0.1),
    )
    assert right.advantage == pytest.approx(-wrong.advantage)
    assert right.advantage == pytest.approx(1.0)
    assert (failed.metrics["rewards/zero"], failed.advantage) == (pytest.approx(math.nan, nan_ok=True), 0.0)
    warnings = [
        one.getMessage() for one in caplog.records if "changes with the training step" in one.getMessage()
    ]
    assert len(warnings) == 1
