"""TRL's GRPOTrainer with the fused loss and without the work that cannot change the gradient."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import nanmax, nanmin

from guerdon.grpo.layout import flat_obstacle
from guerdon.grpo.step import Step, StepOptions, add_fused_loss, head_scales, make_step
from guerdon.kernels import LossResult, LossSpec, Tokens, token_terms
from guerdon.kernels.objective import CLIPPED

logger = logging.getLogger(__name__)

_GLOBALLY_NORMALIZED = ("cispo", "dapo", "vespo")
_OLD_LOGPS = "old_per_token_logps"
_EQUAL_REWARDS = 1e-6
"""Rewards of a group this close, relative to the largest, count as equal: they differ by rounding."""


class FusedGRPOTrainer(GRPOTrainer):
    """TRL's trainer, faster.

    What the fused step does not cover is trained with TRL's own loss, after one line in the log. Metrics of the step
    (entropy, clipping) are over the tokens that are trained on, without those that are skipped.

    Args:
        *args: As for TRL's trainer.
        step_options: Which parts of the step are on; by default all.
        **kwargs: As for TRL's trainer.
    """

    def __init__(self, *args: Any, step_options: StepOptions | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = step_options or StepOptions()
        self._rewards = torch.empty(0)
        self._fused = self._lazy = False
        self._leaves_out_next_logps = False
        if not self._options.fused_loss:
            return
        policy: Any = self.accelerator.unwrap_model(self.model)
        policy = policy.get_base_model() if hasattr(policy, "get_base_model") else policy
        reason = self._fused_obstacle(policy)
        if reason is not None:
            logger.warning("TRL's own loss is used: %s", reason)
            return
        self._spec = self._loss_spec(policy)
        flat_reason = flat_obstacle(policy)
        if self._options.pack_sequences and flat_reason is not None:
            logger.warning("micro-batches are padded: of the model, %s", flat_reason)
        self._flat = self._options.pack_sequences and flat_reason is None
        # A completion without an advantage has no gradient, if nothing but the advantage makes one.
        self._skips = self.beta == 0 and not self._entropy_bonus_enabled and self.top_entropy_quantile == 1
        add_fused_loss(policy)
        self._fused = True
        self._lazy = self._options.lazy_importance_sampling
        if self._lazy:
            self.add_callback(_BeforeUpdate(self._compute_old_logps))

    def _fused_obstacle(self, policy: Any) -> str | None:
        args: Any = self.args
        if self._is_vlm:
            return "the model reads images"
        if type(policy.get_output_embeddings()) is not nn.Linear:
            return "the model's head is not a plain linear layer"
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return "the model is sharded"
        if self.aux_loss_enabled:
            return "the model has an auxiliary loss for its experts"
        if self.use_adaptive_entropy:
            return "use_adaptive_entropy is set"
        if args.cast_lm_head_to_fp32:
            return "cast_lm_head_to_fp32 is set"
        if self.top_entropy_quantile < 1 and self.accelerator.num_processes > 1:
            return "top_entropy_quantile looks at the tokens of all processes"
        return None

    def _loss_spec(self, policy: Any) -> LossSpec:
        args: Any = self.args
        same = (
            "sapo_temperature_pos",
            "sapo_temperature_neg",
            "vespo_k_pos",
            "vespo_lambda_pos",
            "vespo_k_neg",
            "vespo_lambda_neg",
            "delta",
            "use_bias_correction_kl",
            "loss_type",
            "importance_sampling_level",
            "epsilon",
            "epsilon_high",
            "beta",
            "off_policy_mask_threshold",
            "top_entropy_quantile",
            "temperature",
            "vllm_importance_sampling_clip_min",
            "vllm_importance_sampling_clip_max",
        )
        options: dict[str, Any] = {name: getattr(args, name) for name in same}
        if self.use_vllm and self.vllm_importance_sampling_correction:
            options["vllm_importance_sampling_mode"] = self.vllm_importance_sampling_mode
        return LossSpec(**options, **head_scales(policy.config.get_text_config()))

    def _calculate_rewards(self, *args: Any) -> Tensor:
        matrix: Tensor = super()._calculate_rewards(*args)
        weights = self.reward_weights.to(matrix)
        self._rewards = (matrix * weights).nansum(1).masked_fill(matrix.isnan().all(1), torch.nan)
        return matrix

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        with self._without_old_logps():
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._fused and self._skips and self._options.skip_zero_variance and self._by_group():
            constant = self._constant_groups()
            start = self.accelerator.process_index * len(inputs)
            output["advantages"] = output["advantages"].masked_fill(constant[start : start + len(inputs)], 0)
        return output

    @contextmanager
    def _without_old_logps(self) -> Iterator[None]:
        """Keep TRL from its pass over new rollouts for the old log-probabilities, and from what it makes of them."""
        assert self.model is not None
        if not (self._lazy and self.model.training):
            yield
            return
        correction = self.vllm_importance_sampling_correction
        args: Any = self.args
        on_policy = args.gradient_accumulation_steps % (args.steps_per_generation * self.num_iterations) == 0
        self._leaves_out_next_logps, self.vllm_importance_sampling_correction = not on_policy, False
        try:
            yield
        finally:
            self._leaves_out_next_logps, self.vllm_importance_sampling_correction = False, correction

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        if self._leaves_out_next_logps:  # the old ones come first, those of a reference model second
            self._leaves_out_next_logps = False
            return None, None, None
        return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    @torch.no_grad()
    def _compute_old_logps(self) -> None:
        """Before the weights change, note what they make of the rollouts that have not been trained on."""
        model: Any = self.model
        micro_batches: list[dict[str, Any]] = self._buffered_inputs or []
        for inputs in micro_batches:
            if _OLD_LOGPS not in inputs:
                step = self._make_step(inputs)
                with self.accelerator.autocast():
                    _note_old_logps(inputs, step, model(grpo_step=step))

    def _by_group(self) -> bool:
        """Whether equal rewards in a group mean no advantage; TRL's advantages are 0 up to rounding then."""
        return self.multi_objective_aggregation == "sum_then_normalize"

    def _constant_groups(self) -> Tensor:
        """Whether all rewards of a rollout's group are equal, for the rollouts of all processes."""
        assert self.model is not None
        size = self.num_generations if self.model.training else self.num_generations_eval
        assert size is not None
        unscored = self._rewards.isnan()
        high = self._rewards.masked_fill(unscored, -torch.inf).view(-1, size).amax(1)
        low = self._rewards.masked_fill(unscored, torch.inf).view(-1, size).amin(1)
        return (high - low <= _EQUAL_REWARDS * high.abs().clamp(min=1)).repeat_interleave(size)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        assert self.model is not None
        if not (self._fused and self.model.training):
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
            return loss
        step = self._make_step(inputs)
        with self.accelerator.autocast():
            result: LossResult = model(grpo_step=step)
        self._log_step(step, result)
        if self._lazy and _OLD_LOGPS not in inputs:
            _note_old_logps(inputs, step, result)
        return result.loss

    def _make_step(self, inputs: dict[str, Any]) -> Step:
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        if self.entropy_coef:
            share = self.entropy_coef / mask.sum().clamp(min=1) / self.current_gradient_accumulation_steps
            inputs = {**inputs, "entropy_weight": share.expand(mask.shape)}
        weights = self._loss_weights(mask, inputs)
        return make_step(inputs, weights, self._spec, self._options, flat=self._flat, skip=self._skips)

    def _loss_weights(self, mask: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Each token's weight [rows, longest], by which TRL's loss types differ beside the clipping."""
        rows = len(mask)
        accumulated = self.current_gradient_accumulation_steps
        if self.loss_type in ("grpo", "sapo"):
            weights = 1 / (mask.sum(1, keepdim=True).clamp(min=1) * rows * accumulated)
        elif self.loss_type == "bnpo":
            weights = 1 / (mask.sum().clamp(min=1) * accumulated)
        elif self.loss_type == "dr_grpo":
            assert self.max_completion_length is not None
            weights = torch.ones(()) / (rows * self.max_completion_length * accumulated)
        elif self.loss_type == "luspo":
            weights = torch.ones(()) / (rows * accumulated)
        else:
            # The count is the generation batch's; the share of it that one update takes is its normalizer.
            args: Any = self.args
            updates = args.steps_per_generation / accumulated
            count = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
            weights = updates / count
        return weights.to(mask.device).expand(mask.shape)

    @torch.no_grad()
    def _log_step(self, step: Step, result: LossResult) -> None:
        metrics = self._metrics["train"]
        tokens = step.tokens
        terms = token_terms(self._spec, result.logp, result.entropy, tokens)
        sequences = _SequenceMeans(tokens.sequence)
        # TRL means sequence-level values over sequences, token-level ones over tokens.
        by_sequence = self.importance_sampling_level == "sequence"

        def mean(values: Tensor, per_sequence: bool) -> float:
            values = sequences.of(values) if per_sequence else values
            total = torch.stack([values.sum(), values.new_tensor(len(values))])
            total = self.accelerator.reduce(total, reduction="sum")
            return float(total[0] / total[1].clamp(min=1))

        if self._entropy_bonus_enabled:
            bonus = 0.0 if tokens.entropy_weight is None else (result.entropy * tokens.entropy_weight).sum()
            policy_loss = result.loss.detach() + bonus
            if self.loss_type not in _GLOBALLY_NORMALIZED:
                policy_loss = policy_loss * self.current_gradient_accumulation_steps
            metrics["policy_loss"].append(self.accelerator.gather(policy_loss).nanmean().item())
            if self.accelerator.sync_gradients:
                metrics["entropy_coef"].append(self.entropy_coef)
        if terms.kl is not None:
            metrics["kl"].append(mean(terms.kl, per_sequence=False))
        metrics["entropy"].append(mean(result.entropy, per_sequence=False))
        if self.loss_type in CLIPPED:
            ratio = terms.ratio if self._spec.delta is None else terms.ratio.clamp(max=self._spec.delta)
            low = ((ratio < 1 - self._spec.epsilon) & (tokens.advantage < 0)).float()
            high = ((ratio > 1 + self._spec.clip_high) & (tokens.advantage > 0)).float()
            metrics["clip_ratio/low_mean"].append(mean(low, by_sequence))
            metrics["clip_ratio/high_mean"].append(mean(high, by_sequence))
            metrics["clip_ratio/region_mean"].append(mean(low + high, by_sequence))
            # Each process has sequences of its own number, maybe none, and gathering takes one shape from all.
            nothing = low.new_full((1,), torch.nan)
            least = nanmin(torch.cat([sequences.of(low), nothing]))
            most = nanmax(torch.cat([sequences.of(high), nothing]))
            least, most = (self.accelerator.gather(value) for value in (least, most))
            if not least.isnan().all():
                metrics["clip_ratio/low_min"].append(nanmin(least).item())
                metrics["clip_ratio/high_max"].append(nanmax(most).item())
        elif self.loss_type == "cispo":
            clipped = ((terms.ratio > self._spec.clip_high) & (tokens.advantage > 0)).float()
            metrics["cispo_clip_ratio"].append(mean(clipped, by_sequence))
        elif terms.phi is not None:
            metrics["vespo/phi_seq_mean"].append(mean(terms.phi, per_sequence=True))
        if terms.is_ratio is not None and tokens.is_ratio is None:  # else TRL made it, and has logged it
            self._log_sampler(tokens, result.logp, terms.is_ratio)

    def _log_sampler(self, tokens: Tokens, logp: Tensor, is_ratio: Tensor) -> None:
        """How far the sampler is from the policy, under TRL's names."""
        assert tokens.sampling_logp is not None
        gap = ((logp if tokens.old_logp is None else tokens.old_logp) - tokens.sampling_logp).abs()
        gap = gap[~gap.isnan()]
        if "sequence" in self.vllm_importance_sampling_mode:
            is_ratio = _SequenceMeans(tokens.sequence).of(is_ratio)
        nothing = logp.new_zeros(1)
        gap, is_ratio = (values if len(values) else nothing for values in (gap, is_ratio))
        for name, value, over_processes in (
            ("sampling_logp_difference/mean", gap.mean(), torch.mean),
            ("sampling_logp_difference/max", gap.max(), torch.max),
            ("importance_sampling_ratio/min", is_ratio.min(), torch.min),
            ("importance_sampling_ratio/mean", is_ratio.mean(), torch.mean),
            ("importance_sampling_ratio/max", is_ratio.max(), torch.max),
        ):
            gathered = over_processes(self.accelerator.gather(value))
            self._metrics["train"][f"sampling/{name}"].append(gathered.item())


class _BeforeUpdate(TrainerCallback):
    """Calls a function before each update of the weights."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._function()


def _note_old_logps(inputs: dict[str, Any], step: Step, result: LossResult) -> None:
    """Keep a micro-batch's log-probabilities where TRL keeps them, for when it is trained on again."""
    shape = inputs["completion_mask"].shape
    inputs[_OLD_LOGPS] = (
        result.logp.new_zeros(shape.numel()).index_copy(0, step.places, result.logp).view(shape)
    )


class _SequenceMeans:
    """Means over the tokens of each sequence."""

    def __init__(self, sequence: Tensor) -> None:
        _, self._number, self._count = torch.unique_consecutive(
            sequence, return_inverse=True, return_counts=True
        )

    def of(self, values: Tensor) -> Tensor:
        """One mean for each sequence that has tokens."""
        means: Tensor = values.new_zeros(len(self._count)).index_add(0, self._number, values) / self._count
        return means
