"""Check a plan before any training, and report all problems at once."""

from __future__ import annotations

from collections.abc import Iterator

from guerdon.errors import GuerdonError
from guerdon.manifest.plan import Plan
from guerdon.preflight.findings import Finding, Level, Site, raise_for
from guerdon.preflight.hooks import check_hooks
from guerdon.preflight.models import check_models
from guerdon.preflight.output import check_run_folder
from guerdon.preflight.rows import check_sources
from guerdon.preflight.rubrics import check_rubric
from guerdon.preflight.tools import check_tools
from guerdon.run.stage_check import check_stage, read_stage_rows

__all__ = ["Finding", "Level", "check_run_folder", "preflight", "raise_for"]


def preflight(plan: Plan, *, score: bool = True) -> Iterator[Finding]:
    """Check everything that can be checked before a run: the hooks, then each stage.

    Args:
        plan: The plan to check.
        score: Whether to try verifiers on the rows, which takes the longest.
    """
    yield from check_hooks(plan)
    for stage in plan.stages:
        models = list(check_models(plan, stage))
        yield from models
        rows = read_stage_rows(plan, stage)
        yield from check_sources(plan, stage, rows)
        sound = not any(finding.level is Level.ERROR for finding in models)
        if stage.sound:
            try:
                check_stage(plan, stage, rows, models=sound)
            except (GuerdonError, OSError) as error:
                yield from Site.of(plan, stage).errors(error)
            yield from check_tools(plan, stage, rows)
        if stage.entries and rows.sampled:
            yield from check_rubric(plan, stage, rows, score=score)
        elif stage.entries:
            yield (
                Site.of(plan, stage)
                .part("rewards", (*stage.location, "rewards"))
                .unchecked("there is no row to try them on.")
            )
