"""TRL's options as a stage's params: which a manifest may set, their values, and which conflict.

Importing this module imports neither TRL nor torch: the options are read from :mod:`guerdon.options.libraries`.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field

from guerdon.errors import MissingDependencyError, ParamsError
from guerdon.models.paths import DTYPES
from guerdon.options.libraries import Option, options_of
from guerdon.plugins.discovery import did_you_mean
from guerdon.plugins.wording import reasons_of

__all__ = [
    "DISTILLATION",
    "DPO",
    "GRPO",
    "LORA",
    "OWNED",
    "REWARD",
    "SFT",
    "STAGE_DEFAULTS",
    "check_lora",
    "check_options",
    "generation_batch",
    "installed",
    "trl_parameters",
]

GRPO = "trl.trainer.grpo_config:GRPOConfig"
SFT = "trl.trainer.sft_config:SFTConfig"
REWARD = "trl.trainer.reward_config:RewardConfig"
DPO = "trl.trainer.dpo_config:DPOConfig"
DISTILLATION = "trl.trainer.distillation_config:DistillationConfig"
LORA = "peft:LoraConfig"

STAGE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    GRPO: {"logging_steps": 1, "save_steps": 20},
    SFT: {"logging_steps": 1, "save_steps": 100},
    REWARD: {"logging_steps": 1, "save_steps": 100},
    DPO: {"logging_steps": 1, "save_steps": 100},
    DISTILLATION: {"logging_steps": 1, "save_steps": 20},
}
"""Defaults of guerdon's stages that differ from TRL's."""

_EVALUATE = (
    "give the stage the key 'evaluation' beside its 'data', such as 'evaluation: {every: 20, data: [{use: …, "
    "split: heldout}]}'; its 'rewards' are the stage's own unless it has others. A reward model has 'heldout_pairs' "
    "instead"
)

OWNED = {
    "output_dir": "the run's folder decides it",
    "seed": "set the manifest's 'seed'",
    "data_seed": "set the manifest's 'seed'",
    "reward_weights": "set the 'weight' of each reward",
    "resume_from_checkpoint": "a killed stage resumes from its newest checkpoint by itself",
    "save_strategy": "checkpoints are what a killed stage resumes from; set 'save_steps'",
    "save_only_model": "checkpoints are what a killed stage resumes from; set 'save_steps'",
    "ignore_data_skip": "a resumed stage continues with the data that it has not seen",
    "remove_unused_columns": "verifiers choose their columns",
    "disable_tqdm": "hook plugins show the progress",
    "load_best_model_at_end": f"{_EVALUATE}. Its 'best' names the entry whose best model is the output",
    "metric_for_best_model": f"{_EVALUATE}. Its 'best' names the entry whose best model is the output",
    "eval_strategy": _EVALUATE,
    "eval_steps": f"{_EVALUATE}. Its 'every' is the number of steps",
    "eval_on_start": f"{_EVALUATE}. It evaluates the model before the first step too",
    **dict.fromkeys(
        ("teacher_model_name_or_path", "teacher_model_revision", "teacher_model_init_kwargs"),
        "the teacher is the second model of 'init'",
    ),
    "do_train": "the stage trains",
    "do_eval": _EVALUATE,
    "do_predict": "the stage trains",
}
"""TRL's options that a manifest may not set, and what to do instead."""

CHOICES: Mapping[str, Mapping[str, tuple[str | bool, ...]]] = {
    "": {
        "include_num_input_tokens_seen": ("all", "non_padding", "no", True, False),
        "log_level": ("debug", "info", "warning", "error", "critical", "passive"),
        "log_level_replica": ("debug", "info", "warning", "error", "critical", "passive"),
        "train_sampling_strategy": ("random", "sequential", "group_by_length"),
    },
    GRPO: {
        "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
        "scale_rewards": ("group", "batch", "none", True, False),
        "importance_sampling_level": ("token", "sequence"),
        "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
        "vllm_mode": ("server", "colocate"),
        "vllm_model_impl": ("transformers", "vllm"),
        "vllm_importance_sampling_mode": (
            "token_truncate",
            "token_mask",
            "sequence_truncate",
            "sequence_mask",
        ),
    },
    SFT: {
        "loss_type": ("nll", "dft", "chunked_nll"),
        "packing_strategy": ("bfd", "bfd_split", "bfd-requeue", "wrapped"),
        "truncation_mode": ("keep_start", "keep_end"),
    },
    DPO: {
        "truncation_mode": ("keep_start", "keep_end"),
        "f_divergence_type": ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
    },
    DISTILLATION: {
        "vllm_mode": ("server", "colocate"),
        "vllm_model_impl": ("transformers", "vllm"),
    },
}
"""The values of options that are annotated as plain text; those under ``""`` apply to every config."""

DEBUG = ("underflow_overflow", "tpu_metrics_debug")
"""The values of transformers' ``debug``; several are separated by spaces."""

_POSITIVE = {"gt": 0}
_COUNT = {"ge": 1}
_NOT_NEGATIVE = {"ge": 0}
_SHARE = {"ge": 0, "le": 1}
_BELOW_ONE = {"ge": 0, "lt": 1}

