"""Render a run's record as one self-contained HTML page, without scripts or network access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from guerdon import __version__
from guerdon.errors import UsageError, library_of
from guerdon.index import RunIndex
from guerdon.index.groups import groups_of
from guerdon.index.metrics import stage_tokens
from guerdon.index.summing import overview
from guerdon.report.charts import draw
from guerdon.report.reading import indexed_run
from guerdon.report.rollouts import groups, samples
from guerdon.report.stage_charts import stage_charts
from guerdon.report.templating import environment

_SAMPLED_STEPS = 3
"""The number of a training stage's steps whose extreme rollouts are shown."""


def require_templates() -> None:
    """Check that pages can be rendered.

    Raises:
        MissingDependencyError: The extra ``report`` is not installed.
    """
    with library_of("guerdon report", extra="report"):
        environment()


def render_page(index: RunIndex, steps: Sequence[int] = ()) -> str:
    """Return the report of a run as HTML.

    Args:
        index: The run's index, up to date.
        steps: Steps whose groups are all shown; without them, the highest and the lowest reward of some steps.

    Raises:
        MissingDependencyError: The extra ``report`` is not installed.
        UsageError: No stage has rollouts of such a step.
    """
    require_templates()
    run = indexed_run(index)
    chosen = {stage.id: [step for step in steps if groups_of(index, stage.id, step)] for stage in run.stages}
    for step in steps:
        if not any(step in found for found in chosen.values()):
            raise UsageError(
                f"{run.directory}: no stage has rollouts of step {step}. {_known_steps(overview(index).steps)}"
            )
    return (
        environment()
        .get_template("report.html")
        .render(
            run=run,
            version=__version__,
            draw=draw,
            link=lambda stage: f"#{quote(stage)}",
            tokens={stage.id: stage_tokens(index, stage.id) for stage in run.stages},
            charts={stage.id: stage_charts(index, stage.id) for stage in run.stages},
            samples=lambda stage: () if steps else samples(index, stage, _SAMPLED_STEPS),
            groups=lambda stage: groups(index, stage, chosen[stage]),
        )
    )


def _known_steps(steps: Mapping[str, tuple[int, int]]) -> str:
    known = [f"'{stage}' has {first} to {last}" for stage, (first, last) in steps.items()]
    return f"Stage {', '.join(known)}." if known else "No stage has rollouts."
