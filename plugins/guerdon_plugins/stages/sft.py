"""SFT: trains a model on completions, by TRL's SFTTrainer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING, Any

from guerdon import Row, StageContext, StageResult
from guerdon.errors import DataError
from guerdon.models import load_model, load_tokenizer

if TYPE_CHECKING:
    from datasets import Dataset

_FORMS = (("messages",), ("prompt", "completion"), ("text",))
"""The columns of TRL's forms of a data set, the fullest first."""

_DEFAULTS = {"logging_steps": 1, "save_steps": 100}


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

        from guerdon.grpo.options import trl_parameters

        own = [
            p for p in inspect.signature(cls, eval_str=True).parameters.values() if p.kind is p.KEYWORD_ONLY
        ]
        return inspect.Signature([*own, *trl_parameters(SFTConfig)])

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        from transformers import PrinterCallback
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        from guerdon.grpo import CheckpointMarker, ReportProgress, newest_checkpoint
        from guerdon.grpo.options import trl_config

        config = trl_config(SFTConfig, {**_DEFAULTS, **self._options}, context.work, context.seed)
        given: Any = config.model_init_kwargs
        model_options = dict(given or {})
        config.model_init_kwargs = None
        source = replace(context.model, dtype=model_options.pop("dtype", context.model.dtype))
        dataset = _dataset(context.rows())
        trainer = SFTTrainer(
            model=load_model(source, training=True, **model_options),
            args=config,
            train_dataset=dataset,
            processing_class=load_tokenizer(source, chat_template=self._chat_template),
            callbacks=[CheckpointMarker(), ReportProgress(context.progress)],
        )
        trainer.remove_callback(PrinterCallback)  # it prints the metrics as dicts
        checkpoint = newest_checkpoint(context.work)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.save_model(str(context.output))
        return StageResult(
            checkpoint=context.output,
            metrics={"rows": len(dataset), **_summary(trainer.state.log_history)},
        )


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


def _summary(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Loss and accuracy: means over the last tenth of the logged steps."""
    logged = [entry for entry in history if "loss" in entry]
    if not logged:
        return {}
    last = logged[-max(1, len(logged) // 10) :]
    names = [name for name in ("loss", "mean_token_accuracy") if name in logged[-1]]
    return {"steps": logged[-1]["step"], **{name: mean(entry[name] for entry in last) for name in names}}
