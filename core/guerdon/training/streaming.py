"""Rows that are read while a training needs them, and that are never all in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from random import Random
from typing import Any

import numpy as np
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from guerdon.errors import DataError
from guerdon.training.data import columns_of, with_prompts
from guerdon.types import Row

__all__ = [
    "WINDOW",
    "RowStream",
    "drawn_dataset",
    "micro_batches_of_a_batch",
    "prompts_in_a_batch",
    "streamed_dataset",
]

WINDOW = 1_000
"""The rows within which the order is random: the default of a shuffled stream of ``datasets``."""


class RowStream:
    """The batches of prompts of an endless training. Their order depends only on the rows and the seed.

    A pass over the rows ends with the last full batch, like an epoch of TRL's. Memory holds one batch and one window.

    Args:
        open_rows: Opens the rows. They are the same each time.
        size: The number of rows in a batch.
        shuffle_seed: The seed of the order within each window; ``None`` keeps the order of the rows.
    """

    def __init__(
        self, open_rows: Callable[[], Iterable[Row]], size: int, shuffle_seed: int | None = None
    ) -> None:
        self._open_rows = open_rows
        self._size = size
        self._shuffle_seed = shuffle_seed
        self._process = 0
        self._batches: Iterator[Sequence[Row]] = iter(())
        self._batch: Sequence[Row] = ()
        self._number = -1

    def __getstate__(self) -> dict[str, Any]:
        # ``datasets`` pickles a dataset's transform for its fingerprint. The function that opens rows has no pickle.
        return {"size": self._size, "shuffle_seed": self._shuffle_seed}

    def batch(self, number: int) -> Sequence[Row]:
        """Return the rows of a batch. An earlier batch than the latest one is read from the first row on.

        Raises:
            DataError: A row has no prompt, or there are not enough rows for a batch.
        """
        # A process of the data loader must not read a file that its parent has opened: both would move its position.
        if number < self._number or self._process != os.getpid():
            self._batches, self._number, self._process = self._read(), -1, os.getpid()
        while self._number < number:
            self._batch = next(self._batches)
            self._number += 1
        return self._batch

    def _read(self) -> Iterator[Sequence[Row]]:
        for number in count():
            total = 0
            for rows in _chunks(self._ordered(number), self._size):
                total += len(rows)
                if len(rows) == self._size:
                    yield rows
            if total < self._size:
                raise DataError(
                    f"there are {total} prompts, and one batch takes {self._size}. Give more rows, or lower "
                    "per_device_train_batch_size, gradient_accumulation_steps or steps_per_generation."
                )

    def _ordered(self, number: int) -> Iterator[Row]:
        """Yield the rows of a pass."""
        rows = with_prompts(self._open_rows())
        if self._shuffle_seed is None:
            yield from rows
            return
        for place, window in enumerate(_chunks(rows, WINDOW)):
            Random(f"{self._shuffle_seed}/{number}/{place}").shuffle(window)
            yield from window


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def streamed_dataset(open_rows: Callable[[], Iterable[Row]], args: GRPOConfig) -> Dataset:
    """Return a dataset like that of ``rows_dataset``, with the prompts of all steps, whose rows are read when needed.

    Args:
        open_rows: Opens the rows. They are the same each time.
        args: TRL's configuration, with ``max_steps``. Its ``shuffle_dataset`` asks for a random order.
    """
    stream = RowStream(open_rows, prompts_in_a_batch(args), args.seed if args.shuffle_dataset else None)
    return drawn_dataset(stream.batch, args)


def drawn_dataset(batch: Callable[[int], Sequence[Row]], args: GRPOConfig) -> Dataset:
    """Return a dataset like that of ``rows_dataset`` with the prompts of all steps, which are drawn when needed.

    Its order is final, so TRL must not shuffle it: this function sets ``shuffle_dataset`` to false.

    Args:
        batch: Returns the rows of a batch of generations, by its number.
        args: TRL's configuration, with ``max_steps``.
    """
    size = prompts_in_a_batch(args)
    batches = -(-args.max_steps * args.gradient_accumulation_steps // micro_batches_of_a_batch(args))
    args.shuffle_dataset = False

    def look_up(columns: dict[str, list[int]]) -> dict[str, list[Any]]:
        places = [divmod(index, size) for index in columns["index"]]
        return columns_of(columns["index"], [batch(number)[place] for number, place in places])

    return Dataset.from_dict({"index": np.arange(batches * size)}).with_transform(look_up)


def prompts_in_a_batch(args: GRPOConfig) -> int:
    """Return the number of prompts that a batch of generations has."""
    assert args.generation_batch_size is not None  # TRL derives these
    assert args.num_generations is not None
    return args.generation_batch_size // args.num_generations


def micro_batches_of_a_batch(args: GRPOConfig) -> int:
    """Return the number of micro-batches of each process that train on one batch of generations."""
    assert args.steps_per_generation is not None  # TRL derives it
    return args.steps_per_generation * args.num_iterations
