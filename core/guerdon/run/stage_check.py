"""Call a stage's own preflight, in the first process of a launch and in the others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from guerdon.errors import GuerdonError
from guerdon.manifest.plan import Plan, SourcePlan, StagePlan
from guerdon.manifest.schema import ModelRef
from guerdon.models.paths import local_folder
from guerdon.plugins.component import Component
from guerdon.plugins.signatures import valid_params
from guerdon.rubric.entry import names_of
from guerdon.run.data import rows_of, with_added
from guerdon.stage import Model
from guerdon.types import Row

SAMPLE_ROWS = 16
"""Rows of each source on which the rewards are tried."""

READ_ROWS = 5_000
"""Rows of each source that a stage's preflight and the check of columns read."""

MADE_UP_ROWS = 500
"""The same for a source that never ends: it generates its rows by one rule, and generation takes time."""


@dataclass(slots=True)
class StageRows:
    """The rows of a stage that are known before the run."""

    read: list[Row] = field(default_factory=list)
    """The first rows of each source."""
    sampled: list[Row] = field(default_factory=list)
    """A few of each source."""
    count: int | None = 0
    """The number of the stage's rows; ``None`` if unknown."""
    errors: dict[int, GuerdonError] = field(default_factory=dict)
    """The errors of the sources, by their index in the stage's data."""
    longer: dict[int, int] = field(default_factory=dict)
    """The number of rows read from each source that has more, by its index."""
    replaced: dict[int, list[str]] = field(default_factory=dict)
    """The columns of each source whose values ``add`` replaces, by its index."""


def read_stage_rows(plan: Plan, stage: StagePlan) -> StageRows:
    """Read the first rows of a stage's sources. Another stage's data set does not exist yet."""
    rows = StageRows()
    wanted = stage.entries or _asks_for_rows(stage)
    counts: list[int | None] = []
    for index, source in enumerate(stage.sources):
        read: list[Row] = []
        if source.component is None:
            counts.append(None)
            continue
        endless = source.component.member("endless", False)
        if endless and source.ref.limit is None and "data" in stage.incomplete:
            counts.append(None)  # its limit may be the mistake that was left out
            continue
        most = _most(source, plan.manifest.heldout) if wanted else SAMPLE_ROWS
        try:
            read = list(islice(rows_of(source, plan.manifest.heldout, {}), most + 1))
        except GuerdonError as error:
            rows.errors[index] = error
        if index in rows.errors:
            counts.append(None)
        elif len(read) <= most:
            counts.append(len(read))
        else:
            counts.append(source.ref.limit if endless else None)
            rows.longer[index] = most
            del read[most:]
        added = source.ref.add
        rows.replaced[index] = sorted(
            {name for row in read for name in added.keys() & row.keys() if row[name] != added[name]}
        )
        read = [with_added(source, row) for row in read]
        rows.read += read
        rows.sampled += read[:SAMPLE_ROWS]
    rows.count = None if None in counts else sum(count or 0 for count in counts)
    return rows


def _most(source: SourcePlan, heldout: float) -> int:
    """Return how many rows of a source to read. A source generates many rows for each one on the held-out side."""
    assert source.component is not None
    if not source.component.member("endless", False):
        return READ_ROWS
    share = heldout if source.ref.split == "heldout" else 1.0
    return max(SAMPLE_ROWS, round(MADE_UP_ROWS * share))


def _asks_for_rows(stage: StagePlan) -> bool:
    own = stage.component.member("preflight")
    return own is not None and "rows" in inspect.signature(own).parameters


def check_stage(
    plan: Plan,
    stage: StagePlan,
    rows: StageRows | None = None,
    evaluation_rows: StageRows | None = None,
    *,
    models: bool = True,
) -> None:
    """Build a stage and call its own preflight.

    A stage with mistakes is built without its wrong params. Its preflight is called if nothing that it asks for was
    left out; what it says of a wrong param is not raised.

    Args:
        plan: The plan.
        stage: One of its stages.
        rows: The stage's rows; read by default.
        evaluation_rows: The rows of its evaluation; read by default.
        models: Whether the stage may read its models, because they are valid.

    Raises:
        GuerdonError: The stage cannot be built, or its preflight found something.
    """
    wrong = {problem.param for problem in stage.param_problems}
    if None in wrong or {"", "params", "use"} & set(stage.incomplete):
        return  # it cannot be built
    component = replace(
        stage.component,
        params={name: value for name, value in stage.component.params.items() if name not in wrong},
    )
    try:
        _check_built(component, plan, stage, rows, evaluation_rows, models)
    except GuerdonError as error:
        if not wrong:
            raise
        meant = _meant(stage)
        independent = [line for line in str(error).splitlines() if not meant & set(re.findall(r"\w+", line))]
        if independent:
            raise type(error)("\n".join(independent)) from None


def _check_built(
    component: Component,
    plan: Plan,
    stage: StagePlan,
    rows: StageRows | None,
    evaluation_rows: StageRows | None,
    models: bool,
) -> None:
    built = component.build()
    own = component.member("preflight", of=built)
    if own is None or _asks_for_more(own, stage.incomplete):
        return
    rows = rows or read_stage_rows(plan, stage)
    if evaluation_rows is None:
        evaluated = stage.evaluated
        evaluation_rows = StageRows() if evaluated is None else read_stage_rows(plan, evaluated)
    component.check(
        built,
        rewards=names_of(stage.entries),
        tools=[entry.name for entry in stage.tools],
        rows=rows.read,
        count=rows.count,
        evaluation_rows=evaluation_rows.read,
        models=_known_models(plan, stage) if models else [],
        init=[ref.path if isinstance(ref, ModelRef) else ref for ref in stage.init],
    )


_PARTS = {
    "rewards": {"rewards"},
    "rows": {"data"},
    "count": {"data"},
    "models": {"init", "model"},
    "init": {"init", "model"},
}
"""The keys of a stage that decide what a preflight may ask for."""


def _asks_for_more(preflight: Callable[..., object], incomplete: Collection[str]) -> bool:
    asked = inspect.signature(preflight).parameters
    return any(_PARTS.get(name, set()) & set(incomplete) for name in asked)


def _meant(stage: StagePlan) -> set[str]:
    """Return the names of the wrong params, and of those that they may have been meant for."""
    known = valid_params(stage.component.kind, stage.component.loaded)
    wrong = [problem.param for problem in stage.param_problems if problem.param is not None]
    return {near for name in wrong for near in (name, *get_close_matches(name, known))}


def _known_models(plan: Plan, stage: StagePlan) -> list[Model]:
    """Return the models of ``init`` that are not another stage's output."""
    return [known_model(plan, ref) for ref in stage.init if isinstance(ref, ModelRef)]


def known_model(plan: Plan, ref: ModelRef) -> Model:
    """Return a model that the manifest names, with its folder if it is local."""
    folder = local_folder(plan.base_dir, ref.path)
    path = str(folder) if folder is not None and Path(folder).exists() else ref.path
    return Model(ref.path, path, ref.gguf_file, ref.revision, ref.dtype)
