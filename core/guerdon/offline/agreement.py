"""The agreement of scorers with labelled rows: accuracy, and Cohen's kappa."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guerdon.data.json_values import to_number
from guerdon.errors import DataError
from guerdon.plugins.spelling import did_you_mean
from guerdon.types import Judgement

__all__ = ["Agreement", "check_labels", "kappa", "read_label"]

THRESHOLD = 0.5
"""A label or a value from here on says yes."""

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_label(where: str, row: Mapping[str, Any], column: str) -> bool | None:
    """Return what a row's label says, or ``None`` if it has none.

    Args:
        where: The row's place, for errors.
        row: The row.
        column: The column with labels: a bool, a number (0.5 or more says yes), or such a text, as in CSV.

    Raises:
        DataError: The label is something else.
    """
    value = row.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    try:
        number = float(value) if isinstance(value, str) else to_number(value)
    except ValueError:
        number = None
    if number is None or not math.isfinite(number):
        raise DataError(
            f"{where}: the label '{column}' is {value!r:.40}. Give true or false, or a number of which 0.5 or more "
            "says yes."
        )
    return bool(float(number) >= THRESHOLD)


class Agreement:
    """Counts how often each scorer says what the labels say.

    Args:
        names: The rubric's entries.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._pairs: dict[str, Counter[tuple[bool, bool]]] = {name: Counter() for name in names}
        self._labelled = 0

    def add(self, label: bool | None, judgement: Judgement) -> None:
        """Count a row. A row without a label, or an entry without a value, does not count."""
        if label is None:
            return
        self._labelled += 1
        for name, verdict in judgement.verdicts.items():
            if verdict.score.value is not None:
                self._pairs[name][label, verdict.score.value >= THRESHOLD] += 1

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each entry: counts, accuracy and kappa, ``None`` where they have no meaning."""
        rows = []
        for name, pairs in self._pairs.items():
            total = pairs.total()
            rows.append(
                {
                    "name": name,
                    "labelled": total,
                    "no value": self._labelled - total,
                    "accuracy": (pairs[True, True] + pairs[False, False]) / total if total else None,
                    "kappa": kappa(pairs),
                    "wrongly yes": pairs[False, True],
                    "wrongly no": pairs[True, False],
                }
            )
        return rows


def check_labels(rows: Iterable[tuple[str, Mapping[str, Any]]], column: str) -> None:
    """Check the labels of all rows, each given with its place.

    Raises:
        DataError: A label is invalid, or no row has one.
    """
    names: dict[str, None] = {}
    labelled = False
    for where, row in rows:
        names |= dict.fromkeys(row)
        labelled |= read_label(where, row, column) is not None
    if not labelled:
        hint = "" if column in names else did_you_mean(column, names)
        raise DataError(
            f"no row has a label in the column '{column}', which --labels names.{hint} Columns: {', '.join(names)}."
        )


def kappa(pairs: Mapping[tuple[bool, bool], int]) -> float | None:
    """Return Cohen's kappa of two raters who say yes or no (Cohen 1960, equation 1).

    Args:
        pairs: How often each pair of answers was given.

    Returns:
        1 for full agreement, 0 for that of chance; ``None`` if both always say the same one thing, or nothing.
    """
    total = sum(pairs.values())
    if not total:
        return None
    observed = sum(count for (one, other), count in pairs.items() if one is other) / total
    expected = sum(
        sum(count for (one, _), count in pairs.items() if one is answer)
        * sum(count for (_, other), count in pairs.items() if other is answer)
        for answer in (True, False)
    ) / (total * total)
    return None if expected == 1 else (observed - expected) / (1 - expected)
