"""Compute the memory of an update on a GPU from TRL's options, without a GPU.

``plan_training`` covers the trainers of rows: supervised fine-tuning, preferences and reward models. What other
trainers share with them is here too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    Trainer,
    TrainingArguments,
)
from trl.kernels import chunked_logprob
from trl.trainer.utils import add_fused_lm_head

from guerdon.errors import UsageError, one_line
from guerdon.models import load_config
from guerdon.options.trl import DPO, REWARD, SFT, option_values
from guerdon.stage import Model
from guerdon.training.memory import StepMemory, StepSettings, autocast, cache_bytes, empty_model, step_memory

__all__ = [
    "Rows",
    "check_whole",
    "frozen_model",
    "inputs_of",
    "kernels_of_card",
    "pair_step_memory",
    "plan_training",
    "reward_step_memory",
    "rollout_parts",
    "row_step_memory",
    "settings_of",
    "update_parts",
]


@dataclass(frozen=True, slots=True)
class Rows:
    """The shape of a micro-batch."""

    count: int
    length: int
    masked: bool = True
    """Whether attention takes a mask of all pairs of tokens, because rows are padded or packed."""


def plan_training(
    kind: str,
    model: Model,
    options: Mapping[str, Any],
    adapters: Any = None,
    *,
    processes: int,
    labels_steps: bool = False,
) -> dict[str, dict[str, int]]:
    """Return the bytes of each part on each device in an update.

    All rows have ``max_length`` tokens, so a real step takes less.

    Args:
        kind: :data:`SFT`, :data:`DPO` or :data:`REWARD`.
        model: The model at the start.
        options: TRL's options, by TRL's names.
        adapters: A ``peft.LoraConfig``, or ``None`` to train all weights.
        processes: The processes of the launch, with one device each.
        labels_steps: Whether a reward model labels each row's tokens, instead of comparing pairs.

    Raises:
        UsageError: The step is one that is not computed.
    """
    values = option_values(kind, options)
    check_whole(values)
    if values["activation_offloading"]:
        raise UsageError("the memory with activation_offloading is not computed. Set it to false.")
    if kind == SFT and values["label_smoothing_factor"]:
        raise UsageError(
            "the memory with label_smoothing_factor, which takes all logits, is not computed. Leave it out."
        )
    rows, config = _rows(kind, values, labels_steps), load_config(model)
    settings = StepSettings(**settings_of(model, values, adapters))
    if kind == REWARD:
        memory = reward_step_memory(config, rows, settings, labels_steps=labels_steps)
    elif kind == DPO:
        memory = pair_step_memory(
            config, rows, settings, has_reference=not values["precompute_ref_log_probs"]
        )
    else:
        memory = row_step_memory(config, rows, settings)
    return {"update": update_parts(memory, processes)}


def check_whole(values: Mapping[str, Any]) -> None:
    """Check that the model is not sharded.

    Raises:
        UsageError: It is, and the memory of such a model is not computed.
    """
    if values["fsdp"] or values["deepspeed"]:
        raise UsageError(
            "the memory of a sharded model is not computed. Leave out fsdp and deepspeed, and divide the weights, the "
            "gradients and the optimizer's state by the number of processes."
        )


def settings_of(model: Model, values: Mapping[str, Any], adapters: Any) -> dict[str, Any]:
    """Return the settings of a step, from the values of TRL's options."""
    return {
        "optimizer": partial(_optimizer, values),
        "dtype": _dtype(model, values),
        "autocast": _autocast(values),
        "checkpointing": values["gradient_checkpointing"],
        "accumulates": values["gradient_accumulation_steps"] > 1,
        "adapters": adapters,
    }


def frozen_model(model: Model, settings: StepSettings) -> Any:
    """Return a model without weights that is not trained, in the dtype that it is loaded in."""
    config = load_config(model)
    dtype: Any = (
        getattr(torch, model.dtype, None) or config.dtype or torch.float32
    )  # auto: the checkpoint's own
    return empty_model(config, replace(settings, dtype=dtype, adapters=None, checkpointing=False)).eval()


