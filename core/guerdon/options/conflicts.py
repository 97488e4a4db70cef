"""Check TRL's options together: the conflicts that its configs and trainers would refuse, and missing libraries."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from guerdon.errors import MissingDependencyError, ParamsError
from guerdon.models.paths import DTYPES
from guerdon.options.libraries import options_of
from guerdon.options.trl import (
    DISTILLATION,
    DPO,
    GRPO,
    LORA,
    LORA_RANGES,
    generation_batch,
    option_values,
)
from guerdon.plugins.spelling import did_you_mean
from guerdon.plugins.wording import reasons_of

__all__ = [
    "budget_refused",
    "check_lora",
    "check_options",
    "check_token_budget",
    "installed",
    "whole_micro_batch",
]

DEBUG = ("underflow_overflow", "tpu_metrics_debug")
"""The values of transformers' ``debug``; several are separated by spaces."""

TRACKERS: Mapping[str, str] = {
    "azure_ml": "azureml",
    "clearml": "clearml",
    "codecarbon": "codecarbon",
    "comet_ml": "comet_ml",
    "dagshub": "dagshub",
    "dvclive": "dvclive",
    "flyte": "flytekit",
    "kubeflow": "kubeflow",
    "mlflow": "mlflow",
    "neptune": "neptune",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""The trackers of transformers' ``report_to``, with the module that each needs."""

OPTIMIZERS: Mapping[str, str] = {
    "8bit": "bitsandbytes",
    "paged_": "bitsandbytes",
    "bnb": "bitsandbytes",
    "ademamix": "bitsandbytes",
    "galore": "galore_torch",
    "apollo": "apollo_torch",
    "lomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "schedule_free": "schedulefree",
    "torchao": "torchao",
    "torch_4bit": "torchao",
    "torch_8bit": "torchao",
    "stable_adamw": "optimi",
    "apex": "apex",
}
"""A part of an optimizer's name, and the module that it needs; the last match counts."""

EXTRAS = {"vllm": "vllm", "tensorboard": "tensorboard", "peft": "train"}
"""The extras of guerdon that bring a module."""


def check_options(config: str, options: Mapping[str, Any]) -> None:
    """Check options together: contradictions, and libraries that are not installed.

    Args:
        config: :data:`GRPO`, :data:`SFT`, :data:`REWARD`, :data:`DPO` or :data:`DISTILLATION`.
        options: The manifest's options, over the stage's defaults.

    Raises:
        ParamsError: Some options conflict; one line each.
        MissingDependencyError: The only problem is a library that is not installed.
    """
    values = option_values(config, options)
    if values["bf16"] is None:  # TRL derives it from fp16
        values["bf16"] = False
    own = {GRPO: _group_problems, DPO: _preference_problems, DISTILLATION: _distillation_problems}
    problems = [*_contradictions(values), *(own[config](values) if config in own else ())]
    missing = list(_missing_libraries(values))
    if missing and not problems and len(missing) == 1:
        raise missing[0]
    if problems or missing:
        raise ParamsError("\n".join([*problems, *map(str, missing)]))


def check_token_budget(budget: int | None, options: Mapping[str, Any], *, fused_loss: bool) -> None:
    """Check that a GRPO stage can split its micro-batches by tokens.

    Args:
        budget: The stage's ``max_tokens_per_micro_batch``.
        options: The manifest's options, over the stage's defaults.
        fused_loss: The stage's ``fused_loss``.

    Raises:
        ParamsError: An option needs the whole micro-batch at once.
    """
    if budget is None:
        return
    values = option_values(GRPO, options)
    reason = whole_micro_batch(str(values["optim"]))
    if not fused_loss:
        reason = "fused_loss is false, and TRL's own loss takes the whole micro-batch"
    if reason is not None:
        raise ParamsError(budget_refused(reason))


def budget_refused(reason: str) -> str:
    """Return the message of a budget of tokens that a stage cannot keep."""
    return (
        f"max_tokens_per_micro_batch is set, and {reason}. Leave it out, and lower per_device_train_batch_size "
        "to take less memory."
    )


def whole_micro_batch(optimizer: str) -> str | None:
    """Return why a micro-batch cannot go backward in parts, or ``None`` if it can."""
    if "lomo" in optimizer or optimizer.endswith("_layerwise"):
        return f"the optimizer {optimizer} updates the weights in each backward pass"
    return None


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    if values["fp16"] and values["bf16"]:
        yield "fp16 and bf16 are both true. Choose one."
    if values["fp16_full_eval"] and values["bf16_full_eval"]:
        yield "fp16_full_eval and bf16_full_eval are both true. Choose one."
    for name in ("logging_steps", "save_steps"):
        steps = values[name]
        if isinstance(steps, int | float) and steps > 1 and steps != int(steps):
            yield f"{name} is {steps}. Above 1 it is a whole number of steps."
    if str(values["lr_scheduler_type"]) in ("reduce_lr_on_plateau", "greedy"):
        yield (
            f"lr_scheduler_type is '{values['lr_scheduler_type']}', which follows TRL's own evaluation, and "
            "a stage has none. Choose another, such as 'cosine'."
        )
    if values["dataloader_num_workers"] == 0 and values["dataloader_prefetch_factor"] is not None:
        yield "dataloader_prefetch_factor is set, and dataloader_num_workers is 0. Set that above 0."
    debug = values["debug"]
    for name in debug.split() if isinstance(debug, str) else ():
        if name not in DEBUG:
            yield f"debug names '{name}'.{did_you_mean(name, DEBUG)} Choose of {', '.join(DEBUG)}."
    padding = values.get("pad_to_multiple_of")
    if (
        isinstance(padding, str)
        and padding.lower() not in ("auto", "none", "null")
        and not padding.isdecimal()
    ):
        yield f"pad_to_multiple_of is '{padding}'. Give a whole number, 'auto' or null."
    init = values["model_init_kwargs"]
    dtype = init.get("dtype", "auto") if isinstance(init, Mapping) else "auto"
    if dtype not in DTYPES:
        hint = did_you_mean(str(dtype), DTYPES)
        yield f"model_init_kwargs has the dtype '{dtype}'.{hint} Choose one of {', '.join(DTYPES)}."
    for tracker in _trackers(values["report_to"]):
        if tracker not in TRACKERS:
            yield (
                f"report_to names '{tracker}', which is not a tracker.{did_you_mean(tracker, TRACKERS)} "
                f"Trackers: {', '.join(TRACKERS)}."
            )


def _group_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the conflicts that GRPOConfig would refuse."""
    group, processes = values["num_generations"], int(os.environ.get("WORLD_SIZE") or 1)
    step = values["per_device_train_batch_size"] * processes
    batch, steps = values["generation_batch_size"], values["steps_per_generation"]
    if batch is not None and steps is not None:
        yield "generation_batch_size and steps_per_generation are both given. One follows from the other."
    elif batch is not None and batch % step:
        yield (
            f"generation_batch_size is {batch}, not a multiple of the {step} completions of a micro-batch "
            f"(per_device_train_batch_size {values['per_device_train_batch_size']} x {processes} processes)."
        )
    else:
        completions = generation_batch(values)
        if completions % group:
            yield (
                f"num_generations is {group}, and the {completions} completions that are generated together "
                "(per_device_train_batch_size x processes x gradient_accumulation_steps, or steps_per_generation) are "
                "not a multiple of it."
            )
    yield from _row_problems(values)
    if values["auto_find_batch_size"]:
        yield "auto_find_batch_size is true, which would break groups. Lower per_device_train_batch_size."
    if values["log_completions_hub_repo"] is not None and not values["log_completions"]:
        yield "log_completions_hub_repo is set, and log_completions is false. Set both or none."
    if values["sync_ref_model"] and values["beta"] == 0:
        yield "sync_ref_model is true, and beta is 0: there is no reference model. Set beta above 0."
    low, high = values["vllm_importance_sampling_clip_min"], values["vllm_importance_sampling_clip_max"]
    if low is not None and high is not None and low >= high:
        yield f"vllm_importance_sampling_clip_min ({low}) is not below vllm_importance_sampling_clip_max ({high})."
    mode = values["vllm_importance_sampling_mode"]
    if values["vllm_importance_sampling_correction"]:
        if mode.endswith("_truncate") and low is None and high is None:
            yield f"vllm_importance_sampling_mode is '{mode}', and neither clip_min nor clip_max is set."
        if values["loss_type"] == "vespo" and values["use_vllm"] and not mode.startswith("token"):
            yield (
                f"loss_type is 'vespo', and vllm_importance_sampling_mode is '{mode}'. Choose token_truncate or "
                "token_mask."
            )


_PREFERENCE_LOSSES = (
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
)
"""The losses that DPOTrainer computes."""

_OTHER_DIVERGENCES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
"""The losses that DPOTrainer computes with other divergences than the reverse KL, too."""


def _preference_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the conflicts that DPOTrainer would refuse."""
    losses, weights = values["loss_type"], values["loss_weights"]
    losses = [losses] if isinstance(losses, str) else list(losses)
    for loss in losses:
        if loss not in _PREFERENCE_LOSSES:
            hint = did_you_mean(str(loss), _PREFERENCE_LOSSES)
            yield f"loss_type names '{loss}'.{hint} Choose of {', '.join(_PREFERENCE_LOSSES)}."
    if not losses:
        yield "loss_type is empty. Name at least one loss, such as [sigmoid]."
    if weights is not None and len(weights) != len(losses):
        yield f"loss_weights has {len(weights)} numbers, and loss_type {len(losses)} losses. Give each loss one."
    divergence = values["f_divergence_type"]
    if divergence != "reverse_kl" and (other := sorted(set(losses) - set(_OTHER_DIVERGENCES))):
        yield f"f_divergence_type is '{divergence}', which the loss {other[0]} does not have. Set it to 'reverse_kl'."
    if "exo_pair" in losses and values["label_smoothing"] == 0:
        yield "loss_type names 'exo_pair', and label_smoothing is 0. Set that above 0, such as 1e-3."
    if values["use_weighting"] and {"aot", "aot_unpaired"} & set(losses):
        yield "use_weighting is true, and loss_type names 'aot' or 'aot_unpaired', which sort the pairs. Leave one out."


def _distillation_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the conflicts that DistillationConfig and its trainer would refuse."""
    if values["beta"] > 1:
        yield f"beta is {values['beta']}. Give a share of the reverse KL, from 0 to 1."
    yield from _row_problems(values)
    if values["auto_find_batch_size"]:
        yield "auto_find_batch_size is true, which would break batches. Lower per_device_train_batch_size."


def _row_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the conflicts of a trainer whose batches are rows, and not tensors."""
    accelerator = values["accelerator_config"]
    if isinstance(accelerator, Mapping) and accelerator.get("dispatch_batches"):
        yield (
            "accelerator_config has dispatch_batches: true, by which the first process sends batches of tensors to the "
            "others. The prompts of this stage are not tensors. Leave it out."
        )


def _missing_libraries(values: Mapping[str, Any]) -> Iterator[MissingDependencyError]:
    wanted: dict[str, str] = {}
    if values.get("use_vllm"):
        wanted["vllm"] = "the param 'use_vllm'"
    if values["use_liger_kernel"]:
        wanted["liger_kernel"] = "the param 'use_liger_kernel'"
    if values["deepspeed"]:
        wanted["deepspeed"] = "the param 'deepspeed'"
    optimizer = str(values["optim"])
    for part, module in OPTIMIZERS.items():
        if part in optimizer:
            wanted[module] = f"the param 'optim: {optimizer}'"
    for tracker in _trackers(values["report_to"]):
        if tracker in TRACKERS:
            wanted[TRACKERS[tracker]] = f"the param 'report_to: {tracker}'"
    init = values["model_init_kwargs"]
    if isinstance(init, Mapping) and init.get("attn_implementation") == "flash_attention_2":
        wanted["flash_attn"] = "the param 'attn_implementation: flash_attention_2'"
    for module, feature in wanted.items():
        if not installed(module):
            yield MissingDependencyError(feature, module, EXTRAS.get(module, ""))


def installed(module: str) -> bool:
    """Return whether a module can be imported. A plain folder of that name cannot."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.loader is not None and spec.origin is not None


def _trackers(report_to: Any) -> list[str]:
    named = [report_to] if isinstance(report_to, str) else list(report_to or [])
    return [name for name in named if name not in ("none", "all")]


def check_lora(options: Mapping[str, Any]) -> None:
    """Check the options of a ``peft.LoraConfig``.

    Raises:
        ParamsError: One is unknown, or its value does not fit; one line each.
        MissingDependencyError: peft is not installed.
    """
    from pydantic import TypeAdapter, ValidationError

    known = options_of(LORA)
    problems = []
    for name, value in options.items():
        if name not in known:
            problems.append(
                f"param 'peft' has the option '{name}', which LoraConfig does not have.{did_you_mean(name, known)}"
            )
            continue
        fits: Any = Annotated[known[name].annotation, Field(**LORA_RANGES.get(name, {}))]
        try:
            TypeAdapter(fits).validate_python(value, strict=True)
        except ValidationError as error:
            problems.append(f"param 'peft' has the option {name}: {value!r}: {reasons_of(error.errors())}.")
    if problems:
        raise ParamsError("\n".join(problems))
