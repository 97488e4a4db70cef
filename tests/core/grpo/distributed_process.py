"""Trains the same rollouts in one process or in each of several; what the tests of distributed training start.

    python distributed_process.py MODEL FOLDER LOSS_TYPE [SHARDING [BUDGET [ADAPTERS [QUANTILE]]]]

The weights go to FOLDER/LOSS_TYPE-PROCESSES.safetensors, and the metrics of each step to a JSON file beside it; with
SHARDING (fsdp2, zero2 or zero3) to FOLDER/LOSS_TYPE-SHARDING. BUDGET is the most tokens of a micro-batch's part, or
reads trl for TRL's own loss; its SHARDING is empty. With ADAPTERS (lora) the model's adapters alone are trained.
QUANTILE is the top_entropy_quantile; an entropy bonus comes with it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from datasets import Dataset
from peft import LoraConfig
from tiny_training import PROCESSES, cpu_config, drawn_tokens, save_weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon.grpo import FusedGRPOTrainer, StepOptions
from guerdon.training.merging import merged_on_main

ROWS, GROUP, LENGTH = 16, 4, 7


class Trainer(FusedGRPOTrainer):
    """Its rollouts follow from the step and their place in the batch of all processes."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        start = self.accelerator.process_index * len(prompt_ids)
        places = range(start, start + len(prompt_ids))
        return [drawn_tokens(1000 * self.state.global_step + place, LENGTH) for place in places], None


def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """The first two groups of a batch of one process have no variance, so processes train on uneven shares."""
    return [0.0 if len(ids) < 3 else sum(ids) % 5 / 5 for ids in completion_ids]


def sharding_options(sharding: str) -> dict[str, Any]:
    """Return TRL's options that shard the model. Accelerate then takes the CPU for an accelerator.

    Without that, it ignores FSDP on CPUs, and connects no processes for DeepSpeed.
    """
    state: Any = PartialState
    state._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    state.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
    if sharding == "fsdp2":
        return {"use_cpu": False, "fsdp": True, "fsdp_config": {"version": 2, "reshard_after_forward": True}}
    backend: Any = import_module("deepspeed.comm.torch")
    backend.build_shm_op = lambda: None  # gloo does its work, without a compilation of minutes
    zero = {
        "stage": int(sharding[-1]),
        "stage3_gather_16bit_weights_on_model_save": True,
        "stage3_param_persistence_threshold": 0,  # the tiny model's weights are all below the default
    }
    config = {"zero_optimization": zero, "zero_allow_untested_optimizer": True}
    sizes = {"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"}
    return {"use_cpu": False, "deepspeed": config | sizes}


def held(trainer: Trainer) -> int:
    """Return how many of the model's weights this process holds."""
    weights = trainer.accelerator.unwrap_model(trainer.model).parameters()
    return sum(getattr(one, "ds_tensor", getattr(one, "_local_tensor", one)).numel() for one in weights)


def train(
    model: str,
    folder: str,
    loss_type: str,
    sharding: str = "",
    budget: str = "",
    adapters: str = "",
    quantile: str = "",
) -> None:
    config = cpu_config(
        folder,
        per_device_train_batch_size=ROWS // PROCESSES,
        num_generations=GROUP,
        num_iterations=2,
        loss_type=loss_type,
        max_completion_length=LENGTH,
        max_steps=4,
        learning_rate=0.05,
        optim="sgd",
        logging_steps=1,
        remove_unused_columns=True,
        **(sharding_options(sharding) if sharding else {}),
        **({"top_entropy_quantile": float(quantile), "entropy_coef": 0.1} if quantile else {}),
    )
    rows = Dataset.from_dict({"prompt": ["ab", "c", "def", "gh"] * 4})
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    tokenizer = AutoTokenizer.from_pretrained(model)
    own = budget == "trl"
    most = int(budget) if budget and not own else None
    options = StepOptions(fused_loss=not own, max_tokens_per_micro_batch=most)
    trainer = Trainer(
        policy,
        [reward],
        config,
        rows,
        processing_class=tokenizer,
        step_options=options,
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear") if adapters else None,
    )
    assert trainer.accelerator.num_processes == PROCESSES
    trainer.train()
    to = Path(folder, f"{loss_type}-{sharding or PROCESSES}")
    save_weights(trainer, f"{to}.safetensors")
    steps = [{name: step[name] for name in ("loss", "grad_norm")} for step in trainer.state.log_history[:-1]]
    result = {"steps": steps, "held": held(trainer), "type": trainer.accelerator.distributed_type.value}
    if trainer.accelerator.is_main_process:
        Path(f"{to}.json").write_text(json.dumps(result))
    if adapters and (merged := merged_on_main(trainer)) is not None:
        merged.save_pretrained(f"{to}-merged")


if __name__ == "__main__":
    train(*sys.argv[1:])
