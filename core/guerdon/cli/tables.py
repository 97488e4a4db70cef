"""Print tables of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guerdon.report.intervals import with_intervals
from guerdon.stage import StageResult

NO_EDGE = 200
"""The width of a table where no terminal limits it."""


def print_results(results: Mapping[str, StageResult], console: Console) -> None:
    """Print each stage's tables, and its metrics in one line."""
    for stage_id, result in results.items():
        numbers = {name: value for name, value in result.metrics.items() if name != "tables"}
        line = ", ".join(
            f"{name} {cell(value)}" for name, value in numbers.items() if not isinstance(value, dict)
        )
        console.print(Text.assemble((stage_id, "bold"), f"  {line}"))
        for title, rows in result.metrics.get("tables", {}).items():
            print_measures(title, rows, console)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print rows of JSON values as a table. Its columns are the keys in their first order."""
    console.print(Text(title))
    if not console.is_terminal:  # a file or a pipe has no width limit
        console = Console(file=console.file, width=max(console.width, NO_EDGE))
    console.print(_table(_names(rows), rows))


def print_measures(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print rows of numbers, each with its interval if there is one, as a table that fits the console.

    A table that is too wide is transposed: each row becomes a column. If it is still too wide, it is printed in parts.
    """
    rows = with_intervals(rows)
    names = _names(rows)
    console.print(Text(title))
    table = _table(names, rows)
    if _fits(table, console) or len(names) < 3:
        console.print(table)
        return
    start = 0
    while start < len(rows):
        count = len(rows) - start
        while count > 1 and not _fits(_turned(names, rows[start : start + count]), console):
            count -= 1
        console.print(_turned(names, rows[start : start + count]))
        start += count


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _fits(table: Table, console: Console) -> bool:
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width


def _table(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        numeric = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(_words(name), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in names))
    return table


def _turned(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with a column for each row, headed by the row's first value."""
    first, *others = names
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(_words(first))
    for row in rows:
        table.add_column(Text(cell(row.get(first))), justify="right")
    for name in others:
        table.add_row(_words(name), *(Text(cell(row.get(name))) for row in rows))
    return table


def _words(name: str) -> Text:
    """Return a column's name as it is printed. A ``Text`` shows what looks like markup or an emoji code as it is."""
    return Text(name.replace("_", " "))


def cell(value: Any) -> str:
    """Return a value as short text."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    return str(value)
