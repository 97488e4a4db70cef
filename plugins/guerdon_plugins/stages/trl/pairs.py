"""Preference pairs: read them from rows, or make them of judged completions, and hold some out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from guerdon import Row
from guerdon.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Pairs", "check_pairs", "heldout_share", "is_heldout", "read_pairs"]

_FORMS = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))
"""The columns of TRL's forms of a preference pair; without a prompt, each side is the whole conversation."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of a stage."""

    train: Dataset
    heldout: Dataset | None
    """``None`` if no pair is held out."""
    equal: int
    """The number of pairs that are left out because their replies are equal."""
    conversations: bool
    """Whether they are messages."""


def read_pairs(rows: Iterable[Row], heldout_share: float) -> Pairs:
    """Read the pairs of a stage.

    Args:
        rows: Pairs, or judged completions: rows with a ``prompt``, a ``completion`` and its ``reward``, or its
            ``provenance`` with that, as the stage ``sample`` writes it. The best and the worst completion of a prompt
            are then its pair.
        heldout_share: The share of pairs that are held out.

    Raises:
        DataError: The rows have none of these forms, or no pair is left to train on.
    """
    from datasets import Dataset

    sides: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    first: Row = {}
    equal = 0
    for number, row in enumerate(_paired(rows)):
        first = first or row
        columns = _columns(row, first, number)
        if row["chosen"] == row["rejected"]:
            equal += 1
        else:
            sides[is_heldout(row, heldout_share)].append({name: row[name] for name in columns})
    if not sides[False]:
        raise DataError(
            f"no pair is left to train on: {equal} have equal replies, {len(sides[True])} are held out. "
            "Give pairs whose 'chosen' and 'rejected' differ, or lower 'heldout_pairs'."
        )
    heldout = Dataset.from_list(sides[True]) if sides[True] else None
    return Pairs(Dataset.from_list(sides[False]), heldout, equal, not isinstance(first["chosen"], str))


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


def check_pairs(rows: Sequence[Row]) -> None:
    """Check the form of the pairs, or of the judged completions.

    Raises:
        DataError: A row does not fit.
    """
    pairs = list(_paired(rows))
    for number, row in enumerate(pairs):
        _columns(row, pairs[0], number)


def _paired(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield pairs as they are, and the best and the worst of the judged completions of each prompt."""
    prompts: dict[str, tuple[Row, Row]] = {}
    judged: bool | None = None
    for number, row in enumerate(rows):
        if judged is None:
            judged = "completion" in row and "chosen" not in row
        if not judged:
            yield row
            continue
        reward = _reward(row, number)
        if reward is None:
            continue
        key = json.dumps(row["prompt"], sort_keys=True, default=str)
        best, worst = prompts.setdefault(key, (row, row))
        best = row if reward > (_reward(best, number) or 0.0) else best
        worst = row if reward < (_reward(worst, number) or 0.0) else worst
        prompts[key] = best, worst
    for best, worst in prompts.values():
        yield {"prompt": best["prompt"], "chosen": best["completion"], "rejected": worst["completion"]}


def _reward(row: Row, number: int) -> float | None:
    """Return the reward of a judged completion; ``None`` where it could not be judged."""
    provenance = row.get("provenance")
    known = row if "reward" in row else provenance if isinstance(provenance, Mapping) else {}
    if missing := [name for name in ("prompt", "completion") if name not in row]:
        problem = f"has no '{missing[0]}'"
    elif "reward" not in known:
        problem = "has no 'reward', and no 'provenance' with one"
    elif known["reward"] is None:
        return None
    elif isinstance(known["reward"], int | float) and not isinstance(known["reward"], bool):
        if isfinite(known["reward"]):
            return float(known["reward"])
        problem = f"has the reward {known['reward']}"
    else:
        problem = f"has the reward {known['reward']!r:.40}"
    raise DataError(
        f"row {number} of the judged completions {problem}. Give what 'guerdon score -o' or the stage 'sample' wrote, "
        "or pairs with 'prompt', 'chosen' and 'rejected'."
    )


def heldout_share(param: str, share: float) -> float:
    """Return the share of a data set that is held out, as a param gives it.

    Raises:
        ValueError: It is not a share from 0 to below 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"{param} is {share}: give a share from 0 to below 1.")
    return share


def is_heldout(row: Row, share: float) -> bool:
    """Return whether a row's prompt is on the held-out side."""
    key = row.get("prompt") or (row["chosen"] if isinstance(row["chosen"], str) else row["chosen"][:-1])
    text = json.dumps(["held-out pairs", key], sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) < share * 2**64
