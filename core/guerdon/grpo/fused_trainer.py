"""TRL's GRPOTrainer with the fused loss, and without computations that cannot change the gradient."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.errors import UsageError
from guerdon.grpo.layout import flat_obstacle, has_dropout
from guerdon.grpo.micro_batch import MicroBatch, StepOptions, add_fused_loss, head_scales, join, make_parts
from guerdon.grpo.step_metrics import collect
from guerdon.kernels import LossResult, LossSpec, Tokens
from guerdon.options.conflicts import budget_refused, whole_micro_batch
from guerdon.training import trl_seam
from guerdon.training.finite import not_finite
from guerdon.training.trl_seam import OLD_LOGPS

logger = logging.getLogger(__name__)

_GLOBALLY_NORMALIZED = ("cispo", "dapo", "vespo")


class FusedGRPOTrainer(GRPOTrainer):
    """TRL's trainer, faster.

    Settings that the fused step does not support are trained with TRL's own loss, after one line in the log. Metrics of
    the step (entropy, clipping) cover the trained tokens, without skipped ones.

    Args:
        *args: As for TRL's trainer.
        step_options: Which parts of the step are on; by default all.
        load_reference: Loads the reference model for ``beta``; by default TRL does, from the policy's path.
        **kwargs: As for TRL's trainer.

    Raises:
        UsageError: ``max_tokens_per_micro_batch`` is set, and the micro-batch cannot be split.
    """

    def __init__(
        self,
        *args: Any,
        step_options: StepOptions | None = None,
        load_reference: Callable[[], PreTrainedModel] | None = None,
        **kwargs: Any,
    ) -> None:
        with trl_seam.reference_model(load_reference):
            super().__init__(*args, **kwargs)
        self._rewards = torch.empty(0)
        self._fused = self._lazy = self._skips = self._flat = self._takes_positions = False
        self._told_of_long = False
        self._lacking = trl_seam.lacking(self)
        for part, problem in self._lacking.items():
            logger.warning("%s is off, TRL's own way is taken: in this version of TRL, %s", part, problem)
        self._options = step_options or StepOptions()
        off = {part: False for part in self._lacking if hasattr(self._options, part)}
        self._options = replace(self._options, **off)
        if self._options.fused_loss:
            self._set_up_step()
        else:
            self._check_budget("fused_loss is off, and TRL's own loss takes the whole micro-batch")

    def _set_up_step(self) -> None:
        policy: Any = self.accelerator.unwrap_model(self.model)
        policy = policy.get_base_model() if hasattr(policy, "get_base_model") else policy
        reason = self._fused_obstacle(policy)
        if reason is not None:
            self._check_budget(f"{reason}, for which TRL's own loss takes the whole micro-batch")
            logger.warning("TRL's own loss is used: %s", reason)
            return
        args: Any = self.args
        self._check_budget(whole_micro_batch(str(args.optim)))
        self._takes_positions = "position_ids" in inspect.signature(policy.base_model.forward).parameters
        self._spec = self._loss_spec(policy)
        flat_reason = self._flat_obstacle(policy)
        if self._options.pack_sequences and flat_reason is not None:
            logger.warning("micro-batches are padded: %s", flat_reason)
        self._flat = self._options.pack_sequences and flat_reason is None
        # A completion without an advantage has no gradient, unless the loss has another term.
        self._skips = self.beta == 0 and not self._entropy_bonus_enabled and self.top_entropy_quantile == 1
        if has_dropout(policy):
            # With dropout, completions of one prompt draw separate masks. A padded batch with all rows draws TRL's
            # masks.
            self._options = replace(self._options, share_prefix=False)
            self._skips = self._skips and self._flat
        add_fused_loss(policy, flat=self._flat)
        self._fused = True
        self._lazy = self._options.lazy_importance_sampling
        if self._lazy:
            self.add_callback(_BeforeUpdate(self._compute_old_logps))

    def _check_budget(self, reason: str | None) -> None:
        if self._options.max_tokens_per_micro_batch is not None and reason is not None:
            raise UsageError(budget_refused(reason))

    def _flat_obstacle(self, policy: Any) -> str | None:
        args: Any = self.args
        if args.use_transformers_continuous_batching:
            return "continuous batching brings an attention of its own"
        reason = flat_obstacle(policy)
        return reason and f"of the model, {reason}"

    def _fused_obstacle(self, policy: Any) -> str | None:
        args: Any = self.args
        if self._is_vlm:
            return "the model reads images"
        if type(policy.get_output_embeddings()) is not nn.Linear:
            return "the model's head is not a plain linear layer"
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return "the model is sharded"
        if args.torch_compile:
            return "torch_compile is set"
        if self.aux_loss_enabled:
            return "the model has an auxiliary loss for its experts"
        if self.use_adaptive_entropy:
            return "use_adaptive_entropy is set"
        if args.cast_lm_head_to_fp32:
            return "cast_lm_head_to_fp32 is set"
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
        assert self.model is not None
        lazy = self._lazy and self.model.training
        with trl_seam.without_old_logps(self) if lazy else nullcontext():
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._skips and self._options.skip_zero_variance and self._by_group():
            constant = self._constant_groups()
            start = self.accelerator.process_index * len(inputs)
            output["advantages"] = output["advantages"].masked_fill(constant[start : start + len(inputs)], 0)
        return output

    @torch.no_grad()
    def _compute_old_logps(self) -> None:
        """Compute old log-probabilities for the buffered micro-batches before an optimizer step.

        These are the micro-batches that this update did not train on.
        """
        model: Any = self.model
        micro_batches: list[dict[str, Any]] = self._buffered_inputs or []
        for inputs in micro_batches:
            if OLD_LOGPS not in inputs:
                parts = self._make_parts(inputs)
                with self.accelerator.autocast():
                    results: list[LossResult] = [model(grpo_step=part) for part in parts]
                _, places, result = join(parts, results)
                _note_old_logps(inputs, places, result)

    def _by_group(self) -> bool:
        """Return whether equal rewards in a group mean no advantage. TRL's advantages are then 0 up to rounding."""
        return self.multi_objective_aggregation == "sum_then_normalize"

    def _constant_groups(self) -> Tensor:
        """Return whether all rewards of a rollout's group are equal, for the rollouts of all processes.

        The comparison is exact. Equal values have equal sums. TRL trains on any difference that remains in float32,
        even a
        very small one.
        """
        assert self.model is not None
        size = self.num_generations if self.model.training else self.num_generations_eval
        assert size is not None
        unscored = self._rewards.isnan()
        high = self._rewards.masked_fill(unscored, -torch.inf).view(-1, size).amax(1)
        low = self._rewards.masked_fill(unscored, torch.inf).view(-1, size).amin(1)
        return (high <= low).repeat_interleave(size)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        assert self.model is not None
        if not (self._fused and self.model.training):
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
            self._check_finite(self.accelerator.gather(loss.detach()).sum().item())
            return loss
        parts = self._make_parts(inputs)
        if self.top_entropy_quantile < 1 and (len(parts) > 1 or self.accelerator.num_processes > 1):
            parts = self._choose(inputs, parts)
        *first, last = parts
        results = [self._backpropagate(model, part) for part in first]
        with self.accelerator.autocast():
            results.append(model(grpo_step=last))
        tokens, places, result = join(parts, results)
        self._log_step(tokens, result)
        if self._lazy and OLD_LOGPS not in inputs:
            _note_old_logps(inputs, places, result)
        return result.loss

    @torch.no_grad()
    def _choose(self, inputs: dict[str, Any], parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the parts with the tokens that ``top_entropy_quantile`` trains.

        The quantile is that of the whole micro-batches of all processes, so a pass without gradients comes first.
        """
        assert self.model is not None
        # The passes with gradients draw the same dropout masks, as TRL has one pass for both.
        with torch.random.fork_rng(range(torch.cuda.device_count())), self.accelerator.autocast():
            results: list[LossResult] = [self.model(grpo_step=part) for part in parts]
        _, places, result = join(parts, results)
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        # TRL's entropies are float32, and their rounding decides the tokens exactly at the threshold.
        entropy = _padded(mask, places, result.entropy.float())
        chosen = self.get_high_entropy_mask(entropy, mask, 1 - self.top_entropy_quantile).flatten()
        share = self._entropy_share(chosen)

        def choose(tokens: Tokens, places: Tensor) -> Tokens:
            weight = tokens.entropy_weight
            weight = None if weight is None else share.expand_as(weight)
            return replace(tokens, chosen=chosen[places], entropy_weight=weight)

        return [replace(part, tokens=choose(part.tokens, part.places)) for part in parts]

    def _entropy_share(self, mask: Tensor) -> Tensor:
        """Return a token's weight in the entropy bonus, which is a mean over the tokens of a mask."""
        return self.entropy_coef / mask.sum().clamp(min=1) / self.current_gradient_accumulation_steps

    def _backpropagate(self, model: Any, part: MicroBatch) -> LossResult:
        """Add a part's gradients to the weights'. Processes synchronise them in the backward pass of the last part.

        transformers' ``training_step`` calls that one. It calls ``accelerator.backward`` too and scales the loss in no
        other way, so the parts have one scale.
        """
        with self.accelerator.no_sync(model):
            with self.accelerator.autocast():
                result: LossResult = model(grpo_step=part)
            self.accelerator.backward(result.loss)
        return result._replace(loss=result.loss.detach())

    def _make_parts(self, inputs: dict[str, Any]) -> list[MicroBatch]:
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        if self.entropy_coef:
            inputs = {**inputs, "entropy_weight": self._entropy_share(mask).expand(mask.shape)}
        weights = self._loss_weights(mask, inputs)
        parts = make_parts(
            inputs,
            weights,
            self._spec,
            self._options,
            flat=self._flat,
            skip=self._skips,
            positions=self._takes_positions,
        )
        budget, most = self._options.max_tokens_per_micro_batch, max(part.size for part in parts)
        if budget is not None and most > budget and not self._told_of_long:
            self._told_of_long = True
            logger.warning(
                "step %d has a completion that takes %d tokens with its prompt, more than max_tokens_per_micro_batch "
                "%d: such completions go through the model alone. This line is not repeated.",
                self.state.global_step + 1, most, budget,
            )  # fmt: skip
        return parts

    def _loss_weights(self, mask: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Return each token's weight [rows, longest]. TRL's loss types differ in it, besides the clipping."""
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
            # The count covers the generation batch; the normalizer is one update's share of it.
            args: Any = self.args
            updates = args.steps_per_generation / accumulated
            count = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
            weights = updates / count
        return weights.to(mask.device).expand(mask.shape)

    def _log_step(self, tokens: Tokens, result: LossResult) -> None:
        policy_scale = None
        if self._entropy_bonus_enabled:
            own = self.loss_type in _GLOBALLY_NORMALIZED
            policy_scale = 1.0 if own else float(self.current_gradient_accumulation_steps)
        collected = collect(
            self._spec,
            tokens,
            result,
            policy_scale=policy_scale,
            sampling_mode=self.vllm_importance_sampling_mode,
        )
        values = collected.join(self.accelerator.gather)
        self._check_finite(values.pop("loss"))
        metrics = self._metrics["train"]
        for name, value in values.items():
            metrics[name].append(value)
        if self._entropy_bonus_enabled and self.accelerator.sync_gradients:
            metrics["entropy_coef"].append(self.entropy_coef)

    def _check_finite(self, loss: float) -> None:
        """Raise in all processes if the loss of one is not finite."""
        if not math.isfinite(loss):
            raise not_finite(self.state.global_step + 1, f"it is {loss}")


class _BeforeUpdate(TrainerCallback):
    """Calls a function before each update of the weights."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._function()


def _note_old_logps(inputs: dict[str, Any], places: Tensor, result: LossResult) -> None:
    """Store a micro-batch's log-probabilities under TRL's key, for when it is trained on again."""
    inputs[OLD_LOGPS] = _padded(inputs["completion_mask"], places, result.logp)


def _padded(like: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Return the values of tokens at their places in a padded tensor, and 0 elsewhere."""
    return values.new_zeros(like.numel()).index_copy(0, places, values).view(like.shape)
