"""Check that tools and environments can be built, find their rows, and that environments begin a rollout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guerdon.data.columns import matches
from guerdon.errors import GuerdonError
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.plugins.spelling import did_you_mean
from guerdon.preflight.findings import Finding, Site
from guerdon.run.stage_check import StageRows
from guerdon.tools import Toolbox, ToolEntry
from guerdon.types import Row


def check_tools(plan: Plan, stage: StagePlan, rows: StageRows) -> Iterator[Finding]:
    """Check a stage's tools and environments on its rows."""
    first = len(stage.ref.tools)
    usable = True
    for number, entry in enumerate(stage.tools):
        key, index = ("tools", number) if number < first else ("environments", number - first)
        site = Site.of(plan, stage).part(
            f"{entry.component.kind.noun} '{entry.name}'", (*stage.location, key, index)
        )
        found = list(_check_entry(site, entry, rows.sampled))
        yield from found
        usable = usable and not found
    if usable and stage.tools and rows.sampled:
        yield from _check_rollouts(Site.of(plan, stage), stage, rows.sampled)


def _check_entry(site: Site, entry: ToolEntry, rows: Sequence[Row]) -> Iterator[Finding]:
    columns = {column for row in rows for column in row}
    for column in entry.when:
        if rows and column not in columns:
            hint = did_you_mean(column, columns)
            yield site.error(f"its 'when' asks for the column '{column}', which no sampled row has.{hint}")
            return
    if rows and not any(matches(entry.when, row) for row in rows):
        yield site.error(f"its 'when' matches none of {len(rows)} sampled rows.")
        return
    try:
        entry.component.check(entry.component.build())
    except (GuerdonError, OSError) as error:
        yield from site.errors(error)


def _check_rollouts(site: Site, stage: StagePlan, rows: Sequence[Row]) -> Iterator[Finding]:
    """Begin and end a rollout of one row for each environment, and choose the tools of all rows."""
    try:
        with Toolbox([entry for entry in stage.tools if not entry.is_environment], workers=1) as toolbox:
            toolbox.open(rows, range(len(rows)))
        with Toolbox(stage.tools, workers=1) as toolbox:
            for entry in stage.tools:
                tried = [row for row in rows if entry.is_environment and entry.applies_to(row)][:1]
                sessions = toolbox.open(tried, [0] * len(tried))
                toolbox.finish(sessions)
                for session in sessions:
                    if session.broken is not None:
                        yield site.error(f"{session.broken}. A rollout of a sampled row cannot begin or end.")
    except (GuerdonError, OSError) as error:
        yield from site.errors(error)
