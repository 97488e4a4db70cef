"""The templates of pages: the report, and the viewer's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guerdon.report import charts, formatting
from guerdon.report.intervals import is_interval, with_intervals

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def environment(*packages: str) -> Environment:
    """Return the environment of the shared templates and of other packages' templates.

    Raises:
        ModuleNotFoundError: Jinja is not installed.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader(package) for package in (*packages, "guerdon.report")]
    made = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=formatting.number,
        duration=formatting.duration,
        milliseconds=formatting.milliseconds,
        size=formatting.size,
        words=formatting.words,
        json=formatting.indented_json,
        visible=visible,
        turns=formatting.turns,
        made_calls=formatting.made_calls,
    )
    made.globals.update(
        cut=formatting.cut,
        reference=formatting.reference,
        colour=charts.colour,
        columns=_columns,
        shown_rows=_shown_rows,
        numbers=_numbers,
    )
    return made


def visible(text: Any) -> Markup:
    """Return a text as HTML in which control, bidirectional and other invisible characters are shown by their code."""
    from markupsafe import Markup, escape

    text = str(text)
    if text.isprintable():
        return escape(text)
    pieces: list[str] = []
    start = 0
    for place, letter in enumerate(text):
        if formatting.is_hidden(letter):
            pieces += [escape(text[start:place]), f'<span class="hidden">U+{ord(letter):04X}</span>']
            start = place + 1
    return Markup("".join([*pieces, escape(text[start:])]))


_WIDE = 7
"""A table with more columns is turned, so that it fits a page."""


def _shown_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a table's rows as a page shows them: with intervals; with a row for each measure if it is too wide."""
    merged = with_intervals(rows)
    names = _columns(merged)
    if len(names) <= max(_WIDE, len(merged)):
        return merged
    first, *measures = names
    titles = [str(row.get(first, "")) for row in merged]
    if len({*titles, "measure"}) <= len(titles):
        return merged
    return [
        {
            "measure": formatting.words(name),
            **{t: row.get(name) for t, row in zip(titles, merged, strict=True)},
        }
        for name in measures
    ]


def _numbers(rows: list[dict[str, Any]], names: list[str]) -> set[str]:
    """Return the columns that have only numbers."""
    return {name for name in names if all(_is_number(row.get(name)) for row in rows)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | None) or is_interval(value)


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
