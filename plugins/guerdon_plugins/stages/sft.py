"""SFT: trains a model on completions, by TRL's SFTTrainer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from guerdon import Row, StageContext, StageResult
from guerdon.errors import DataError
from guerdon.models import load_model, load_tokenizer
from guerdon_plugins.stages.trl_training import configure, signature_with, summary, train

if TYPE_CHECKING:
    from datasets import Dataset

_FORMS = (("messages",), ("prompt", "completion"), ("text",))
"""The columns of TRL's forms of a data set, the fullest first."""


class Sft:
    """Supervised fine-tuning, on TRL's trainer.

    Rows have ``messages``, ``prompt`` and ``completion``, or ``text``, all rows the same; other columns are left out.
    Every option of TRL's SFTConfig is a param under TRL's name, but for those that the run decides.

    Args:
        chat_template: A Jinja template, or a file that holds one, instead of the tokenizer's own.
    """

    needs = ("model", "data")

    def __init__(self, *, chat_template: str | None = None, **trl_options: Any) -> None:
        self._chat_template = chat_template
        self._options = trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """The params with TRL's options spelled out; imports TRL."""
        from trl.trainer.sft_config import SFTConfig

        return signature_with(cls, SFTConfig)

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        config, source, model_options = configure(SFTConfig, self._options, context)
        dataset = _dataset(context.rows())
        trainer = SFTTrainer(
            model=load_model(source, training=True, **model_options),
            args=config,
            train_dataset=dataset,
            processing_class=load_tokenizer(source, chat_template=self._chat_template),
        )
        train(trainer, context)
        metrics = summary(trainer, "loss", "mean_token_accuracy")
        return StageResult(checkpoint=context.output, metrics={"rows": len(dataset), **metrics})


def _dataset(rows: Iterable[Row]) -> Dataset:
    from datasets import Dataset

    kept = list(rows)
    columns = next((form for form in _FORMS if all(column in kept[0] for column in form)), None)
    if columns is None:
        raise DataError(
            f"a row of the training data has only {', '.join(kept[0]) or 'nothing'}. SFT needs 'messages', 'prompt' "
            "and 'completion', or 'text': map columns to these names in the source's params."
        )
    for number, row in enumerate(kept):
        for column in columns:
            if column not in row or isinstance(row[column], str) != isinstance(kept[0][column], str):
                raise DataError(
                    f"row {number} of the training data has another form than row 0, whose columns are "
                    f"{', '.join(columns)}. Use sources of one form in a stage."
                )
    return Dataset.from_list([{column: row[column] for column in columns} for row in kept])
