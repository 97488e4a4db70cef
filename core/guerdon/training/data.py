"""Turn rows into a dataset for TRL's trainers, in an order that a resumed run reproduces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.utils import RepeatSampler

from guerdon.errors import DataError
from guerdon.types import Row


def rows_dataset(rows: Iterable[Row]) -> Dataset:
    """Return a dataset with the columns ``index``, ``prompt`` and ``row`` (the whole row).

    The rows stay Python objects. Arrow, the format of TRL's data sets, gives a column one type and fills a nested
    value's missing keys with nulls, which would change references and test cases.

    Args:
        rows: Rows with a ``prompt``, all strings or all conversations.

    Raises:
        DataError: A row has no prompt or an empty one, or prompts have both formats.
    """
    kept = list(with_prompts(rows))

    def look_up(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        return columns_of(batch["index"], [kept[index] for index in batch["index"]])

    return Dataset.from_dict({"index": list(range(len(kept)))}).with_transform(look_up)


def columns_of(indices: list[int], rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the columns that TRL's trainers get of rows."""
    return {"index": indices, "prompt": [row["prompt"] for row in rows], "row": list(rows)}


def with_prompts(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, and check that each has a prompt of the first one's format.

    Raises:
        DataError: A row has no prompt or an empty one, or prompts have both formats.
    """
    text: bool | None = None
    for number, row in enumerate(rows):
        if "prompt" not in row:
            raise DataError(
                f"row {number} of the training data has no 'prompt', only {', '.join(row) or 'nothing'}. "
                "Map its column to 'prompt' in the source's params."
            )
        if not row["prompt"]:
            raise DataError(
                f"row {number} of the training data has an empty prompt. Leave the row out, or map another column to "
                "'prompt' in the source's params."
            )
        text = isinstance(row["prompt"], str) if text is None else text
        if isinstance(row["prompt"], str) != text:
            raise DataError(
                f"row {number} of the training data has a prompt in another format (text or conversation) than "
                "row 0. Use sources of one format in a stage."
            )
        yield row


class ResumableSampler(Sampler[int]):
    """A sampler whose order in each epoch depends only on the seed and the epoch's number.

    Samplers of TRL and transformers use a generator whose state differs in a resumed run.

    Args:
        sampler: The sampler: TRL's, with a generator of its own, or one that draws from torch's.
        seed: The run's seed.
        epoch: Returns the number of the epoch that begins.
    """

    def __init__(self, sampler: Sampler[int], seed: int, epoch: Callable[[], int]) -> None:
        self._sampler: Any = sampler
        self._seed = seed
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        seed = self._seed + self._epoch()
        if isinstance(self._sampler, RepeatSampler):
            if self._sampler.shuffle:
                self._sampler.generator.manual_seed(seed)
            yield from self._sampler
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            order = list(self._sampler)
        yield from order

    def __len__(self) -> int:
        return len(self._sampler)


def check_fills_a_batch(dataset: Dataset, args: GRPOConfig, *, fresh: bool) -> None:
    """Check that the prompts fill one batch of generations, and with ``fresh`` that there are more.

    Raises:
        DataError: They do not.
    """
    assert args.generation_batch_size is not None  # TRL derives it
    assert args.num_generations is not None
    needed = args.generation_batch_size // args.num_generations
    if len(dataset) < needed:  # TRL drops a batch that is not full, and would train for no step at all
        raise DataError(
            f"there are {len(dataset)} prompts, and one batch of generations takes {needed} "
            f"(generation_batch_size {args.generation_batch_size} / num_generations {args.num_generations}). "
            "Give more rows, or lower per_device_train_batch_size or steps_per_generation."
        )
    if fresh and len(dataset) == needed:
        raise DataError(
            f"dynamic_sampling has no fresh prompts: there are {len(dataset)}, and one batch of generations takes all "
            "of them. Give more rows, or leave it out."
        )
