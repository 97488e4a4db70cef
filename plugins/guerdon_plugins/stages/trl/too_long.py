"""Count and report the rows longer than ``max_length``, which TRL cuts or drops silently."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

from guerdon.training.seam import Member, absences

logger = logging.getLogger(__name__)

_NAMED = 10
"""The most row numbers in the log."""

_SEAM = (
    Member(
        "_prepare_dataset",
        "the count of rows that are cut or dropped",
        "turns rows into tokens, and then cuts or drops what is too long",
        1228,
        ("dataset", "processing_class", "args"),
    ),
)
"""The members of ``trl.trainer.sft_trainer.SFTTrainer`` and ``reward_trainer.RewardTrainer`` (649) that are used."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """The long rows of one data set."""

    rows: int
    """The number of rows."""
    longer: tuple[int, ...]
    """The numbers of the rows that are longer than ``max_length``."""
    left_out: int
    """The number of rows that are not trained on, because they have nothing left to learn."""


def counting_too_long(trainer_class: type[Any], *columns: str) -> type[Any]:
    """Return the trainer class with ``too_long``: by data set (``train``, ``eval``), a :class:`TooLong`.

    Args:
        trainer_class: TRL's ``SFTTrainer`` or ``RewardTrainer``.
        *columns: The columns of tokens that must fit.
    """
    for part, problem in absences(trainer_class, _SEAM).items():
        logger.warning("%s is off: in this version of TRL, %s", part, problem)
        return type(f"Counting{trainer_class.__name__}", (trainer_class,), {"too_long": {}})

    class Counting(trainer_class):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
            prepare = super()._prepare_dataset
            unlimited = copy.copy(args)
            unlimited.max_length = None
            # SFT's trainer also gets whether to pack, which needs the limit.
            first = (False, *rest[1:]) if len(rest) > 1 else rest
            tokens = prepare(dataset, processing_class, unlimited, *first)
            # For tokenized rows, this only cuts, drops and packs.
            prepared = prepare(tokens, processing_class, args, *rest)
            longer = _longer(tokens, columns, args.max_length)
            packed = len(rest) > 1 and rest[0]
            left_out = 0 if packed else len(tokens) - len(prepared)
            known = self.__dict__.setdefault("too_long", {})
            known[rest[-1]] = TooLong(len(tokens), tuple(longer), left_out)
            return prepared

    Counting.__name__ = f"Counting{trainer_class.__name__}"
    return Counting


def warn_of_too_long(trainer: Any, what: str, becomes: str) -> None:
    """Log the rows that do not fit, on the main process.

    Args:
        trainer: A trainer of a class by :func:`counting_too_long`.
        what: The noun for a row.
        becomes: The treatment of a row that is too long.
    """
    if not trainer.accelerator.is_main_process:
        return
    for name, found in trainer.too_long.items():
        if not found.longer:
            continue
        numbers = ", ".join(map(str, found.longer[:_NAMED]))
        more = ", ..." if len(found.longer) > _NAMED else ""
        logger.warning(
            "%d of %d %s (%s) are longer than max_length, %d tokens, and %s: numbers %s%s. %d of them are left out.",
            len(found.longer), found.rows, what, name, trainer.args.max_length, becomes, numbers, more,
            found.left_out,
        )  # fmt: skip


def _longer(tokens: Any, columns: tuple[str, ...], limit: int | None) -> list[int]:
    """Return the numbers of the rows in which a column has more tokens than the limit."""
    import numpy as np
    import pyarrow.compute as pc

    if limit is None:
        return []
    table = tokens.with_format("arrow")[:]
    lengths = [pc.list_value_length(table[column]).to_numpy(zero_copy_only=False) for column in columns]
    longer: list[int] = np.flatnonzero(np.max(lengths, axis=0) > limit).tolist()
    return longer
