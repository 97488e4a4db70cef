"""Distillation: a student samples, and learns a teacher's distribution of each token, by TRL's trainer."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import mean
from typing import Any

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError, ParamsError, UsageError
from guerdon.models import load_model, load_tokenizer
from guerdon.options.conflicts import check_lora, check_options
from guerdon.options.trl import DISTILLATION, STAGE_DEFAULTS
from guerdon_plugins.shared.checks import (
    check_all,
    check_evaluation,
    check_init,
    check_lengths,
    check_prompts,
    check_template,
)
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.shared.vocabulary import check_vocabularies
from guerdon_plugins.stages.trl.answers import Answers
from guerdon_plugins.stages.trl.quantized import check_quantized
from guerdon_plugins.stages.trl.teacher import check_teacher, open_teacher
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    check_has_template,
    configure,
    evaluation_summary,
    keep_completions,
    lora_config,
    resumable,
    signature_with,
    summary,
    train,
)

_SAMPLING: Mapping[str, Any] = {
    "beta": 1.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
}
"""The options that an estimate on the student's samples needs, with their values: TRL's defaults."""

_ROLES = "the student and its teacher, such as [stage:sft, {path: org/teacher}]"


class Distill:
    """Trains a student on its own completions to match a teacher (on-policy distillation, arXiv:2306.13649).

    ``init`` names the student and the teacher, which have one vocabulary. The student answers each prompt once. The
    loss is the divergence of the two distributions at each token of the answer: the reverse KL with the default
    ``beta`` of 1, the forward KL with 0. Every option of TRL's DistillationConfig is a param under TRL's name, except
    those that the run decides.

    The teacher may be behind an endpoint instead, which gives its log-probabilities of a few tokens. The loss is then
    an unbiased estimate of the reverse KL.

    Args:
        endpoint: A teacher served by vLLM, instead of the second model of ``init``: ``base_url``, ``model``,
            ``api_key_env``, ``concurrency``, ``max_retries``, ``timeout_s``.
        chat_template: A Jinja template, instead of the tokenizer's own.
        peft: The options of a ``peft.LoraConfig``: trains adapters, which are merged into the checkpoint at the end.
    """

    needs = ("model", "data")
    distributed = True
    evaluates = True
    operational_params = OPERATIONAL
    extendable_params = EXTENDABLE

    def __init__(
        self,
        *,
        endpoint: Mapping[str, Any] | None = None,
        chat_template: ChatTemplate | None = None,
        peft: Mapping[str, Any] | None = None,
        **trl_options: Any,
    ) -> None:
        self._endpoint = None if endpoint is None else Endpoint.from_params(endpoint)
        self._chat_template = chat_template
        self._peft = peft
        self._options = trl_options
        self._longest = trl_options.get("max_completion_length", 512)

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, DISTILLATION)

    def preflight(
        self,
        rows: Sequence[Row],
        count: int | None,
        models: Sequence[Model],
        init: Sequence[str],
        evaluation_rows: Sequence[Row] = (),
    ) -> None:
        """Check the options, the prompts and the models, before a model is loaded."""
        check_all(
            lambda: check_options(DISTILLATION, self._options),
            lambda: check_lora(self._peft or {}),
            lambda: check_quantized(models, self._options, self._peft),
            lambda: self._check_init(init),
            self._check_sampling,
            lambda: check_teacher(self._endpoint, models),
            lambda: check_prompts(rows),
            lambda: self._check_batch(count),
            lambda: check_template(rows, models, self._chat_template),
            lambda: check_lengths(rows, models, self._longest),
            lambda: check_evaluation(evaluation_rows, models, self._longest),
            lambda: check_template(evaluation_rows, models, self._chat_template),
        )

    def _check_init(self, init: Sequence[str]) -> None:
        if self._endpoint is None:
            check_init(init, 2, _ROLES)
        else:
            check_init(init, 1, "the student, because the teacher is at the endpoint")

    def _check_sampling(self) -> None:
        """Check that the student samples from its own distribution, if the loss is an estimate on the samples."""
        for name, needed in _SAMPLING.items() if self._endpoint else ():
            if (value := self._options.get(name, needed)) != needed:
                raise ParamsError(
                    f"{name} is {value}, and the teacher is at an endpoint: it gives the probabilities of a few "
                    f"tokens, so the loss is the reverse KL, estimated on plain samples. Leave {name} out."
                )

    def _check_batch(self, count: int | None) -> None:
        size, steps = (
            self._options.get(name, default)
            for name, default in (("per_device_train_batch_size", 8), ("gradient_accumulation_steps", 1))
        )
        batch = size * steps * int(os.environ.get("WORLD_SIZE") or 1)
        if count is not None and 0 < count < batch:
            raise DataError(
                f"there are {count} prompts, and one step takes {batch} (per_device_train_batch_size x processes x "
                "gradient_accumulation_steps). Give more rows, or lower one of these."
            )

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the bytes of each part on each device: while the student samples, and in an update."""
        from guerdon.training.distillation_planning import plan_distillation

        if self._endpoint is not None:
            raise UsageError("the memory of a distillation from an endpoint is not computed.")
        self._check_init([model.name for model in models])
        student, teacher = models
        return plan_distillation(
            student,
            teacher,
            self._options,
            lora_config(self._peft),
            prompt_tokens=prompt_tokens,
            device_bytes=device_bytes,
            processes=processes,
        )

    def run(self, context: StageContext) -> StageResult:
        """Train ``context.models``'s first on ``context.rows()`` to match the second, or the endpoint's."""
        from trl.trainer.distillation_config import DistillationConfig

        from guerdon.training.data import rows_dataset

        self._check_init([model.name for model in context.models])
        self._check_sampling()
        student, *others = context.models
        config, source, model_options = configure(
            DistillationConfig,
            {**STAGE_DEFAULTS[DISTILLATION], **self._options},
            replace(context, models=[student]),
        )
        if config.log_completions and context.logs is not None:
            keep_completions(context.work, context.logs)
        tokenizer = load_tokenizer(source, chat_template=self._chat_template)
        dataset = rows_dataset(context.rows())
        if not isinstance(dataset[0]["prompt"], str):
            check_has_template(tokenizer, source, "prompts")
        self._check_batch(len(dataset))
        with self._open_teacher(student, tokenizer, others) as teaching:
            trainer_class, teacher = teaching
            trainer: Any = resumable(trainer_class)(
                model=load_model(source, training=True, **model_options),
                args=config,
                train_dataset=dataset,
                processing_class=tokenizer,
                peft_config=lora_config(self._peft),
                **teacher,
            )
            answer = None
            if context.evaluation is not None:
                answer = Answers(trainer, context.stage_id, self._longest)
            train(trainer, context, answer=answer)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        first = {"loss_first": mean(losses[: max(1, len(losses) // 10)])} if losses else {}
        metrics = {"prompts": len(dataset), **first}
        metrics |= summary(trainer, "loss", "entropy", "completions/mean_length")
        return StageResult(checkpoint=context.output, metrics={**metrics, **evaluation_summary(trainer)})

    @contextmanager
    def _open_teacher(
        self, student: Model, tokenizer: Any, others: Sequence[Model]
    ) -> Iterator[tuple[type[Any], dict[str, Any]]]:
        """Yield the trainer's class and its argument for the teacher."""
        from trl.trainer.distillation_trainer import DistillationTrainer

        from guerdon_plugins.stages.trl.endpoint_trainers import EndpointDistillationTrainer

        if self._endpoint is None:
            (model,) = others
            check_vocabularies(
                student, tokenizer, model, load_tokenizer(model),
                "The loss compares the distributions of each token: name a teacher of the student's tokenizer.",
            )  # fmt: skip
            yield DistillationTrainer, {"teacher_model": load_model(model)}
            return
        with open_teacher(self._endpoint, student, tokenizer) as teacher:
            yield EndpointDistillationTrainer, {"teacher": teacher}
