"""DPO: train a model on pairs with a preferred reply, by TRL's DPOTrainer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError, ParamsError
from guerdon.models import load_model, load_tokenizer
from guerdon.options.conflicts import check_lora, check_options
from guerdon.options.trl import DPO
from guerdon_plugins.shared.checks import check_all, check_evaluation, check_init, check_template
from guerdon_plugins.stages.trl.answers import Answers
from guerdon_plugins.stages.trl.pairs import check_pairs, heldout_share, read_pairs
from guerdon_plugins.stages.trl.quantized import check_quantized
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    check_has_template,
    configure,
    evaluation_summary,
    fit,
    lora_config,
    resumable,
    save_output,
    signature_with,
    summary,
)


class Dpo:
    """Trains a model by direct preference optimization (arXiv:2305.18290), on TRL's trainer.

    Rows are pairs: ``prompt``, ``chosen`` and ``rejected``, all texts or all messages, or the last two with the prompt
    in each. Or they are judged completions: ``prompt``, ``completion`` and ``reward``, as ``guerdon score -o`` and the
    stage ``sample`` write them. The best and the worst completion of a prompt are then its pair. Pairs with equal
    replies, and prompts whose completions have equal rewards, are left out and counted. Every option of TRL's DPOConfig
    is a param under TRL's name, except those that the run decides. The reference model is the model of ``init``.

    Args:
        heldout_pairs: The share of pairs that are not trained on. A prompt's pairs are all on one side, which depends
            on its content.
        chat_template: A Jinja template, instead of the tokenizer's own.
        max_completion_length: The most tokens of an answer in the stage's ``evaluation``.
        peft: The options of a ``peft.LoraConfig``: trains adapters, which are merged into the checkpoint at the end.

    Raises:
        ValueError: A param is out of range.
    """

    needs = ("model", "data")
    distributed = True
    evaluates = True
    operational_params = OPERATIONAL
    extendable_params = EXTENDABLE

    def __init__(
        self,
        *,
        heldout_pairs: float = 0.1,
        chat_template: ChatTemplate | None = None,
        max_completion_length: Annotated[int, Field(ge=1)] = 256,
        peft: Mapping[str, Any] | None = None,
        **trl_options: Any,
    ) -> None:
        self._heldout_share = heldout_share("heldout_pairs", heldout_pairs)
        self._chat_template = chat_template
        self._max_completion_length = max_completion_length
        self._peft = peft
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, DPO)

    def preflight(
        self,
        rows: Sequence[Row],
        models: Sequence[Model],
        init: Sequence[str],
        evaluation_rows: Sequence[Row] = (),
    ) -> None:
        """Check the options, the form of the pairs and the model, before a model is loaded."""
        check_all(
            lambda: check_options(DPO, self._options),
            lambda: check_lora(self._peft or {}),
            lambda: check_quantized(models, self._options, self._peft),
            lambda: check_init(init, 1),
            self._check_reference,
            lambda: check_pairs(rows),
            lambda: check_template(rows, models, self._chat_template, column="chosen"),
            lambda: check_evaluation(evaluation_rows, models, self._max_completion_length),
            lambda: check_template(evaluation_rows, models, self._chat_template),
        )

    def _check_reference(self) -> None:
        if not self._options.get("sync_ref_model"):
            return
        for other in ("peft", "precompute_ref_log_probs"):
            if self._peft if other == "peft" else self._options.get(other):
                raise ParamsError(
                    f"sync_ref_model is true, and {other} is set, which leaves no reference model to change. "
                    "Leave out one of the two."
                )

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the bytes of each part on each device in an update. All rows have ``max_length`` tokens."""
        from guerdon.training.planning import plan_training

        check_init([model.name for model in models], 1)
        return plan_training(DPO, models[0], self._options, lora_config(self._peft), processes=processes)

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DPOTrainer

        config, source, model_options = configure(DPOConfig, self._options, context)
        pairs = read_pairs(context.rows(), self._heldout_share)
        tokenizer = load_tokenizer(source, chat_template=self._chat_template)
        if pairs.conversations:
            check_has_template(tokenizer, source, "pairs")
        own_reference = self._peft is None and not config.precompute_ref_log_probs
        trainer: Any = resumable(DPOTrainer)(
            model=load_model(source, training=True, **model_options),
            ref_model=load_model(source, training=True, **model_options) if own_reference else None,
            args=config,
            train_dataset=pairs.train,
            eval_dataset=pairs.heldout,
            processing_class=tokenizer,
            peft_config=lora_config(self._peft),
        )
        if not len(trainer.train_dataset):
            raise DataError(
                f"the prompt of each of {len(pairs.train)} pairs has max_length, {config.max_length}, tokens or more. "
                "Raise it, or give shorter ones."
            )
        answer = None
        if context.evaluation is not None:
            answer = Answers(trainer, context.stage_id, self._max_completion_length)
        fit(trainer, context, answer)
        metrics = {
            "pairs": len(trainer.train_dataset),
            "equal_pairs": pairs.equal,
            "left_out_pairs": len(pairs.train) - len(trainer.train_dataset),
            **summary(trainer, "loss", "rewards/accuracies", "rewards/margins"),
            **_heldout_metrics(trainer),
            **evaluation_summary(trainer),
        }
        save_output(trainer, context)
        return StageResult(checkpoint=context.output, metrics=metrics)


def _heldout_metrics(trainer: Any) -> dict[str, Any]:
    """Return the accuracy of the implicit rewards over all held-out pairs, before adapters are merged.

    The trainer has the last model: if the output is an earlier one, there are no metrics.
    """
    if trainer.eval_dataset is None or not len(trainer.eval_dataset):
        return {}
    if trainer.best_step() not in (None, trainer.state.global_step):
        return {}
    trainer.model.eval()
    known = trainer._metrics["eval"]
    known.clear()
    counts = []
    for batch in trainer.get_eval_dataloader():
        trainer.prediction_step(trainer.model, batch, prediction_loss_only=True)
        counts.append(len(batch["input_ids"]) // 2)
    total = sum(counts)

    def over_pairs(name: str) -> float:
        return math.fsum(count * mean for count, mean in zip(counts, known[name], strict=True)) / total

    metrics = {
        "heldout_pairs": len(trainer.eval_dataset),
        "heldout_accuracy": over_pairs("rewards/accuracies"),
        "heldout_margin": over_pairs("rewards/margins"),
    }
    known.clear()
    return metrics
