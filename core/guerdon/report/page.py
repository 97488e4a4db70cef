"""Render a run's record as one self-contained HTML page, without scripts or network access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from guerdon import __version__
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.report.charts import draw
from guerdon.report.reading import RunRecord, StageRecord
from guerdon.report.stage_charts import stage_charts
from guerdon.report.templating import environment

_SAMPLED_STEPS = 3
"""The number of a training stage's steps whose extreme rollouts are shown."""


def render_page(run: RunRecord, steps: Sequence[int] = ()) -> str:
    """Return the report of a run as HTML.

    Args:
        run: The run.
        steps: Steps whose groups are all shown; without them, the highest and the lowest reward of some steps.

    Raises:
        MissingDependencyError: The extra ``report`` is not installed.
        UsageError: No stage has rollouts of such a step.
    """
    try:
        templates = environment()
    except ModuleNotFoundError as error:
        raise MissingDependencyError("guerdon report", "jinja2", "report") from error
    for step in steps:
        if not any(step in stage.rollouts.steps for stage in run.stages):
            raise UsageError(f"{run.directory}: no stage has rollouts of step {step}. {_known_steps(run)}")
    return templates.get_template("report.html").render(
        run=run,
        version=__version__,
        draw=draw,
        link=lambda stage: f"#{quote(stage)}",
        tokens={stage.id: stage.tokens for stage in run.stages},
        charts={stage.id: list(stage_charts(stage)) for stage in run.stages},
        samples={stage.id: [] if steps else stage.rollouts.samples(_SAMPLED_STEPS) for stage in run.stages},
        groups={stage.id: _groups(stage, steps) for stage in run.stages},
    )


def _known_steps(run: RunRecord) -> str:
    known = [
        f"'{s.id}' has {min(s.rollouts.steps)} to {max(s.rollouts.steps)}"
        for s in run.stages
        if s.rollouts.steps
    ]
    return f"Stage {', '.join(known)}." if known else "No stage has rollouts."


def _groups(stage: StageRecord, steps: Sequence[int]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the groups of the chosen steps, each with its place and its rollouts."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in stage.rollouts.of_steps(steps):
        where = f"of {record['model']}" if "model" in record else f"of step {record['step']}"
        name = f"Group {record['group']} {where}" if "group" in record else f"Rollouts {where}"
        groups.setdefault(name, []).append(record)
    return list(groups.items())
