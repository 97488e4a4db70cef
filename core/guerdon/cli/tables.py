"""Tables of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from guerdon.stage import StageResult

NO_EDGE = 200
"""Columns that a table may take where nobody's terminal ends."""


def print_results(results: Mapping[str, StageResult], console: Console) -> None:
    """Each stage's tables, and its metrics in one line."""
    for stage_id, result in results.items():
        numbers = {name: value for name, value in result.metrics.items() if name != "tables"}
        line = ", ".join(
            f"{name} {cell(value)}" for name, value in numbers.items() if not isinstance(value, dict)
        )
        console.print(f"[bold]{stage_id}[/bold]  {line}", highlight=False)
        for title, rows in result.metrics.get("tables", {}).items():
            print_rows(title, rows, console)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Rows of JSON values as a table; its columns are the keys in their first order."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        numeric = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(cell(row.get(name)) for name in names))
    console.print(title, highlight=False)
    if not console.is_terminal:  # a file or a pipe has no edge to fold at
        console = Console(file=console.file, width=max(console.width, NO_EDGE))
    console.print(table)


def cell(value: Any) -> str:
    """A value as short text."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    return str(value)
