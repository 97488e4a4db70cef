"""Asynchronous GRPO: trains a model on the rewards of a rubric while a vLLM server samples."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import MissingDependencyError, ParamsError
from guerdon.models import load_model, load_tokenizer
from guerdon.options.conflicts import check_lora, check_options, installed
from guerdon.options.trl import ASYNC_GRPO, STAGE_DEFAULTS
from guerdon_plugins.shared.checks import (
    check_all,
    check_columns_of_few_values,
    check_evaluation,
    check_lengths,
    check_prompts,
    check_template,
)
from guerdon_plugins.stages.trl.quantized import check_not_quantized
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    check_has_template,
    configure,
    evaluation_summary,
    keep_completions,
    lora_config,
    reward_summary,
    signature_with,
    train,
)

_LONGEST = 2048
"""TRL's default of ``max_completion_length``."""


class AsyncGrpo:
    """Trains a model by GRPO on TRL's asynchronous trainer: a vLLM server samples while the trainer updates.

    The server gets the weights after each step, and a completion may be of weights of a few steps ago. The
    probabilities with which the server sampled correct the loss for this.

    Every option of TRL's AsyncGRPOConfig is a param under TRL's name, except those that the run decides.

    Args:
        chat_template: A Jinja template, instead of the tokenizer's own.
        peft: The options of a ``peft.LoraConfig``: trains adapters, which are merged into the checkpoint at the end.
        weight_transfer: How the server gets the weights. ``nccl`` sends them from GPU to GPU. ``folder`` writes them to
            the run's folder, which the server must see under the same path.
        shuffle_dataset: Whether each pass over the data takes the rows in a random order.
        metrics_by: A column of the data, or several: the reward and each entry's mean are also logged for each of its
            values, as ``task=math/reward``.
    """

    needs = ("model", "data", "rewards")
    distributed = True
    evaluates = True
    operational_params = (*OPERATIONAL, "vllm_server_base_url", "vllm_server_timeout", "request_timeout")
    extendable_params = EXTENDABLE

    def __init__(
        self,
        *,
        chat_template: ChatTemplate | None = None,
        peft: Mapping[str, Any] | None = None,
        weight_transfer: Literal["nccl", "folder"] = "nccl",
        shuffle_dataset: bool = True,
        metrics_by: str | Sequence[str] = (),
        **trl_options: Any,
    ) -> None:
        self._chat_template = chat_template
        self._peft = peft
        self._weight_transfer = weight_transfer
        self._shuffle = shuffle_dataset
        self._metrics_by = [metrics_by] if isinstance(metrics_by, str) else list(metrics_by)
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, ASYNC_GRPO)

    def preflight(
        self,
        rows: Sequence[Row],
        models: Sequence[Model],
        evaluation_rows: Sequence[Row] = (),
    ) -> None:
        """Check the options, the prompts and the model, before a model is loaded."""
        longest = self._options.get("max_completion_length", _LONGEST)
        check_all(
            lambda: check_options(ASYNC_GRPO, self._options),
            lambda: check_lora(self._peft or {}),
            self._check_steps,
            self._check_transfer,
            lambda: check_not_quantized(models, self._options, "the server takes plain weights"),
            lambda: check_prompts(rows),
            lambda: check_columns_of_few_values("metrics_by", self._metrics_by, rows),
            lambda: check_template(rows, models, self._chat_template),
            lambda: check_lengths(rows, models, longest),
            lambda: check_evaluation(evaluation_rows, models, longest),
            lambda: check_template(evaluation_rows, models, self._chat_template),
        )

    def _check_steps(self) -> None:
        if self._options.get("max_steps", -1) < 1:
            raise ParamsError(
                "max_steps is not set: how many completions a step takes depends on their lengths and on those that "
                "are too old, so the number of steps of an epoch is unknown. Set max_steps."
            )

    def _check_transfer(self) -> None:
        """Check that what sends the weights is installed.

        Raises:
            MissingDependencyError: vLLM is not installed.
            ParamsError: The machine has no GPU to send the weights from.
        """
        if not installed("vllm"):
            raise MissingDependencyError("the stage 'async_grpo'", "vllm", "vllm")
        import torch

        if self._weight_transfer == "nccl" and not torch.cuda.is_available():
            raise ParamsError(
                "weight_transfer is nccl, which sends weights between GPUs, and this machine has none. Set "
                "weight_transfer: folder."
            )

    def run(self, context: StageContext) -> StageResult:
        """Train ``context.model`` on ``context.rows()`` with ``context``'s rubric."""
        from guerdon.grpo.asynchronous.trainer import AsyncGRPOConfig, RubricAsyncGRPOTrainer
        from guerdon.training.data import rows_dataset

        self._check_steps()
        self._check_transfer()
        options = {**STAGE_DEFAULTS[ASYNC_GRPO], **self._options}
        config, source, model_options = configure(AsyncGRPOConfig, options, context)
        if "dtype" in self._options:
            source = replace(source, dtype=config.dtype)
        if config.log_completions and context.logs is not None:
            keep_completions(context.work, context.logs)
        tokenizer = load_tokenizer(source, chat_template=self._chat_template)
        rows = list(context.rows())
        dataset = rows_dataset(rows)
        if not isinstance(dataset[0]["prompt"], str):
            check_has_template(tokenizer, source, "prompts")
        with context.open_rubric() as rubric:
            trainer = RubricAsyncGRPOTrainer(
                partial(load_model, source, training=True, **model_options),
                rubric,
                config,
                dataset,
                rows,
                tokenizer,
                weight_transfer=self._weight_transfer,
                shuffle=self._shuffle,
                peft_config=lora_config(self._peft),
                log_rollouts=context.log_rollouts,
                metrics_by=self._metrics_by,
            )
            train(trainer, context, answer=trainer.answer, metrics_by=self._metrics_by)
        metrics = {**reward_summary(trainer.state.log_history), **evaluation_summary(trainer)}
        return StageResult(checkpoint=context.output, metrics=metrics)
