"""SFT: train a model on completions, by TRL's SFTTrainer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError, UsageError
from guerdon.models import load_model, load_tokenizer
from guerdon.options.conflicts import check_lora, check_options
from guerdon.options.trl import SFT
from guerdon_plugins.shared.checks import check_all, check_evaluation, check_init, check_template
from guerdon_plugins.stages.trl.answers import Answers
from guerdon_plugins.stages.trl.mixing import mixed
from guerdon_plugins.stages.trl.quantized import check_quantized
from guerdon_plugins.stages.trl.too_long import counting_too_long, warn_of_too_long
from guerdon_plugins.stages.trl.training import (
    EXTENDABLE,
    OPERATIONAL,
    configure,
    evaluation_summary,
    lora_config,
    resumable,
    signature_with,
    summary,
    train,
)

if TYPE_CHECKING:
    from datasets import Dataset

_FORMS = (("messages",), ("prompt", "completion"), ("text",))
"""The columns of TRL's forms of a data set, the most complete form first."""


class Sft:
    """Supervised fine-tuning, on TRL's trainer.

    Rows have ``messages``, ``prompt`` and ``completion``, or ``text``, all rows the same; other columns are left out.
    Every option of TRL's SFTConfig is a param under TRL's name, except those that the run decides. A row of more than
    ``max_length`` tokens is cut there; the log names such rows, and the result counts them as ``cut_rows``.

    Args:
        chat_template: A Jinja template, instead of the tokenizer's own.
        epochs: How often to train on the rows of each data entry, one number each, instead of num_train_epochs.
        weights: The shares of the data entries in an epoch, one number each: an entry that is small for its share is
            repeated.
        max_completion_length: The most tokens of an answer in the stage's ``evaluation``.
        peft: The options of a ``peft.LoraConfig``: trains adapters, which are merged into the checkpoint at the end.

    Raises:
        ValueError: ``epochs`` or ``weights`` contradict each other, or are not above 0.
    """

    needs = ("model", "data")
    distributed = True
    evaluates = True
    operational_params = OPERATIONAL
    extendable_params = EXTENDABLE

    def __init__(
        self,
        *,
        chat_template: ChatTemplate | None = None,
        epochs: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        max_completion_length: Annotated[int, Field(ge=1)] = 256,
        peft: Mapping[str, Any] | None = None,
        **trl_options: Any,
    ) -> None:
        for name, numbers in (("epochs", epochs), ("weights", weights)):
            if numbers is not None and (not numbers or min(numbers) <= 0):
                raise ValueError(f"{name} is {list(numbers)}: give each data entry a number above 0.")
        if epochs and weights:
            raise ValueError("epochs and weights are both given: epochs decide the shares already.")
        if epochs and "num_train_epochs" in trl_options:
            raise ValueError("epochs and num_train_epochs are both given: epochs say it for each data entry.")
        self._chat_template = chat_template
        self._epochs = epochs
        self._weights = weights
        self._max_completion_length = max_completion_length
        self._peft = peft
        self._options = {**trl_options, "num_train_epochs": 1} if epochs else trl_options

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params with TRL's options."""
        return signature_with(cls, SFT)

    def preflight(
        self,
        rows: Sequence[Row],
        models: Sequence[Model],
        evaluation_rows: Sequence[Row] = (),
        init: Sequence[str] = (),
    ) -> None:
        """Check the options, the form of the rows and the model, before a model is loaded."""
        check_all(
            lambda: check_options(SFT, self._options),
            lambda: check_lora(self._peft or {}),
            lambda: check_quantized(models, self._options, self._peft),
            lambda: check_init(init, 1),
            lambda: _columns_of(rows) if rows else None,
            lambda: check_template(rows, models, self._chat_template),
            lambda: check_evaluation(evaluation_rows, models, self._max_completion_length),
            lambda: check_template(evaluation_rows, models, self._chat_template),
        )

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return the bytes of each part on each device in an update. All rows have ``max_length`` tokens."""
        from guerdon.training.planning import plan_training

        check_init([model.name for model in models], 1)
        return plan_training(SFT, models[0], self._options, lora_config(self._peft), processes=processes)

    def run(self, context: StageContext) -> StageResult:
        """Train from ``context.model`` on ``context.rows()``."""
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        config, source, model_options = configure(SFTConfig, self._options, context)
        rows = mixed(context.sources, epochs=self._epochs, weights=self._weights, seed=context.seed)
        dataset = _dataset(rows)
        trainer = resumable(counting_too_long(SFTTrainer, "input_ids"))(
            model=load_model(source, training=True, **model_options),
            args=config,
            train_dataset=dataset,
            processing_class=load_tokenizer(source, chat_template=self._chat_template),
            peft_config=lora_config(self._peft),
        )
        if "text" not in dataset.column_names and not isinstance(rows[0].get("prompt"), str):
            _check_replies_end(trainer)
        warn_of_too_long(trainer, "rows", "cut there")
        answer = None
        if context.evaluation is not None:
            answer = Answers(trainer, context.stage_id, self._max_completion_length)
        train(trainer, context, answer=answer)
        counts: dict[str, Any] = {"rows": len(dataset)}
        if found := trainer.too_long.get("train"):
            counts |= {"cut_rows": len(found.longer), "left_out_rows": found.left_out}
        metrics = summary(trainer, "loss", "mean_token_accuracy")
        metrics |= evaluation_summary(trainer)
        return StageResult(checkpoint=context.output, metrics={**counts, **metrics})


def _check_replies_end(trainer: Any) -> None:
    """Check that the chat template ends a reply with an end token; otherwise the model never learns to stop."""
    tokenizer, model = trainer.processing_class, trainer.model
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ids = tokenizer.apply_chat_template(chat, return_dict=False)
    known = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(known if isinstance(known, list) else [known])}
    if stops.isdisjoint(ids[-2:]):  # a template may add a line break after it
        last, names = tokenizer.decode(ids[-2:]), tokenizer.convert_ids_to_tokens(sorted(stops - {None}))
        raise UsageError(
            f"the chat template ends a reply with {last!r}, and generation stops at {', '.join(names)}: the model "
            "would never stop after a reply. Set 'eos_token' to the token that ends a reply, or a 'chat_template' "
            "that ends one with eos_token."
        )


def _columns_of(kept: Sequence[Row]) -> Sequence[str]:
    """Return the columns that SFT reads.

    Raises:
        DataError: The rows have none of its forms, or two of them.
    """
    columns = next((form for form in _FORMS if all(column in kept[0] for column in form)), None)
    if columns is None:
        raise DataError(
            f"row 0 of the training data has only {', '.join(kept[0]) or 'nothing'}. SFT needs 'messages', 'prompt' "
            "and 'completion', or 'text': map columns to these names in the source's params."
        )
    for number, row in enumerate(kept):
        for column in columns:
            if column not in row or isinstance(row[column], str) != isinstance(kept[0][column], str):
                raise DataError(
                    f"row {number} of the training data has another form than row 0, whose columns are "
                    f"{', '.join(columns)}. Use sources of one form in a stage."
                )
            if not isinstance(row[column], str | list):
                raise DataError(
                    f"'{column}' of row {number} of the training data is {row[column]!r:.60}. Give text or messages."
                )
    return columns


def _dataset(kept: Sequence[Row]) -> Dataset:
    from datasets import Dataset

    columns = _columns_of(kept)
    return Dataset.from_list([{column: row[column] for column in columns} for row in kept])
