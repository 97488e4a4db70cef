"""Reward models: train on pairs with a preferred reply, by TRL's RewardTrainer."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError
from guerdon.models import load_reward_model, load_tokenizer
from guerdon.options.trl import REWARD, check_options
from guerdon_plugins.shared.checks import check_all, check_template
from guerdon_plugins.stages.trl.too_long import counting_too_long, tell_too_long
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    configure,
    resumable,
    signature_with,
    summary,
    train,
)

if TYPE_CHECKING:
    from datasets import Dataset

_FORMS = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))
"""The columns of TRL's forms of a preference pair; without a prompt, each side is the whole conversation."""


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
        if not 0 <= heldout_pairs < 1:
            raise ValueError(f"heldout_pairs is {heldout_pairs}: give a share from 0 to below 1.")
        self._heldout_share = heldout_pairs
        self._chat_template = chat_template
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, REWARD)

    def preflight(self, rows: Sequence[Row], models: Sequence[Model]) -> None:
        """Check the options, the form of the pairs and the model, before a model is loaded."""
        check_all(
            lambda: check_options(REWARD, self._options),
            lambda: _check_pairs(rows),
            lambda: check_template(rows, models, self._chat_template, column="chosen"),
        )

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        import torch
        from trl.trainer.reward_config import RewardConfig
        from trl.trainer.reward_trainer import RewardTrainer

        config, source, model_options = configure(RewardConfig, self._options, context)
        pairs = _pairs(context.rows(), self._heldout_share)
        tokenizer = load_tokenizer(source, chat_template=self._chat_template)
        if pairs.conversations and tokenizer.chat_template is None:
            raise DataError(
                f"the pairs are conversations, and model '{source.name}' has no chat template. "
                "Set the param 'chat_template' to the text of a Jinja template."
            )
        torch.manual_seed(context.seed)  # for the new head
        trainer: Any = resumable(counting_too_long(RewardTrainer, "chosen_ids", "rejected_ids"))(
            model=load_reward_model(source, training=True, **model_options),
            args=config,
            train_dataset=pairs.train,
            eval_dataset=pairs.heldout,
            processing_class=tokenizer,
        )
        tell_too_long(trainer, "pairs", "left out")
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


@dataclass(frozen=True, slots=True)
class _Pairs:
    train: Dataset
    heldout: Dataset | None
    """``None`` if no pair is held out."""
    equal: int
    """The number of pairs that are left out because their replies are equal."""
    conversations: bool
    """Whether they are messages."""


def _pairs(rows: Iterable[Row], heldout_share: float) -> _Pairs:
    from datasets import Dataset

    sides: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    first: Row = {}
    equal = 0
    for number, row in enumerate(rows):
        first = first or row
        columns = _columns(row, first, number)
        if row["chosen"] == row["rejected"]:
            equal += 1
        else:
            sides[is_heldout(row, heldout_share)].append({name: row[name] for name in columns})
    if not sides[False]:
        raise DataError(
            f"there is no pair to train on: {equal} have equal replies, {len(sides[True])} are held out. "
            "Give pairs whose 'chosen' and 'rejected' differ, or lower 'heldout_pairs'."
        )
    heldout = Dataset.from_list(sides[True]) if sides[True] else None
    return _Pairs(Dataset.from_list(sides[False]), heldout, equal, not isinstance(first["chosen"], str))


def _columns(row: Row, first: Row, number: int) -> Sequence[str]:
    """Return the columns of a row's pair, which must be those of the first row."""
    columns = next((form for form in _FORMS if all(column in first for column in form)), _FORMS[0])
    if missing := [column for column in columns if column not in row]:
        raise DataError(
            f"row {number} of the preference pairs has no '{missing[0]}', only {', '.join(row) or 'nothing'}. "
            "Map the columns to 'prompt', 'chosen' and 'rejected' in the source's params."
        )
    wanted = str if isinstance(first[columns[0]], str) else list
    for column in columns:
        if not isinstance(row[column], wanted):
            raise DataError(
                f"'{column}' of row {number} of the preference pairs is a {type(row[column]).__name__}, and "
                f"'{columns[0]}' of row 0 is a {wanted.__name__}. All of all rows are texts, or all are messages."
            )
    return columns


def _check_pairs(rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        _columns(row, rows[0], number)


def is_heldout(row: Row, share: float) -> bool:
    """Return whether a row's prompt is on the held-out side."""
    key = row.get("prompt") or (row["chosen"] if isinstance(row["chosen"], str) else row["chosen"][:-1])
    text = json.dumps(["held-out pairs", key], sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) < share * 2**64


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
