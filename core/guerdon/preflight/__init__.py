"""Check a plan before any training, and report all problems at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from guerdon.errors import GuerdonError
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.preflight.findings import Finding, Level, Site, raise_for
from guerdon.preflight.hooks import check_hooks
from guerdon.preflight.models import check_models
from guerdon.preflight.rows import check_sources
from guerdon.preflight.rubrics import check_rubric
from guerdon.preflight.scoring import check_scoring
from guerdon.preflight.speed import measured
from guerdon.preflight.tools import check_tools
from guerdon.preflight.trials import Trials
from guerdon.run.stage_check import StageRows, check_stage, read_stage_rows

__all__ = ["Finding", "Level", "preflight", "raise_for"]


def preflight(plan: Plan, *, score: bool = True) -> Iterator[Finding]:
    """Check everything that can be checked before a run: the hooks, the Ray cluster, then each stage.

    Args:
        plan: The plan to check.
        score: Whether to try verifiers on the rows, which takes the longest.
    """
    yield from check_hooks(plan)
    yield from check_scoring(plan)
    evaluated = [part for stage in plan.stages if (part := stage.evaluated) is not None]
    with Trials([*plan.stages, *evaluated]) if score else nullcontext() as trials:
        for stage in plan.stages:
            yield from _check_stage(plan, stage, trials)


def _check_stage(plan: Plan, stage: StagePlan, trials: Trials | None) -> Iterator[Finding]:
    models = list(check_models(plan, stage))
    yield from models
    rows = read_stage_rows(plan, stage)
    yield from check_sources(plan, stage, rows)
    evaluation = stage.evaluated
    evaluation_rows = StageRows() if evaluation is None else read_stage_rows(plan, evaluation)
    sound = not any(finding.level is Level.ERROR for finding in models)
    try:
        check_stage(plan, stage, rows, evaluation_rows, models=sound)
    except (GuerdonError, OSError) as error:
        yield from Site.of(plan, stage).errors(error)
    if stage.sound:
        yield from check_tools(plan, stage, rows)
    if stage.entries and rows.sampled:
        yield from check_rubric(plan, stage, rows, trials)
    elif stage.entries:
        yield (
            Site.of(plan, stage)
            .part("rewards", (*stage.location, "rewards"))
            .unchecked("there is no row to try them on.")
        )
    if evaluation is not None:
        yield from check_sources(plan, evaluation, evaluation_rows)
        if evaluation.entries and evaluation_rows.sampled:
            yield from check_rubric(plan, evaluation, evaluation_rows, trials, trains=False)
    if trials is not None:
        yield from measured(Site.of(plan, stage), stage, trials)