RANGES: Mapping[str, Mapping[str, float]] = {
    **dict.fromkeys(
        (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "generation_batch_size",
            "steps_per_generation",
            "max_completion_length",
            "max_length",
            "num_iterations",
            "ref_model_sync_steps",
            "torch_empty_cache_steps",
            "vllm_tensor_parallel_size",
            "vllm_max_model_length",
            "dataloader_prefetch_factor",
            "dataset_num_proc",
        ),
        _COUNT,
    ),
    **dict.fromkeys(
        (
            "num_train_epochs",
            "temperature",
            "repetition_penalty",
            "logging_steps",
            "save_steps",
            "ddp_timeout",
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(
        (
            "learning_rate",
            "weight_decay",
            "adam_epsilon",
            "max_grad_norm",
            "warmup_steps",
            "top_k",
            "beta",
            "epsilon",
            "epsilon_high",
            "dataloader_num_workers",
            "neftune_noise_alpha",
        ),
        _NOT_NEGATIVE,
    ),
    **dict.fromkeys(("min_p", "top_entropy_quantile", "ref_model_mixup_alpha"), _SHARE),
    "adam_beta1": _BELOW_ONE,
    "adam_beta2": _BELOW_ONE,
    "label_smoothing_factor": {"ge": 0, "lt": 1},
    "max_steps": {"ge": -1},
    "num_generations": {"ge": 2},
    "num_generations_eval": _COUNT,
    "save_total_limit": _COUNT,
    "top_p": {"gt": 0, "le": 1},
    "vllm_gpu_memory_utilization": {"gt": 0, "le": 1},
    "vllm_server_port": {"ge": 1, "le": 65535},
    "vllm_group_port": {"ge": 1, "le": 65535},
}
"""The ranges of numeric options. Other values break the trainer, some only after it has started."""

_LORA_RANGES: Mapping[str, dict[str, Any]] = {"r": _COUNT, "lora_alpha": _POSITIVE, "lora_dropout": _SHARE}

_NEVER_NULL = frozenset({"num_generations", "max_completion_length"})
"""Options that TRL annotates as optional but requires."""

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


@cache
def trl_parameters(config: str) -> Sequence[inspect.Parameter]:
    """Return the options of a config as parameters of a stage; those of :data:`OWNED` are refused with their reasons.

    Args:
        config: :data:`GRPO`, :data:`SFT`, :data:`REWARD`, :data:`DPO` or :data:`DISTILLATION`.

    Raises:
        MissingDependencyError: TRL is not installed.
    """
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=STAGE_DEFAULTS[config].get(option.name, option.default),
            annotation=_refused(option.name) if option.name in OWNED else _annotation(config, option),
        )
        for option in options_of(config).values()
    ]


def _annotation(config: str, option: Option) -> Any:
    choices = CHOICES.get(config, {}).get(option.name) or CHOICES[""].get(option.name)
    kind = Literal[choices] if choices else option.annotation
    if choices and option.default is None:
        kind = Union[kind, None]  # noqa: UP007 - built at run time
    if option.name in _NEVER_NULL:
        kind = int
    limits: dict[str, Any] = dict(RANGES.get(option.name, {}))
    if "float" in option.type:
        limits["allow_inf_nan"] = False
    return Annotated[kind, Field(description=option.doc, **limits)]


def _refused(name: str) -> Any:
    def refuse(_: Any) -> Any:
        raise ValueError(f"'{name}' is not a stage's to set: {OWNED[name]}")

    return Annotated[Any, BeforeValidator(refuse)]


def option_values(config: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each option of a config: the manifest's, the stage's default or TRL's.

    Args:
        config: :data:`GRPO`, :data:`SFT` or :data:`REWARD`.
        options: The manifest's options.
    """
    values = {name: option.default for name, option in options_of(config).items()}
    return values | {**STAGE_DEFAULTS[config], **options}


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
    *(
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
    ),
    *("apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
)
_OTHER_DIVERGENCES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
"""The losses that DPOTrainer computes, and those that it computes with other divergences than the reverse KL."""


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
    if values["auto_find_batch_size"]:
        yield "auto_find_batch_size is true, which would break batches. Lower per_device_train_batch_size."


def generation_batch(values: Mapping[str, Any], processes: int | None = None) -> int:
    """Return how many completions are generated together, by GRPO's options.

    Args:
        values: The value of each option.
        processes: The number of processes; by default that of this launch.
    """
    if processes is None:
        processes = int(os.environ.get("WORLD_SIZE") or 1)
    if values.get("generation_batch_size") is not None:
        return int(values["generation_batch_size"])
    steps = values.get("steps_per_generation")
    if steps is None:
        steps = values["gradient_accumulation_steps"]
    return int(values["per_device_train_batch_size"] * processes * steps)


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


@cache
def tool_templates() -> frozenset[str]:
    """Return the chat templates that TRL knows, without white space around; none if TRL is not installed.

    TRL reads calls of tools by the template, which it compares as a whole.
    """
    found = importlib.util.find_spec("trl")
    if found is None or found.origin is None:
        return frozenset()
    files = Path(found.origin).with_name("chat_templates").glob("*.jinja")
    return frozenset(file.read_text(encoding="utf-8").strip() for file in files)


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
        fits: Any = Annotated[known[name].annotation, Field(**_LORA_RANGES.get(name, {}))]
        try:
            TypeAdapter(fits).validate_python(value, strict=True)
        except ValidationError as error:
            problems.append(f"param 'peft' has the option {name}: {value!r}: {reasons_of(error.errors())}.")
    if problems:
        raise ParamsError("\n".join(problems))
