"""A stage's own preflight, called with what it may ask for: by the launch's first process, and by those that follow."""

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
"""Rows of each source that the rewards are tried on."""

READ_ROWS = 5_000
"""Rows of each source that a stage's own preflight and its rewards' columns are checked on."""


@dataclass(slots=True)
class StageRows:
    """What is known of a stage's rows before the run."""

    read: list[Row] = field(default_factory=list)
    """The first rows of each source."""
    sampled: list[Row] = field(default_factory=list)
    """A few of each source."""
    complete: bool = True
    """Whether ``read`` is all rows of the stage."""
    errors: dict[int, GuerdonError] = field(default_factory=dict)
    """What the sources raised, by their place in the stage's data."""
    longer: dict[int, int] = field(default_factory=dict)
    """How many rows were read of the sources that have more, by their place."""


def read_stage_rows(plan: Plan, stage: StagePlan) -> StageRows:
    """Read the first rows of a stage's sources; another stage's data set is not there yet."""
    rows = StageRows()
    most = READ_ROWS if stage.entries or _asks_for_rows(stage) else SAMPLE_ROWS
    for index, source in enumerate(stage.sources):
        read: list[Row] = []
        if source.stage_id is not None:
            rows.complete = False
            continue
        try:
            read = list(islice(open_source(source, plan.manifest.heldout, {}), most + 1))
        except GuerdonError as error:
            rows.errors[index] = error
        if len(read) > most:
            rows.longer[index] = most
            del read[most:]
        rows.read += read
        rows.sampled += read[:SAMPLE_ROWS]
    rows.complete = rows.complete and not rows.errors and not rows.longer
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
        models: Whether the stage may look at its models, because they are sound.

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
        rows=rows.read,
        complete=rows.complete,
        models=_known_models(plan, stage) if models else [],
    )


def _known_models(plan: Plan, stage: StagePlan) -> list[Model]:
    """Return the models of ``init`` that no stage makes, with their folders where they are local."""
    models = []
    for ref in stage.init:
        if isinstance(ref, ModelRef):
            folder = local_folder(plan.base_dir, ref.path)
            path = str(folder) if folder is not None and Path(folder).exists() else ref.path
            models.append(Model(ref.path, path, ref.gguf_file, ref.revision, ref.dtype))
    return models