def update_parts(memory: StepMemory, processes: int, frozen: str = "reference model") -> dict[str, int]:
    """Return the bytes of each part in an update; ``frozen`` is the name of the models that are not trained."""
    parts = {"weights": memory.weights, "optimizer": memory.optimizer}
    if memory.frozen:
        parts[frozen] = memory.frozen
    parts |= {"gradients": memory.gradients, "micro-batch": memory.micro_batch}
    if processes > 1:
        parts["gradients to exchange"] = memory.gradients
    return parts


def rollout_parts(
    config: PretrainedConfig,
    settings: StepSettings,
    values: Mapping[str, Any],
    update: Mapping[str, int],
    *,
    completions: int,
    tokens: int,
    device_bytes: int,
) -> dict[str, dict[str, int]]:
    """Return the bytes of each part while completions are generated, and those in an update.

    Args:
        config: The policy's configuration.
        settings: Those of the step.
        values: TRL's options.
        update: The parts of an update.
        completions: The completions that each process generates together.
        tokens: The tokens of each with its prompt.
        device_bytes: The memory of each device.
    """
    only_then = ("gradients", "micro-batch", "gradients to exchange")
    rollouts = {name: size for name, size in update.items() if name not in only_then}
    if not values["use_vllm"]:
        rollouts["keys and values"] = cache_bytes(config, completions * tokens, settings)
    elif values["vllm_mode"] == "colocate":
        rollouts["vLLM"] = int(values["vllm_gpu_memory_utilization"] * device_bytes)
        if not values["vllm_enable_sleep_mode"]:
            update = {**update, "vLLM": rollouts["vLLM"]}
    return {"rollouts": rollouts, "update": dict(update)}


def row_step_memory(config: PretrainedConfig, rows: Rows, settings: StepSettings) -> StepMemory:
    """Return the memory of a step of TRL's ``SFTTrainer``, in which all tokens are trained."""
    model = _with_head(empty_model(config, settings), "entropy", "is_top1")

    def backpropagate() -> None:
        with autocast(settings):
            made = model(**inputs_of(rows), labels=_ids(rows), fused_lm_head=True)
            loss = -made.log_probs.sum()
        loss.backward()

    return _on_card(model, settings, backpropagate)


def pair_step_memory(
    config: PretrainedConfig, rows: Rows, settings: StepSettings, *, has_reference: bool
) -> StepMemory:
    """Return the memory of a step of TRL's ``DPOTrainer``.

    The reference is a model of its own, or the model without its adapters.

    Args:
        config: The model's configuration; no weights are read.
        rows: The micro-batch: two rows for each pair.
        settings: The rest.
        has_reference: Whether its log-probabilities are computed in the step.
    """
    model = _with_head(empty_model(config, settings), "entropy", "mean_logits", "is_top1")
    own: list[Any] = []
    if has_reference and settings.adapters is None:
        own = [_with_head(empty_model(config, settings))]

    def backpropagate() -> None:
        call = {**inputs_of(rows), "labels": _ids(rows), "fused_lm_head": True}
        with autocast(settings):
            made = model(**call)
            if has_reference:
                without = nullcontext() if own else model.disable_adapter()
                with torch.no_grad(), without:
                    (own[0] if own else model)(**call)
            loss = -made.log_probs.sum()
        loss.backward()

    return _on_card(model, settings, backpropagate, own)


