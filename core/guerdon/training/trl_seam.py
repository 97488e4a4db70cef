"""Every private member of TRL that the engine uses, with the part of guerdon that needs it.

Line numbers are those of ``trl/trainer/grpo_trainer.py`` in TRL 1.16.0. ``lacking`` checks all of them when a trainer
is built. If another version lacks one, the part that needs it is off, with one line in the log, and TRL's own code
runs. The batch that TRL hands to ``_compute_loss`` is a dict of ``prompt_ids``, ``prompt_mask``, ``completion_ids``,
``completion_mask``, ``advantages``, ``num_items_in_batch`` and, where they apply, ``tool_mask``,
``old_per_token_logps``, ``ref_per_token_logps``, ``sampling_per_token_logps`` and ``importance_sampling_ratio`` (2865
to 2935).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trl.trainer import grpo_trainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from guerdon.training.seam import Member, absences

OLD_LOGPS = "old_per_token_logps"
"""The batch's key of the log-probabilities before the update."""

METHODS = (
    Member("_compute_loss", "fused_loss", "makes a micro-batch's loss", 3020, ("model", "inputs")),
    Member(
        "_generate_and_score_completions",
        "lazy_importance_sampling",
        "makes the rollouts' batch, with old log-probabilities on one condition",
        2324,
        ("inputs",),
    ),
    Member(
        "_calculate_rewards",
        "skip_zero_variance",
        "gives the rewards of all processes",
        1579,
        ("inputs", "prompts", "completions", "completion_ids_list"),
    ),
    Member(
        "_generate_single_turn",
        "fast_rollouts",
        "samples the completions of prompts",
        1763,
        ("prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"),
    ),
    Member(
        "_tool_call_loop",
        "tools",
        "calls the tools of the first turn, and samples the next ones",
        1946,
        ("prompts", "prompt_ids", "completion_ids", "completions", "logprobs", "images", "multimodal_fields"),
    ),
    Member("_tokenize_prompts", "tools", "renders the prompts with their tools", 1689, ("prompts",)),
    Member("_get_train_sampler", "resumable_order", "gives the order of the prompts", 1280, ("dataset",)),
    Member("_log_metric", "rollout_records", "takes a reward function's own metric", 1565, ("name", "value")),
)
"""Methods that are overridden or called."""

ATTRIBUTES = (
    Member("_metrics", "fused_loss", "collects the metrics by mode and name", 1080),
    Member("_entropy_bonus_enabled", "fused_loss", "says whether the entropy bonus is on", 850),
    Member("_is_vlm", "fused_loss", "says whether the model reads images", 382),
    Member("num_generations", "skip_zero_variance", "is a group's size", 783),
    Member("_buffered_inputs", "lazy_importance_sampling", "holds the micro-batches of the rollouts", 951),
    Member(
        "vllm_importance_sampling_correction",
        "lazy_importance_sampling",
        "says whether the sampler's log-probabilities correct the loss",
        815,
    ),
    Member("reward_weights", "rollout_records", "weighs the rewards, and is read after they are there", 576),
    Member("_logs", "rollout_records", "has the advantages of the latest rollouts of all processes", 1088),
)
"""Attributes of a built trainer."""

KEPT = (
    Member("_step", "exact_resume", "counts the micro-batches", 948),
    Member("_buffered_inputs", "exact_resume", "holds the rollouts that later steps train on", 951),
    Member("_total_train_tokens", "exact_resume", "counts the tokens", 1081),
    Member("entropy_coef", "exact_resume", "is the entropy bonus, which may adapt", 846),
    Member("_last_world_entropy", "exact_resume", "decides whether the bonus applies", 853),
)
"""Attributes that hold state between two steps and are not saved. Other trainers than GRPO's have some of them."""

SAMPLER = (
    Member("shuffle", "resumable_order", "says whether the order is random", 0),
    Member("generator", "resumable_order", "draws it; made only where it is random", 0),
)
"""Attributes of ``trl.trainer.utils.RepeatSampler``."""

MODULE = (
    Member(
        "create_model_from_path",
        "reference_model",
        "loads the reference model from the policy's path",
        1003,
        ("model_id",),
    ),
)
"""Functions that TRL's module calls by name."""


def lacking(trainer: Any) -> dict[str, str]:
    """Return the parts of the engine that this version of TRL does not allow, with the reasons.

    Args:
        trainer: A built trainer.
    """
    attributes = (*ATTRIBUTES, *KEPT)
    return absences(GRPOTrainer, METHODS) | absences(trainer, attributes) | absences(grpo_trainer, MODULE)


def order_obstacle(sampler: Any) -> str | None:
    """Return why the order of TRL's own sampler cannot be reproduced, or ``None`` for another sampler."""
    if not isinstance(sampler, RepeatSampler):
        return None
    needed = SAMPLER if getattr(sampler, "shuffle", True) else SAMPLER[:1]
    problem = next(iter(absences(sampler, needed).values()), None)
    return problem and f"of TRL's sampler, {problem}"


@contextmanager
def without_old_logps(trainer: Any) -> Iterator[None]:
    """Skip TRL's pass over new rollouts for the old log-probabilities, and their use.

    TRL makes it (2643) unless ``gradient_accumulation_steps`` is a multiple of the steps that one generation lasts, or
    for the correction of vLLM's log-probabilities. Both are read nowhere else in this method.
    """
    args = trainer.args
    accumulated, correction = args.gradient_accumulation_steps, trainer.vllm_importance_sampling_correction
    args.gradient_accumulation_steps = args.steps_per_generation * trainer.num_iterations
    trainer.vllm_importance_sampling_correction = False
    try:
        yield
    finally:
        args.gradient_accumulation_steps = accumulated
        trainer.vllm_importance_sampling_correction = correction


@contextmanager
def reference_model(load: Callable[[], Any] | None) -> Iterator[None]:
    """Let TRL's constructor take its reference model from ``load``.

    TRL loads it from the policy's path alone (1003), without the revision and the options that the policy was loaded
    with.
    """
    module: Any = grpo_trainer
    own = getattr(module, "create_model_from_path", None)
    if load is None or own is None:
        yield
        return
    module.create_model_from_path = lambda *_, **__: load()
    try:
        yield
    finally:
        module.create_model_from_path = own
