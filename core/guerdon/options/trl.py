"""TRL's options as a stage's params: which a manifest may set, and their values.

Importing this module imports neither TRL nor torch: the options are read from :mod:`guerdon.options.libraries`.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Field

from guerdon.options.libraries import Option, options_of

__all__ = [
    "ASYNC_GRPO",
    "DISTILLATION",
    "DPO",
    "GRPO",
    "LORA",
    "LORA_RANGES",
    "OWNED",
    "REWARD",
    "SFT",
    "STAGE_DEFAULTS",
    "generation_batch",
    "option_values",
    "tool_templates",
    "trl_parameters",
]

GRPO = "trl.trainer.grpo_config:GRPOConfig"
ASYNC_GRPO = "trl.experimental.async_grpo.async_grpo_config:AsyncGRPOConfig"
SFT = "trl.trainer.sft_config:SFTConfig"
REWARD = "trl.trainer.reward_config:RewardConfig"
DPO = "trl.trainer.dpo_config:DPOConfig"
DISTILLATION = "trl.trainer.distillation_config:DistillationConfig"
LORA = "peft:LoraConfig"

STAGE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    GRPO: {"logging_steps": 1, "save_steps": 20},
    ASYNC_GRPO: {"logging_steps": 1, "save_steps": 20},
    SFT: {"logging_steps": 1, "save_steps": 100},
    REWARD: {"logging_steps": 1, "save_steps": 100},
    DPO: {"logging_steps": 1, "save_steps": 100},
    DISTILLATION: {"logging_steps": 1, "save_steps": 20},
}
"""Defaults of guerdon's stages that differ from TRL's."""

_EVALUATE = (
    "give the stage the key 'evaluation' next to its 'data', such as 'evaluation: {every: 20, data: [{use: …, "
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
            "delta",
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

LORA_RANGES: Mapping[str, dict[str, Any]] = {"r": _COUNT, "lora_alpha": _POSITIVE, "lora_dropout": _SHARE}

_NEVER_NULL = frozenset({"num_generations", "max_completion_length"})
"""Options that TRL annotates as optional but requires."""

_FILES = frozenset({"accelerator_config", "deepspeed", "fsdp_config"})
"""Options of mappings that may also be the path of a file with one."""


@cache
def trl_parameters(config: str) -> Sequence[inspect.Parameter]:
    """Return the options of a config as parameters of a stage; those of :data:`OWNED` are refused with their reasons.

    Args:
        config: The config: :data:`GRPO`, :data:`SFT` and so on.

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
    if "dict" in option.type and "str |" in option.type and option.name not in _FILES:
        kind = Union[dict[str, Any], None]  # noqa: UP007 - TRL's text is JSON for its command line
    limits: dict[str, Any] = dict(RANGES.get(option.name, {}))
    if "float" in option.type:
        limits["allow_inf_nan"] = False
    if option.name == "max_steps":
        kind = Annotated[kind, AfterValidator(_some_steps)]
    return Annotated[kind, Field(description=option.doc, **limits)]


def _some_steps(steps: int) -> int:
    if steps == 0:
        raise ValueError(
            "without a step the stage trains nothing; give 1 or more, or -1 for num_train_epochs"
        )
    return steps


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
