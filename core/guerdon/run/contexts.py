"""Build a stage's context: its models, rows, rubric, folders, and its access to the run's events."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from guerdon.errors import UsageError
from guerdon.hookspecs import RunInfo
from guerdon.manifest.entries import named_stages
from guerdon.manifest.plan import NamedModel, Plan, SourcePlan, StagePlan
from guerdon.manifest.schema import ModelRef
from guerdon.plugins.discovery import Kind
from guerdon.rubric import MAX_CACHED_SCORES, Entry, Rubric
from guerdon.rubric.node import HostRubric, MemberRubric, hosted
from guerdon.rubric.shared import SharedRubric
from guerdon.run.content import local_modules
from guerdon.run.data import open_source
from guerdon.run.events import Events
from guerdon.run.inputs import Inputs, used_stages
from guerdon.run.progress import StageProgress
from guerdon.run.ranks import Ranks
from guerdon.scoring.cache import ScoreCache
from guerdon.stage import Evaluation, Launch, Model, StageContext, StageResult, Stop
from guerdon.tools import Toolbox
from guerdon.types import Row

logger = logging.getLogger(__name__)


class Contexts:
    """Builds the contexts of a run's stages.

    Args:
        plan: The run's plan.
        run: The run, as hooks see it.
        events: The listeners of the stages' events.
        ranks: This process among those of its launch.
        inputs: Makes the inputs of stages.
        stop: The request to stop the run.
    """

    def __init__(
        self, plan: Plan, run: RunInfo, events: Events, ranks: Ranks, inputs: Inputs, stop: Stop
    ) -> None:
        self._plan = plan
        self._run = run
        self._events = events
        self._ranks = ranks
        self._inputs = inputs
        self._stop = stop

    def of(
        self, stage: StagePlan, folder: Path, results: Mapping[str, StageResult], known: Mapping[str, Any]
    ) -> StageContext:
        """Build a stage's context.

        Args:
            stage: The stage.
            folder: Its folder.
            results: The results of earlier stages.
            known: The inputs of all stages up to this one.
        """
        stage_id = stage.ref.id
        manifest = self._plan.manifest
        datasets = {key: result.dataset for key, result in results.items() if result.dataset is not None}

        open_rubric = partial(self._open_rubric, stage, results, known)

        @contextmanager
        def open_tools() -> Iterator[Toolbox | None]:
            if not stage.tools:
                yield None
                return
            with Toolbox(stage.tools, manifest.seed) as toolbox:
                yield toolbox

        def openers(sources: Sequence[SourcePlan]) -> list[Callable[[], Iterator[Row]]]:
            return [partial(open_source, source, manifest.heldout, datasets) for source in sources]

        evaluation = None
        if stage.evaluation is not None:
            evaluation = Evaluation(
                sources=openers(stage.evaluation.sources),
                open_rubric=partial(open_rubric, stage.evaluation.entries, folder / "work" / "evaluation"),
                **stage.evaluation.ref.model_dump(exclude={"data", "rewards"}),
            )
        return StageContext(
            stage_id=stage_id,
            models=[self._model(init, results) for init in stage.init],
            sources=openers(stage.sources),
            open_rubric=partial(open_rubric, stage.entries, folder / "work" / "rewards"),
            open_tools=open_tools,
            work=folder / "work",
            output=folder / "output.partial",
            seed=manifest.seed,
            progress=StageProgress(self._run, stage_id, stage.entries, self._events),
            report_rollouts=partial(self._report_rollouts, stage_id),
            stop=self._stop,
            logs=folder / "logs",
            launch=self._launch(stage),
            run_name=f"{manifest.name}/{stage_id}",
            evaluation=evaluation,
        )

    @contextmanager
    def _open_rubric(
        self,
        stage: StagePlan,
        results: Mapping[str, StageResult],
        known: Mapping[str, Any],
        entries: Sequence[Entry],
        states: Path,
    ) -> Iterator[Rubric]:
        if not entries:
            raise UsageError(
                f"stage '{stage.ref.id}' ({stage.component.plugin.name}) needs 'rewards', and has none."
            )
        entries = [self._entry(entry, states, results, known) for entry in entries]
        topic = f"the rubric of {stage.ref.id}, {states.name}"
        if not self._shares_workers(stage, entries):
            with self._own_rubric(entries, self._launch(stage).count) as rubric:
                yield rubric
        elif self._ranks.local_rank:
            with MemberRubric(entries, json.loads(self._ranks.receive_on_machine(topic))) as rubric:
                yield rubric
        else:
            with (
                self._own_rubric(entries, self._ranks.machines) as own,
                SharedRubric(own) as shared,
                hosted(shared) as address,
                HostRubric(entries, address, own) as rubric,
            ):
                self._ranks.send_to_machine(topic, json.dumps(address))
                yield rubric

    def _shares_workers(self, stage: StagePlan, entries: Sequence[Entry]) -> bool:
        """Return whether the launch's processes on one machine share the rubric's workers and cache.

        A reward function sees the batch of its process and may use its device, so each process calls its own.
        """
        return (
            self._ranks.local_rank is not None
            and bool(stage.component.member("distributed", False))
            and all(entry.component.kind is not Kind.REWARD for entry in entries)
        )

    @contextmanager
    def _own_rubric(self, entries: Sequence[Entry], of_the_launch: int) -> Iterator[Rubric]:
        """Start one of so many rubrics that the launch has for these entries."""
        scoring = self._plan.manifest.scoring
        with (
            closing(self._cache()) as cache,
            Rubric(
                entries,
                cache=cache,
                failure_budget=self._plan.manifest.failure_budget,
                workers=scoring.workers,
                ray=scoring.ray,
                ray_pools=of_the_launch,
            ) as rubric,
        ):
            yield rubric

    def _launch(self, stage: StagePlan) -> Launch:
        if not stage.component.member("distributed", False):
            return Launch()
        return Launch(
            self._ranks.rank, self._ranks.count, partial(self._ranks.exchange, f"stage {stage.ref.id}")
        )

    def _report_rollouts(self, stage_id: str, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        self._events.emit("rollouts_scored", run=self._run, stage_id=stage_id, step=step, records=records)

    def _cache(self) -> ScoreCache:
        if not self._ranks.first:
            return ScoreCache(max_scores=MAX_CACHED_SCORES)
        folder = self._run.directory / "cache"
        folder.mkdir(exist_ok=True)
        path = folder / "scores.sqlite"
        try:
            return ScoreCache(path)
        except sqlite3.OperationalError:  # the disk is full or not writable
            raise
        except sqlite3.DatabaseError as error:  # the file is corrupt after a power cut; only time is lost
            logger.warning("the score cache in %s starts empty again: %s", folder, error)
            for torn in folder.glob(f"{path.name}*"):
                torn.unlink()
            return ScoreCache(path)

    def _model(self, init: ModelRef | str, results: Mapping[str, StageResult]) -> Model:
        if isinstance(init, str):
            return Model(init, _checkpoint(init, results, "no stage can start from it"))
        local = self._plan.base_dir / init.path
        path = str(local) if local.exists() else init.path
        name = init.name if isinstance(init, NamedModel) else init.path
        return Model(name, path, init.gguf_file, init.revision, init.dtype)

    def _entry(
        self, entry: Entry, states: Path, results: Mapping[str, StageResult], known: Mapping[str, Any]
    ) -> Entry:
        """Return the entry with stage references replaced by checkpoint folders, and the other inputs of its scores."""
        component = entry.component
        folders = {
            param: _checkpoint(stage_id, results, f"'{entry.name}' cannot use it")
            for param, stage_id in named_stages(entry).items()
        }
        content = {
            "stages": used_stages(entry, known),
            "modules": local_modules(component.plugin, component.base_dir),
            "models": self._inputs.models_of(component),
        }
        component = replace(
            component,
            params={**component.params, **folders},
            state_dir=states / self._ranks.own_name(entry.name),
            content=json.dumps(content) if any(content.values()) else "",
        )
        return replace(entry, component=component)


def _checkpoint(stage_id: str, results: Mapping[str, StageResult], consequence: str) -> str:
    checkpoint = results[stage_id].checkpoint
    if checkpoint is None:
        raise UsageError(f"stage '{stage_id}' leaves no checkpoint, so {consequence}.")
    return str(checkpoint)


@contextmanager
def tracker_environment(context: StageContext) -> Iterator[None]:
    """Make trackers keep their files in the stage's folder, under the run's name, and end what they began.

    Explicit settings of a tracker are kept.
    """
    assert context.logs is not None
    folder = context.logs.resolve()
    project = context.run_name.partition("/")[0]
    wanted = {
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),
        "WANDB_DIR": str(folder),
        "WANDB_PROJECT": project,
        "TRACKIO_DIR": str(folder / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": project,
    }
    folder.mkdir(parents=True, exist_ok=True)
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    open_before = [name for name in _LEFT_OPEN if _open_run(name) is not None]
    try:
        yield
    finally:
        for name in _LEFT_OPEN:
            if name not in open_before and _open_run(name) is not None:
                _end_run(name)
        for name in added:
            os.environ.pop(name, None)
        with suppress(OSError):  # the folder is not empty
            folder.rmdir()


_LEFT_OPEN = ("wandb", "swanlab")
"""Trackers whose run stays open after a training. The next stage's metrics would be added to it."""


def _open_run(tracker: str) -> Any:
    """Return the open run of a tracker that this process uses, or ``None``."""
    module: Any = sys.modules.get(tracker)
    return module.get_run() if hasattr(module, "get_run") else getattr(module, "run", None)


def _end_run(tracker: str) -> None:
    module = sys.modules[tracker]
    module.finish()
    if hasattr(module, "teardown"):  # wandb reads its folder from the environment once, until this
        module.teardown()
