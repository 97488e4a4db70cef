"""A curriculum that follows the policy: prompts are drawn from where groups have had a signal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from guerdon.errors import DataError, StageFailedError
from guerdon.grpo.dynamic_sampling import PromptOrder, Signal
from guerdon.training.data import with_prompts
from guerdon.training.streaming import drawn_dataset, micro_batches_of_a_batch, prompts_in_a_batch
from guerdon.types import Row

__all__ = ["LEAST_SHARE", "Curriculum", "curriculum_dataset"]

LEAST_SHARE = 0.05
"""A bucket without a signal is drawn as if this share of its groups had one, so that a change is seen."""

_REMEMBERED = 0.95
"""The weight of a group when the next one of its bucket is judged: about 20 groups count."""

_UNKNOWN = 4.0
"""The groups with a signal that are assumed of each bucket at first."""


class Curriculum:
    """The batches of prompts of an endless training, by what the policy can learn from now.

    The rows with one value of a column are a bucket. A prompt is drawn from a bucket with a probability in proportion
    to its rows, times the share of its recent groups that had a signal: whose rewards differed. Groups of equal rewards
    teach nothing, whether the policy is always right or always wrong. (Foster et al., arXiv:2502.12272, select prompts
    by the variance of their success.) A group that failed says nothing about its bucket.

    A batch depends only on the rows, the seed, and the signals of the batches that are ``lag`` or more before it.

    Args:
        rows: The rows, with the column.
        by: The column.
        size: The number of rows in a batch.
        seed: The run's seed.
        lag: A batch is drawn when the one so many before it is judged. The later ones may be under way.

    Raises:
        DataError: There are not enough rows for a batch.
    """

    def __init__(self, rows: Iterable[Row], by: str, size: int, seed: int, lag: int = 1) -> None:
        self.by = by
        self.size = size
        self._rows: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            self._rows[self._bucket_of(row)].append(row)
        if (total := sum(map(len, self._rows.values()))) < size:
            raise DataError(
                f"there are {total} prompts, and one batch takes {size}. Give more rows, or lower "
                "per_device_train_batch_size or steps_per_generation."
            )
        self._seed = seed
        self._lag = lag
        self.history = {}

    def __getstate__(self) -> dict[str, Any]:
        # ``datasets`` pickles a dataset's transform for its fingerprint, which needs no copy of the rows.
        return {"by": self.by, "size": self.size, "seed": self._seed}

    @property
    def history(self) -> dict[int, Mapping[str, tuple[int, int]]]:
        """The judged groups of each batch's buckets, and those with a signal. A checkpoint keeps it."""
        return self._history

    @history.setter
    def history(self, history: dict[int, Mapping[str, tuple[int, int]]]) -> None:
        self._history = history
        self._batches: list[list[Row]] = []
        self._orders = {
            bucket: PromptOrder(len(rows), f"{self._seed}/{bucket}") for bucket, rows in self._rows.items()
        }
        self._judged = dict.fromkeys(self._rows, _UNKNOWN)
        self._with_signal = dict.fromkeys(self._rows, _UNKNOWN)

    def _bucket_of(self, row: Row) -> str:
        return str(row.get(self.by))

    def learn(self, number: int, signals: Iterable[Signal]) -> dict[str, float]:
        """Take the signals of the groups of a batch's rows, in their order, and return the metrics of the batch."""
        found: dict[str, list[Signal]] = {bucket: [] for bucket in self._rows}
        # A rollout's columns lack the prompt, and a rollout function may have replaced some.
        for row, signal in zip(self.batch(number), signals, strict=True):
            found[self._bucket_of(row)].append(signal)
        total = sum(map(len, found.values()))
        metrics = {f"curriculum/{bucket}/drawn": len(ours) / total for bucket, ours in found.items()}
        known = {bucket: [one for one in ours if one is not Signal.FAILED] for bucket, ours in found.items()}
        self._history[number] = {
            bucket: (len(ours), ours.count(Signal.SOME)) for bucket, ours in known.items()
        }
        return metrics | {
            f"curriculum/{bucket}/signal": ours.count(Signal.SOME) / len(ours)
            for bucket, ours in known.items()
            if ours
        }

    def batch(self, number: int) -> Sequence[Row]:
        """Return the rows of a batch, which are different ones.

        Raises:
            StageFailedError: A batch was not judged whose signals decide.
        """
        while len(self._batches) <= number:
            latest = len(self._batches) - self._lag
            if latest >= 0 and latest not in self._history:
                raise StageFailedError(
                    f"the curriculum is asked for batch {len(self._batches)} before batch {latest} was judged: this "
                    "version of transformers or accelerate reads data further ahead than guerdon expects. Install the "
                    "versions that guerdon supports, or leave out curriculum_by."
                )
            for bucket, judged in self._history[latest].items() if latest >= 0 else ():
                self._count(bucket, *judged)
            self._batches.append(self._draw(len(self._batches)))
        return self._batches[number]

    def _count(self, bucket: str, judged: int, with_signal: int) -> None:
        kept = _REMEMBERED**judged
        self._judged[bucket] = kept * self._judged[bucket] + judged
        self._with_signal[bucket] = kept * self._with_signal[bucket] + with_signal

    def _draw(self, number: int) -> list[Row]:
        weights = {
            bucket: len(rows) * max(LEAST_SHARE, self._with_signal[bucket] / self._judged[bucket])
            for bucket, rows in self._rows.items()
        }
        random = Random(f"{self._seed}/{number}")
        drawn: dict[str, list[int]] = {bucket: [] for bucket in self._rows}
        batch = []
        for _ in range(self.size):
            left = [bucket for bucket, rows in self._rows.items() if len(drawn[bucket]) < len(rows)]
            (bucket,) = random.choices(left, [weights[one] for one in left])
            (row,) = self._orders[bucket].take(1, drawn[bucket])
            drawn[bucket].append(row)
            batch.append(self._rows[bucket][row])
        return batch


def curriculum_dataset(rows: Iterable[Row], by: str, args: GRPOConfig) -> tuple[Dataset, Curriculum]:
    """Return a dataset like that of ``rows_dataset`` with the prompts of all steps, and the curriculum that draws them.

    Args:
        rows: The rows.
        by: The column whose values are the buckets.
        args: TRL's configuration, with ``max_steps``.
    """
    # transformers reads the micro-batches of an update before it trains on them, and accelerate reads one more.
    ahead = args.gradient_accumulation_steps // micro_batches_of_a_batch(args)
    curriculum = Curriculum(with_prompts(rows), by, prompts_in_a_batch(args), args.seed, ahead + 1)
    return drawn_dataset(curriculum.batch, args), curriculum
