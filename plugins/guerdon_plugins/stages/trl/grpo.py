"""GRPO: trains a model on the rewards of a rubric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import ParamsError, UsageError
from guerdon.models import load_model, load_tokenizer
from guerdon.options.conflicts import check_lora, check_options, check_token_budget
from guerdon.options.trl import GRPO
from guerdon_plugins.shared.checks import (
    check_all,
    check_batch,
    check_columns_of_few_values,
    check_evaluation,
    check_lengths,
    check_prompts,
    check_template,
    check_tool_prompts,
    check_tool_template,
)
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.shared.vocabulary import check_vocabularies
from guerdon_plugins.stages.trl.prompts import Prompts
from guerdon_plugins.stages.trl.quantized import check_quantized
from guerdon_plugins.stages.trl.teacher import check_teacher, open_teacher
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    check_has_template,
    evaluation_batch,
    evaluation_summary,
    keep_completions,
    lora_config,
    reward_summary,
    signature_with,
    take_model_options,
    tracker_options,
    train,
)

DynamicSampling = Annotated[
    Mapping[Literal["max_rounds"], Annotated[int, Field(ge=1)]],
    Field(min_length=1),
]
"""The bound of dynamic sampling."""


class Grpo:
    """Trains a model by group relative policy optimization (DeepSeekMath, arXiv:2402.03300), on TRL's trainer.

    ``init`` names the policy. A second model is the reference of ``beta``, such as a teacher: the rewards are then
    added to the distillation of the teacher on the policy's own completions. Otherwise the reference is the policy at
    the start.

    Every option of TRL's GRPOConfig is a param under TRL's name, except those that the run decides.

    Args:
        chat_template: A Jinja template, instead of the tokenizer's own.
        fast_rollouts: Whether guerdon's own loop samples small models on CPU if it supports them, instead of
            transformers' generate. The distribution is the same.
        fused_loss: Whether the head and the loss are fused, with gradients computed in the forward pass. If off, TRL's
            own loss is used, and the next four are off too. Each of them is exact.
        pack_sequences: Whether micro-batches go through the model without padding.
        share_prefix: Whether a group's prompt goes through the model once.
        skip_zero_variance: Whether completions that cannot change the gradient, such as those of a group whose
            rewards are equal, are left out.
        lazy_importance_sampling: Whether old log-probabilities come from the training forward for on-policy rollouts,
            instead of a pass over all rollouts.
        max_tokens_per_micro_batch: The most tokens that go forward and backward at once, prompts and padding included.
            A micro-batch with more goes in parts, with the same loss, gradients and metrics. A longer completion goes
            alone.
        supervision: ``process`` gives each token the advantage of the steps that end at or after it, by the spans of
            scores (DeepSeekMath, section 4.1.3). ``outcome`` gives a completion's tokens one advantage.
        dynamic_sampling: ``{max_rounds: 4}``: groups of equal rewards are replaced by groups of fresh prompts, in at
            most so many further rounds for each batch (DAPO, arXiv:2503.14476).
        metrics_by: A column of the data, or several: the reward and each entry's mean are also logged for each of its
            values, as ``task=math/reward``.
        curriculum_by: A column of the data with a few values, such as the level. Prompts are drawn more often from the
            values whose groups had rewards that differ lately. It needs ``max_steps``.
        streaming: Whether the rows are read while the stage trains, instead of before, so that they are never all in
            memory. It needs ``max_steps``. With ``shuffle_dataset``, the order is random within each 1,000 rows.
        reference_endpoint: The reference model of ``beta``, served by vLLM, such as a teacher: ``base_url``, ``model``,
            ``api_key_env``, ``concurrency``, ``max_retries``, ``timeout_s``.
        rollout_func: A function that samples the completions itself, as TRL's ``rollout_func``:
            ``package.module:function`` or ``./file.py:function``. Its other fields are columns of the rollouts.
        peft: The options of a ``peft.LoraConfig``: trains adapters, which are merged into the checkpoint at the end.
    """

    needs = ("model", "data", "rewards")
    distributed = True
    uses_tools = True
    evaluates = True
    operational_params = OPERATIONAL
    extendable_params = EXTENDABLE

    def __init__(
        self,
        *,
        chat_template: ChatTemplate | None = None,
        peft: Mapping[str, Any] | None = None,
        fast_rollouts: bool = True,
        fused_loss: bool = True,
        pack_sequences: bool = True,
        share_prefix: bool = True,
        skip_zero_variance: bool = True,
        lazy_importance_sampling: bool = True,
        max_tokens_per_micro_batch: Annotated[int, Field(ge=1)] | None = None,
        supervision: Literal["outcome", "process"] = "outcome",
        dynamic_sampling: DynamicSampling | None = None,
        metrics_by: str | Sequence[str] = (),
        curriculum_by: str | None = None,
        streaming: bool = False,
        reference_endpoint: Mapping[str, Any] | None = None,
        rollout_func: str | None = None,
        base_dir: Path | None = None,
        **trl_options: Any,
    ) -> None:
        self._chat_template = chat_template
        self._peft = peft
        self._fast_rollouts = fast_rollouts
        self._step_options: dict[str, Any] = {
            "fused_loss": fused_loss,
            "pack_sequences": pack_sequences,
            "share_prefix": share_prefix,
            "skip_zero_variance": skip_zero_variance,
            "lazy_importance_sampling": lazy_importance_sampling,
            "max_tokens_per_micro_batch": max_tokens_per_micro_batch,
        }
        self._supervision = supervision
        self._max_rounds = dynamic_sampling["max_rounds"] if dynamic_sampling else 0
        self._prompts = Prompts(streaming, curriculum_by, dynamic=self._max_rounds > 0)
        self._metrics_by = [metrics_by] if isinstance(metrics_by, str) else list(metrics_by)
        self._endpoint = None if reference_endpoint is None else Endpoint.from_params(reference_endpoint)
        self._rollout_func = rollout_func
        self._base_dir = base_dir
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, GRPO)

    def preflight(
        self,
        rows: Sequence[Row],
        count: int | None,
        models: Sequence[Model],
        tools: Sequence[str] = (),
        evaluation_rows: Sequence[Row] = (),
        init: Sequence[str] = (),
    ) -> None:
        """Check the options, the prompts and the model, before a model is loaded."""
        check_all(
            lambda: check_options(GRPO, self._options),
            lambda: check_token_budget(
                self._step_options["max_tokens_per_micro_batch"],
                self._options,
                fused_loss=self._step_options["fused_loss"],
            ),
            lambda: check_lora(self._peft or {}),
            lambda: check_quantized(models, self._options, self._peft),
            lambda: self._check_reference(init),
            lambda: check_teacher(self._endpoint, models),
            lambda: check_prompts(rows),
            lambda: check_columns_of_few_values("metrics_by", self._metrics_by, rows),
            lambda: self._prompts.check_rows(rows),
            lambda: check_tool_prompts(rows, tools),
            lambda: check_tool_template(models, self._chat_template, tools),
            lambda: self._check_dynamic(tools),
            lambda: self._prompts.check(self._options),
            lambda: self._check_rollout_func(tools),
            lambda: check_batch(count, self._options, fresh=self._max_rounds > 0),
            lambda: check_template(rows, models, self._chat_template),
            lambda: check_lengths(rows, models, self._options.get("max_completion_length", 512)),
            lambda: check_evaluation(
                evaluation_rows, models, self._options.get("max_completion_length", 512)
            ),
            lambda: check_tool_prompts(evaluation_rows, tools),
            lambda: check_template(evaluation_rows, models, self._chat_template),
        )

    def _check_reference(self, init: Sequence[str]) -> None:
        if len(init) > 2:
            raise UsageError(
                f"init names {len(init)} models ({', '.join(init)}), and the stage takes 1 or 2: the policy, and the "
                "reference model of beta."
            )
        if len(init) == 2 and self._endpoint:
            raise UsageError(
                f"init names '{init[1]}' as the reference model, and reference_endpoint names another one. Leave out "
                "one of the two."
            )
        if len(init) == 2:
            self._check_second_model(f"init names '{init[1]}' as")
        if self._endpoint:
            self._check_second_model("reference_endpoint names")
            if (temperature := self._options.get("temperature", 1.0)) != 1.0:
                raise ParamsError(
                    f"temperature is {temperature}, and the reference model is at an endpoint, which gives the "
                    "probabilities of temperature 1. Leave temperature out."
                )
        if self._peft is not None and self._options.get("sync_ref_model"):
            raise ParamsError(
                "sync_ref_model is true, and peft is set: the reference model of adapters is the model without them, "
                "which stays as it is. Leave out one of the two."
            )

    def _check_second_model(self, given: str) -> None:
        if not self._options.get("beta"):
            raise ParamsError(
                f"{given} the reference model, and beta is 0, which uses none. Set beta above 0, such as 0.1, or leave "
                "out the reference model."
            )
        for other in ("peft", "sync_ref_model"):
            if self._peft if other == "peft" else self._options.get(other):
                raise ParamsError(
                    f"{given} the reference model, and {other} is set, which makes another one of the policy. Leave "
                    "out one of the two."
                )

    def _check_dynamic(self, tools: Sequence[str]) -> None:
        if self._max_rounds and tools:
            raise ParamsError(
                "dynamic_sampling is set, and the stage has tools or environments, which begin before a batch is "
                "sampled. Leave out one of the two."
            )

    def _check_rollout_func(self, tools: Sequence[str]) -> None:
        if self._rollout_func is None:
            return
        for name, given in (("dynamic_sampling", self._max_rounds), ("tools or environments", tools)):
            if given:
                raise ParamsError(
                    f"rollout_func is set, and the stage has {name}: the function samples the whole rollout. "
                    "Leave out one of the two."
                )
        self._load_rollout_func()

    def _load_rollout_func(self) -> Any:
        if self._rollout_func is None:
            return None
        from guerdon.sampling.rollout_function import RolloutFunction

        return RolloutFunction(self._rollout_func, self._base_dir)

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the bytes of each part on each device: while rollouts are generated, and in an update."""
        from guerdon.grpo import StepOptions
        from guerdon.grpo.planning import plan_memory

        self._check_reference([model.name for model in models])
        # A reference model at an endpoint takes no memory here.
        options = {**self._options, "beta": 0.0} if self._endpoint else self._options
        return plan_memory(
            models,
            options,
            StepOptions(**self._step_options),
            lora_config(self._peft),
            prompt_tokens=prompt_tokens,
            device_bytes=device_bytes,
            processes=processes,
        )

    def run(self, context: StageContext) -> StageResult:
        """Train ``context.models``'s first on ``context.rows()`` with ``context``'s rubric."""
        from guerdon.grpo import StepOptions
        from guerdon.grpo.config import grpo_config
        from guerdon.training.tool_dialect import prepare_tokenizer

        self._check_reference([model.name for model in context.models])
        self._prompts.check(self._options)
        policy, *references = context.models
        options = {**tracker_options(context), **evaluation_batch(self._options), **self._options}
        config = grpo_config(options, context.work, context.seed)
        if config.log_completions and context.logs is not None:
            keep_completions(context.work, context.logs)
        source, model_options = take_model_options(config, policy)
        tokenizer = load_tokenizer(source, chat_template=self._chat_template)
        dataset, curriculum = self._prompts.dataset(context.rows, config)
        if not isinstance(dataset[0]["prompt"], str):
            check_has_template(tokenizer, source, "prompts")
        load = partial(load_model, source, training=True, **model_options)
        with (
            self._open_reference(policy, tokenizer, references, load) as (trainer_class, reference),
            context.open_rubric() as rubric,
            context.open_tools() as toolbox,
        ):
            if toolbox is not None:
                prepare_tokenizer(tokenizer, source.name)
            trainer = trainer_class(
                load(),
                rubric,
                config,
                dataset,
                tokenizer,
                log_rollouts=context.log_rollouts,
                fast_rollouts=self._fast_rollouts,
                supervision=self._supervision,
                max_rounds=self._max_rounds,
                curriculum=curriculum,
                metrics_by=self._metrics_by,
                step_options=StepOptions(**self._step_options),
                peft_config=lora_config(self._peft),
                toolbox=toolbox,
                rollout_func=self._load_rollout_func(),
                **reference,
            )
            train(trainer, context, answer=trainer.answer, metrics_by=self._metrics_by)
        metrics = {**reward_summary(trainer.state.log_history), **evaluation_summary(trainer)}
        return StageResult(checkpoint=context.output, metrics=metrics)

    @contextmanager
    def _open_reference(
        self, policy: Model, tokenizer: Any, references: Sequence[Model], load: Callable[[], Any]
    ) -> Iterator[tuple[type[Any], dict[str, Any]]]:
        """Yield the trainer's class and its argument for the reference model; ``load`` loads the policy."""
        from guerdon.grpo import RubricGRPOTrainer

        if self._endpoint is not None:
            from guerdon_plugins.stages.trl.endpoint_trainers import EndpointReferenceTrainer

            with open_teacher(self._endpoint, policy, tokenizer) as teacher:
                yield EndpointReferenceTrainer, {"teacher": teacher}
            return
        for reference in references:
            check_vocabularies(
                policy, tokenizer, reference, load_tokenizer(reference),
                "beta compares the probabilities of each token: name a reference model of the policy's tokenizer.",
            )  # fmt: skip
        yield (
            RubricGRPOTrainer,
            {"load_reference": partial(load_model, references[0]) if references else load},
        )
