"""Call a stage's own preflight, in the first process of a launch and in the others."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from guerdon.errors import GuerdonError
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.manifest.schema import ModelRef
from guerdon.models.paths import local_folder
from guerdon.run.data import open_source
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
        most = (MADE_UP_ROWS if endless else READ_ROWS) if wanted else SAMPLE_ROWS
        try:
            read = list(islice(open_source(source, plan.manifest.heldout, {}), most + 1))
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
        rows.read += read
        rows.sampled += read[:SAMPLE_ROWS]
    rows.count = None if None in counts else sum(count or 0 for count in counts)
    return rows


def _asks_for_rows(stage: StagePlan) -> bool:
    own = stage.component.member("preflight")
    return own is not None and "rows" in inspect.signature(own).parameters


def check_stage(plan: Plan, stage: StagePlan, rows: StageRows | None = None, *, models: bool = True) -> None:
    """Build a stage and call its own preflight.

    Args:
        plan: The plan.
        stage: One of its stages.
        rows: The stage's rows; read by default.
        models: Whether the stage may read its models, because they are valid.

    Raises:
        GuerdonError: The stage cannot be built, or its preflight found something.
    """
    built = stage.component.build()
    if stage.component.member("preflight", of=built) is None:
        return
    rows = rows or read_stage_rows(plan, stage)
    stage.component.check(
        built,
        rewards=[entry.name for entry in stage.entries],
        tools=[entry.name for entry in stage.tools],
        rows=rows.read,
        count=rows.count,
        models=_known_models(plan, stage) if models else [],
    )


def _known_models(plan: Plan, stage: StagePlan) -> list[Model]:
    """Return the models of ``init`` that are not another stage's output, with their folders if they are local."""
    models = []
    for ref in stage.init:
        if isinstance(ref, ModelRef):
            folder = local_folder(plan.base_dir, ref.path)
            path = str(folder) if folder is not None and Path(folder).exists() else ref.path
            models.append(Model(ref.path, path, ref.gguf_file, ref.revision, ref.dtype))
    return models
