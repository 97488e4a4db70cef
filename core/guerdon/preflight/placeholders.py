"""Report references that are placeholders for missing answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guerdon.data.references import placeholder_reason
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.rubric import Entry
from guerdon.types import Row


def check_placeholders(site: Site, entry: Entry, rows: Sequence[Row]) -> Iterator[Finding]:
    """Warn of rows whose reference is a placeholder for a missing answer.

    Either a completion that repeats it would be rewarded, or no completion would be.
    """
    if "reference" not in entry.component.columns.names:
        return
    held = [
        (number, row["reference"])
        for number, row in enumerate(rows)
        if placeholder_reason(row.get("reference", 0)) is not None
    ]
    if held:
        number, reference = held[0]
        yield site.finding(
            Level.WARNING,
            f"{len(held)} of {len(rows)} references say that there is no answer, such as {reference!r} in row "
            f"{number}. Leave such rows out of the data.",
        )
