"""Names references that stand where a data set has no answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from guerdon.preflight.findings import Finding, Level, Site
from guerdon.rubric import Entry
from guerdon.types import Row

PLACEHOLDERS = frozenset(
    {
        "",
        "-",
        "--",
        "?",
        "...",
        "n/a",
        "na",
        "nan",
        "nil",
        "none",
        "not found",
        "notfound",
        "null",
        "proof",
        "tbd",
        "todo",
    }
    | {"undefined", "unknown"}
)
"""What data sets write where an answer is missing, in small letters."""


def is_placeholder(reference: Any) -> bool:
    """Whether a reference says that there is no answer."""
    if reference is None or (isinstance(reference, float) and math.isnan(reference)):
        return True
    return isinstance(reference, str) and reference.strip().rstrip(".").lower() in PLACEHOLDERS


def check_placeholders(site: Site, entry: Entry, rows: Sequence[Row]) -> Iterator[Finding]:
    """Warn of rows whose reference is a placeholder: a completion that repeats it would be paid, or none ever."""
    if "reference" not in entry.component.columns.names:
        return
    held = [
        (number, row["reference"])
        for number, row in enumerate(rows)
        if is_placeholder(row.get("reference", 0))
    ]
    if held:
        number, reference = held[0]
        yield site.finding(
            Level.WARNING,
            f"{len(held)} of {len(rows)} references say that there is no answer, such as {reference!r} in row "
            f"{number}. Leave such rows out of the data.",
        )
