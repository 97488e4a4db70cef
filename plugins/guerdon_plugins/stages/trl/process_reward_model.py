"""Process reward models: train on completions whose steps have labels."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError
from guerdon.models import load_process_reward_model, load_tokenizer
from guerdon.options.conflicts import check_options
from guerdon.options.trl import REWARD
from guerdon_plugins.shared.checks import check_all, check_init, check_template
from guerdon_plugins.shared.steps import StepTokens, tokens_of_steps
from guerdon_plugins.stages.trl.pairs import heldout_share, is_heldout
from guerdon_plugins.stages.trl.quantized import check_quantized
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    configure,
    resumable,
    signature_with,
    summary,
    train,
)

_OF_PAIRS = frozenset(
    {
        "activation_offloading",
        "center_rewards_coefficient",
        "chat_template_path",
        "dataset_num_proc",
        "eos_token",
        "pad_token",
    }
)
"""The options of TRL's RewardConfig that only its trainer of pairs reads."""

_UNLABELLED = -100
"""The label of tokens that do not count."""


class ProcessRewardModel:
    """Trains a model that gives each step of a completion the probability that it is good, from labelled steps.

    Starts from any causal language model, whose head is replaced by a head with two labels, or from another process
    reward model. Rows have TRL's stepwise form: ``prompt``, ``completions``, a list of the steps' texts, and
    ``labels``, true or false for each. The loss is the cross entropy at each step's last token. Rows longer than
    ``max_length`` are left out and counted. The options of TRL's RewardConfig are params under TRL's names, except
    those of pairs and those that the run decides.

    Args:
        separator: The text after each step, as for the reward ``prm``.
        heldout_rows: The share of rows that are not trained on. A prompt's rows are all on one side, which depends on
            its content.
        chat_template: A Jinja template, instead of the tokenizer's own.

    Raises:
        ValueError: A param is out of range.
    """

    needs = ("model", "data")
    distributed = True
    operational_params = OPERATIONAL
    extendable_params = EXTENDABLE

    def __init__(
        self,
        *,
        separator: str = "\n\n",
        heldout_rows: float = 0.1,
        chat_template: ChatTemplate | None = None,
        **trl_options: Any,
    ) -> None:
        if not separator:
            raise ValueError("separator is empty; give the text after each step, such as a blank line.")
        self._separator = separator
        self._heldout_share = heldout_share("heldout_rows", heldout_rows)
        self._chat_template = chat_template
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        whole = signature_with(cls, REWARD)
        return whole.replace(
            parameters=[one for name, one in whole.parameters.items() if name not in _OF_PAIRS]
        )

    def preflight(self, rows: Sequence[Row], models: Sequence[Model], init: Sequence[str] = ()) -> None:
        """Check the options, the form of the rows and the model, before a model is loaded."""
        check_all(
            lambda: check_options(REWARD, self._options),
            lambda: check_quantized(models, self._options, None),
            lambda: check_init(init, 1),
            lambda: _check_rows(rows),
            lambda: check_template(rows, models, self._chat_template),
        )

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the bytes of each part on each device in an update. All rows have ``max_length`` tokens."""
        from guerdon.training.planning import plan_training

        check_init([model.name for model in models], 1)
        return plan_training(REWARD, models[0], self._options, processes=processes, labels_steps=True)

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        import torch
        from datasets import Dataset
        from transformers import DataCollatorForTokenClassification, Trainer
        from trl.trainer.reward_config import RewardConfig

        config, source, model_options = configure(RewardConfig, self._options, context)
        tokenizer: Any = load_tokenizer(source, chat_template=self._chat_template)
        rows = self._tokenized(context.rows(), tokenizer, config.max_length)
        torch.manual_seed(context.seed)  # for the new head
        model: Any = load_process_reward_model(source, training=True, **model_options)
        model.config.pad_token_id = tokenizer.pad_token_id
        if config.disable_dropout:
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        trainer: Any = resumable(Trainer)(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(rows.train),
            data_collator=DataCollatorForTokenClassification(
                tokenizer, pad_to_multiple_of=config.pad_to_multiple_of
            ),
            processing_class=tokenizer,
        )
        train(trainer, context)
        heldout = _heldout_metrics(trainer, rows.heldout)
        metrics = {
            "rows": len(rows.train),
            "steps_labelled": rows.labels,
            "too_long_rows": rows.too_long,
            **summary(trainer, "loss"),
            **heldout,
        }
        return StageResult(checkpoint=context.output, metrics=metrics)

    def _tokenized(self, given: Iterable[Row], tokenizer: Any, max_length: int | None) -> _Rows:
        """Return the rows as tokens with labels.

        Raises:
            DataError: A row has another form, or none is left to train on.
        """
        rows = _Rows()
        for number, row in enumerate(given):
            labels = _labels(row, number)
            found = tokens_of_steps(tokenizer, row["prompt"], row["completions"], self._separator)
            if max_length is not None and len(found.ids) > max_length:
                rows.too_long += 1
            elif is_heldout(row, self._heldout_share):
                rows.heldout.append(_example(found, labels))
            else:
                rows.train.append(_example(found, labels))
                rows.labels += len(labels)
        if not rows.train:
            raise DataError(
                f"there is no row to train on: {rows.too_long} are longer than max_length, {max_length} tokens, and "
                f"{len(rows.heldout)} are held out. Give more rows, raise max_length, or lower heldout_rows."
            )
        return rows


@dataclass(slots=True)
class _Rows:
    train: list[dict[str, list[int]]] = field(default_factory=list)
    heldout: list[dict[str, list[int]]] = field(default_factory=list)
    too_long: int = 0
    labels: int = 0
    """The number of steps that are trained on."""


def _example(tokens: StepTokens, labels: Sequence[bool]) -> dict[str, list[int]]:
    marked = [_UNLABELLED] * len(tokens.ids)
    for end, label in zip(tokens.ends, labels, strict=True):
        marked[end] = int(label)
    return {"input_ids": tokens.ids, "attention_mask": [1] * len(tokens.ids), "labels": marked}


def _labels(row: Row, number: int) -> list[bool]:
    """Return the labels of a row's steps.

    Raises:
        DataError: The row has another form.
    """
    for column in ("prompt", "completions", "labels"):
        if column not in row:
            raise DataError(
                f"row {number} of the labelled steps has no '{column}', only {', '.join(row) or 'nothing'}. Map the "
                "columns to 'prompt', 'completions' and 'labels' in the source's params."
            )
    steps, labels = row["completions"], row["labels"]
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step for step in steps):
        raise DataError(f"'completions' of row {number} is {steps!r:.60}. Give a list of the steps' texts.")
    if not isinstance(labels, list) or not all(label in (0, 1) for label in labels):
        raise DataError(f"'labels' of row {number} is {labels!r:.60}. Give true or false for each step.")
    if len(labels) != len(steps):
        raise DataError(
            f"row {number} has {len(steps)} steps and {len(labels)} labels. Give one for each step."
        )
    return [bool(label) for label in labels]


def _check_rows(rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        _labels(row, number)


def _heldout_metrics(trainer: Any, rows: Sequence[dict[str, list[int]]]) -> dict[str, float]:
    """Return the accuracy over the held-out steps, with that of the more frequent label."""
    import torch
    from datasets import Dataset

    right, good, steps = 0, 0, 0
    trainer.model.eval()
    with torch.inference_mode():
        for batch in trainer.get_eval_dataloader(Dataset.from_list(list(rows))) if rows else ():
            labels = batch.pop("labels")
            predicted = trainer.model(**batch).logits.argmax(-1)
            counted = labels != _UNLABELLED
            counts = torch.stack([(predicted == labels)[counted].sum(), (labels == 1).sum(), counted.sum()])
            counts = trainer.accelerator.gather_for_metrics(counts[None]).sum(0)
            right, good, steps = (
                before + int(one) for before, one in zip((right, good, steps), counts, strict=True)
            )
    if not steps:
        return {}
    return {
        "heldout_steps": steps,
        "heldout_accuracy": right / steps,
        "heldout_majority": max(good, steps - good) / steps,
    }