def reward_step_memory(
    config: PretrainedConfig, rows: Rows, settings: StepSettings, *, labels_steps: bool = False
) -> StepMemory:
    """Return the memory of a step of TRL's ``RewardTrainer``, with two rows for each pair.

    Args:
        config: The model's configuration; no weights are read.
        rows: The micro-batch.
        settings: The rest.
        labels_steps: Whether the model has two labels for each token, as a process reward model does.
    """
    config = copy.deepcopy(config)
    config.num_labels, config.get_text_config().pad_token_id = 2 if labels_steps else 1, 0
    kind: Any = AutoModelForTokenClassification if labels_steps else AutoModelForSequenceClassification
    model = empty_model(config, settings, kind)

    def backpropagate() -> None:
        with autocast(settings):
            loss = model(**inputs_of(rows)).logits.sum()
        loss.backward()

    return step_memory(model, settings, backpropagate)


def _rows(kind: str, values: Mapping[str, Any], labels_steps: bool) -> Rows:
    """Return the largest micro-batch.

    Raises:
        UsageError: The length of the rows is not bounded.
    """
    length, count = values["max_length"], values["per_device_train_batch_size"]
    if length is None:
        raise UsageError(
            "max_length is null, so rows may have any length. Name the longest: --set stages.ID.params.max_length=N."
        )
    flash = "flash" in str((values["model_init_kwargs"] or {}).get("attn_implementation", ""))
    if kind != SFT:
        return Rows(count if labels_steps else 2 * count, length, masked=not flash)
    joined = values["padding_free"] or (values["packing"] and values["packing_strategy"] != "wrapped")
    return Rows(1, count * length, masked=not flash) if joined else Rows(count, length, masked=not flash)


def _ids(rows: Rows) -> torch.Tensor:
    return torch.zeros(rows.count, rows.length, dtype=torch.int64)


def inputs_of(rows: Rows) -> dict[str, torch.Tensor]:
    """Return a micro-batch as a model takes it."""
    # A mask with four dimensions keeps transformers from making its own, which reads values.
    shape = (rows.count, 1, rows.length, rows.length) if rows.masked else (1, 1, 1, 1)
    return {"input_ids": _ids(rows), "attention_mask": torch.ones(shape, dtype=torch.bool)}


def _with_head(model: Any, *outputs: str) -> Any:
    """Add TRL's fused head, as its trainers do."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    add_fused_lm_head(causal, outputs=("log_probs", *outputs))
    return model


def _on_card(
    model: Any, settings: StepSettings, backpropagate: Callable[[], None], frozen: Iterable[nn.Module] = ()
) -> StepMemory:
    with kernels_of_card(chunked_logprob, "_forward_tile", "_backward_tile", "_addmm_fp32"):
        return step_memory(model, settings, backpropagate, list(frozen))


@contextmanager
def kernels_of_card(module: Any, *names: str) -> Iterator[None]:
    """Let a head of TRL take the memory that it takes on a card, where Triton kernels work inside a tile of logits.

    Args:
        module: The module of TRL's head.
        names: Its functions that do the kernels' work on a CPU.
    """
    own = {name: getattr(module, name) for name in names}
    for name in own:
        setattr(module, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(module, name, function)


def _dtype(model: Model, values: Mapping[str, Any]) -> torch.dtype:
    name = (values["model_init_kwargs"] or {}).get("dtype", model.dtype)
    dtype = getattr(torch, "float32" if name == "auto" else str(name).removeprefix("torch."))
    assert isinstance(dtype, torch.dtype)
    return dtype


def _autocast(values: Mapping[str, Any]) -> torch.dtype | None:
    if values["fp16"]:
        return torch.float16
    return None if values["bf16"] is False else torch.bfloat16


def _optimizer(values: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of TRL's options.

    Raises:
        UsageError: It needs a library that is not installed, or a GPU.
    """
    names = ("optim", "optim_args")
    arguments = TrainingArguments("plan", use_cpu=True, **{name: values[name] for name in names})
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        made: torch.optim.Optimizer = kind(parameters, **options)
    except Exception as error:  # each optimizer's library has its own
        raise UsageError(
            f"the memory of the optimizer '{values['optim']}' is not computed: {one_line(error)} Compute with one of "
            "torch's: --set stages.ID.params.optim=adamw_torch_fused."
        ) from error
    return made
