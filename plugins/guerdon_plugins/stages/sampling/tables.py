"""The tables of `evaluate`: each number with its interval, models compared, and groups of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Row
from guerdon_plugins.shared.intervals import Part, intervals, ratio, sign_flip_p
from guerdon_plugins.stages.sampling.measures import Measures

__all__ = ["differences", "evaluation", "grouped"]

TableRow = dict[str, Any]


def evaluation(models: Mapping[str, Measures], refused: Mapping[str, int], seed: int) -> list[TableRow]:
    """Return a row for each model, with every measure and its interval.

    Args:
        models: Each model's measures.
        refused: The number of prompts that each model refused.
        seed: The seed of the resamples.
    """
    table = []
    for name, measures in models.items():
        count = refused.get(name, 0)
        table.append(
            {"model": name, **_cells(measures, seed), **({"refused_prompts": count} if count else {})}
        )
    return table


def differences(models: Mapping[str, Measures], against: str, seed: int) -> list[TableRow]:
    """Return a row for each other model: its measures minus those of ``against``, on the same prompts.

    Only prompts on which both models have values count, each as much as any other.
    """
    table = []
    for name, measures in models.items():
        if name == against:
            continue
        row: TableRow = {"pair": f"{name} - {against}"}
        pairs = {
            label: [_difference(*both) for both in zip(parts, models[against][label], strict=True)]
            for label, parts in measures.items()
            if label in models[against]
        }
        row |= _cells(pairs, seed, list(pairs))
        table.append(row)
    return table


def grouped(models: Mapping[str, Measures], rows: Sequence[Row], column: str, seed: int) -> list[TableRow]:
    """Return a row for each model and each value of a column, over the prompts that have it."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(f"{column}={row.get(column)}", []).append(place)
    return [
        {
            "model": name,
            "group": group,
            "prompts": len(chosen),
            **_cells({label: [parts[p] for p in chosen] for label, parts in measures.items()}, seed),
        }
        for group, chosen in places.items()
        for name, measures in models.items()
    ]


def _cells(measures: Measures, seed: int, tested: Sequence[str] = ()) -> TableRow:
    """Return each measure's mean and interval, and of the tested ones the p-value."""
    cells: TableRow = {}
    for (label, parts), interval in zip(
        measures.items(), intervals(list(measures.values()), seed), strict=True
    ):
        if (mean := ratio(parts)) is None:
            continue
        cells[label] = mean
        if interval is not None:
            cells[f"{label}_low"], cells[f"{label}_high"] = interval
        if label in tested:
            cells[f"{label}_p"] = sign_flip_p([total for total, count in parts if count], seed)
    return cells


def _difference(one: Part, other: Part) -> Part:
    mine, its = ratio([one]), ratio([other])
    return (0.0, 0) if mine is None or its is None else (mine - its, 1)
