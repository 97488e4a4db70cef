"""Reward models: train on pairs with a preferred reply, by TRL's RewardTrainer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError
from guerdon.models import load_reward_model, load_tokenizer
from guerdon.options.conflicts import check_options
from guerdon.options.trl import REWARD
from guerdon_plugins.shared.checks import check_all, check_init, check_template
from guerdon_plugins.stages.trl.pairs import check_pairs, heldout_share, read_pairs
from guerdon_plugins.stages.trl.quantized import check_quantized
from guerdon_plugins.stages.trl.too_long import counting_too_long, warn_of_too_long
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    check_has_template,
    configure,
    resumable,
    signature_with,
    summary,
    train,
)


class RewardModel:
    """Trains a model that gives each reply one number, from pairs of which one reply is preferred.

    Starts from any causal language model, whose head is replaced by a reward head, or from another reward model. Rows
    have ``prompt``, ``chosen`` and ``rejected``, all texts or all messages, or the last two with the prompt in each.
    Pairs with equal replies, and pairs longer than ``max_length``, are left out and counted. Every option of TRL's
    RewardConfig is a param under TRL's name, except those that the run decides. The metric ``heldout_accuracy`` is the
    share of held-out pairs whose preferred reply gets more.

    Args:
        heldout_pairs: The share of pairs that are not trained on. A prompt's pairs are all on one side, which depends
            on its content.
        chat_template: A Jinja template, instead of the tokenizer's own.

    Raises:
        ValueError: A param is out of range.
    """

    needs = ("model", "data")
    distributed = True
    operational_params = OPERATIONAL
    extendable_params = EXTENDABLE

    def __init__(
        self, *, heldout_pairs: float = 0.1, chat_template: ChatTemplate | None = None, **trl_options: Any
    ) -> None:
        self._heldout_share = heldout_share("heldout_pairs", heldout_pairs)
        self._chat_template = chat_template
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, REWARD)

    def preflight(self, rows: Sequence[Row], models: Sequence[Model], init: Sequence[str] = ()) -> None:
        """Check the options, the form of the pairs and the model, before a model is loaded."""
        check_all(
            lambda: check_options(REWARD, self._options),
            lambda: check_quantized(models, self._options, None),
            lambda: check_init(init, 1),
            lambda: check_pairs(rows),
            lambda: check_template(rows, models, self._chat_template, column="chosen"),
        )

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the bytes of each part on each device in an update. All rows have ``max_length`` tokens."""
        from guerdon.training.planning import plan_training

        check_init([model.name for model in models], 1)
        return plan_training(REWARD, models[0], self._options, processes=processes)

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        import torch
        from trl.trainer.reward_config import RewardConfig
        from trl.trainer.reward_trainer import RewardTrainer

        config, source, model_options = configure(RewardConfig, self._options, context)
        pairs = read_pairs(context.rows(), self._heldout_share)
        tokenizer = load_tokenizer(source, chat_template=self._chat_template)
        if pairs.conversations:
            check_has_template(tokenizer, source, "pairs")
        torch.manual_seed(context.seed)  # for the new head
        trainer: Any = resumable(counting_too_long(RewardTrainer, "chosen_ids", "rejected_ids"))(
            model=load_reward_model(source, training=True, **model_options),
            args=config,
            train_dataset=pairs.train,
            eval_dataset=pairs.heldout,
            processing_class=tokenizer,
        )
        warn_of_too_long(trainer, "pairs", "left out")
        if not len(trainer.train_dataset):
            raise DataError(
                f"each of {len(pairs.train)} pairs is longer than max_length, {config.max_length} tokens. "
                "Raise it, or give shorter ones."
            )
        train(trainer, context)
        metrics = {
            "pairs": len(trainer.train_dataset),
            "equal_pairs": pairs.equal,
            "too_long_pairs": sum(len(found.longer) for found in trainer.too_long.values()),
            **summary(trainer, "loss", "accuracy", "margin"),
            **(_heldout_metrics(trainer) if pairs.heldout is not None else {}),
        }
        return StageResult(checkpoint=context.output, metrics=metrics)


def _heldout_metrics(trainer: Any) -> dict[str, float]:
    """Return the accuracy over all held-out pairs; a tie is wrong."""
    import torch

    margins = []
    trainer.model.eval()
    with torch.inference_mode():
        for batch in trainer.get_eval_dataloader():
            chosen, rejected = trainer.model(**batch).logits[:, 0].float().chunk(2)
            margins.append(trainer.accelerator.gather_for_metrics(chosen - rejected))
    if not margins:  # all are longer than max_length
        return {}
    margin = torch.cat(margins)
    return {
        "heldout_pairs": len(margin),
        "heldout_accuracy": (margin > 0).float().mean().item(),
        "heldout_margin": margin.mean().item(),
    }
