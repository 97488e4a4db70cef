"""Report errors of a stage's sources, columns that are replaced, and rows that were not read."""

from __future__ import annotations

from collections.abc import Iterator

from guerdon.manifest.plan import Plan, StagePlan
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.run.stage_check import StageRows


def check_sources(plan: Plan, stage: StagePlan, rows: StageRows) -> Iterator[Finding]:
    """Yield the errors of a stage's sources, what they lose, and notes of the rows that were not read."""
    for index, source in enumerate(stage.sources):
        site = Site.of(plan, stage).part(f"source '{source.ref.use}'", source.location)
        if source.stage_id is not None:
            yield site.unchecked(f"stage '{source.stage_id}' makes its rows.")
        elif index in rows.errors:
            yield from site.errors(rows.errors[index])
        for column in rows.replaced.get(index, ()):
            yield site.finding(
                Level.WARNING,
                f"its 'add' replaces the column '{column}' of the data: every row gets {source.ref.add[column]!r:.40}. "
                "Give the added column another name, if that is not meant.",
            )
        if index in rows.longer:
            yield site.unchecked(f"its rows after the first {rows.longer[index]:,}.")
