"""GRPO with ``vllm_mode: server``: the server has the policy's weights at each step, and the loss is TRL's.

vLLM's client sends weights by NCCL, which needs a card. A client in this process takes its place: it gets the same
calls, and samples from a model of its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import trl.generation.vllm_generation as trl_vllm
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.grpo import FusedGRPOTrainer

STEPS = 3


class Server:
    """What ``VLLMClient`` and the server behind it do."""

    folder: Path

    def __init__(self, **_: object) -> None:
        self.model: Any = transformers.AutoModelForCausalLM.from_pretrained(self.folder)
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.zero_()  # it must get the policy's before it samples
        self.updates = 0
        self.generator = torch.Generator().manual_seed(0)
        self.sampled_with: list[dict[str, torch.Tensor]] = []

    def init_communicator(self, device: torch.device) -> None:
        assert device.type == "cpu"

    def get_server_info(self) -> dict[str, Any]:
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}

    def update_named_params(
        self, metadata: list[tuple[str, str, list[int]]], params: Iterator[tuple[str, torch.Tensor]]
    ) -> None:
        own = dict(self.model.named_parameters())
        assert own.keys() == {name for name, _, _ in metadata}
        for (name, dtype, shape), (sent, weight) in zip(metadata, params, strict=True):
            assert (name, dtype, shape) == (
                sent,
                str(weight.dtype).removeprefix("torch."),
                list(weight.shape),
            )
            own[name].data.copy_(weight)
        self.updates += 1

    def reset_prefix_cache(self) -> None:
        assert self.updates

    @torch.no_grad()
    def generate(
        self, prompts: list[list[int]], n: int, temperature: float, max_tokens: int, **_: object
    ) -> dict[str, Any]:
        self.sampled_with.append(copy.deepcopy(self.model.state_dict()))
        completions, logps = [], []
        for prompt in prompts:
            for _number in range(n):
                ids: list[int] = []
                own: list[list[float]] = []
                for _place in range(max_tokens):
                    logits = self.model(torch.tensor([prompt + ids])).logits[0, -1] / temperature
                    row = logits.log_softmax(-1)
                    ids.append(int(row.exp().multinomial(1, generator=self.generator)))
                    own.append([float(row[ids[-1]])])
                completions.append(ids)
                logps.append(own)
        return {"prompt_ids": prompts, "completion_ids": completions, "logprobs": logps}


def rewards(completion_ids: list[list[int]], **_: object) -> list[float | None]:
    return [math.sin(sum(ids)) for ids in completion_ids]


@pytest.fixture
def train(
    tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Train with a trainer. Returns it; its policies by step are in ``policies``."""
    Server.folder = tiny_model()
    monkeypatch.setattr(trl_vllm, "VLLMClient", Server)
    monkeypatch.setattr(trl_vllm, "is_vllm_available", lambda: True)

    def run(kind: type[GRPOTrainer], peft: LoraConfig | None) -> Any:
        config = GRPOConfig(
            output_dir=str(tmp_path / kind.__name__),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=5,
            max_steps=STEPS,
            learning_rate=0.5,
            lr_scheduler_type="constant",
            optim="sgd",
            bf16=False,
            use_cpu=True,
            report_to=[],
            logging_steps=1,
            save_strategy="no",
            gradient_checkpointing=False,
            use_vllm=True,
            vllm_mode="server",
        )
        policies: list[dict[str, torch.Tensor]] = []

        class Record(transformers.TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                plain = copy.deepcopy(kwargs["model"])
                policies.append((plain.merge_and_unload() if peft else plain).state_dict())

        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_pretrained(Server.folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(Server.folder)
        rows = Dataset.from_dict({"prompt": ["ab", "cd", "ac", "bd"] * 4})
        trainer: Any = kind(
            model, [rewards], config, rows, processing_class=tokenizer, peft_config=peft, callbacks=[Record()]
        )
        trainer.train()
        trainer.policies = policies
        return trainer

    return run


@pytest.mark.parametrize("peft", [None, LoraConfig(r=4, target_modules="all-linear")], ids=["whole", "lora"])
def test_server_samples_with_the_weights_of_each_step_and_the_training_is_trls(
    train: Callable[..., Any], peft: LoraConfig | None
) -> None:
    ours, trls = (train(kind, copy.deepcopy(peft)) for kind in (FusedGRPOTrainer, GRPOTrainer))
    server = ours.vllm_generation.vllm_client
    assert (server.updates, len(server.sampled_with), len(ours.policies)) == (STEPS, STEPS, STEPS)
    for sampled, policy in zip(server.sampled_with, ours.policies, strict=True):
        for name, weight in sampled.items():
            torch.testing.assert_close(weight, policy[name], rtol=0, atol=1e-6)
    before = load_file(Server.folder / "model.safetensors")
    assert any((server.sampled_with[-1][name] - before[name]).abs().max() > 1e-3 for name in before)
    for own, theirs in zip(ours.state.log_history[:STEPS], trls.state.log_history[:STEPS], strict=True):
        # The server's probabilities are the policy's, so the correction is 1.
        assert own["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-5)
        for name in ("loss", "grad_norm", "reward"):
            assert own[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6)
    for name, weight in ours.model.state_dict().items():
        torch.testing.assert_close(weight, trls.model.state_dict()[name], rtol=1e-4, atol=1e-5)
