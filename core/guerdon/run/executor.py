"""Executes a plan in a run folder.

runs/<name>/
  run.json            versions, plugins, the manifest
  events.jsonl        what happened, from the JSONL log
  cache/              scores by content
  stages/<id>/
    inputs.json       what the stage is made from
    work/             its checkpoints while it runs
    output/           its checkpoint or data set, whole
    result.json       its metrics; the stage is finished when this file is there
    rollouts.jsonl    every rollout with its verdicts
"""

from __future__ import annotations

import gc
import json
import logging
import platform
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from guerdon.errors import GuerdonError, InfrastructureError, StageFailedError, UsageError, one_line
from guerdon.hookspecs import RunInfo
from guerdon.manifest.plan import Plan, StagePlan, named_stages
from guerdon.manifest.schema import ModelRef
from guerdon.rubric import MAX_CACHED_SCORES, Entry, Rubric
from guerdon.run.data import open_source
from guerdon.run.events import Events
from guerdon.run.files import STORAGE_ERRORS, locked, read_json, write_json
from guerdon.run.inputs import difference, stage_inputs, used_stages
from guerdon.run.ranks import Ranks
from guerdon.run.results import moved, read_result, write_result
from guerdon.run.stage_check import check_stage
from guerdon.scoring.cache import ScoreCache
from guerdon.stage import Model, StageContext, StageResult
from guerdon.types import Row

logger = logging.getLogger(__name__)


def execute(
    plan: Plan, directory: Path, hooks: Sequence[object], *, redo: bool = False, ranks: Ranks | None = None
) -> dict[str, StageResult]:
    """Run the stages that are not finished yet.

    Args:
        plan: What to run.
        directory: The run folder, made where it is missing.
        hooks: The hook plugins, built.
        redo: Whether a stage that was finished from other inputs is run again; otherwise it is an error.
        ranks: This process among those of its launch. Only the first one holds the folder and calls hooks.

    Returns:
        Every stage's result, by stage id.

    Raises:
        GuerdonError: A stage failed, or the folder cannot be used.
    """
    ranks = ranks or Ranks()
    if not ranks.first:
        return _Execution(plan, directory, Events([]), redo, ranks).follow()
    with locked(directory):
        return _Execution(plan, directory, Events(hooks), redo, ranks).run()


class _Execution:
    def __init__(self, plan: Plan, directory: Path, events: Events, redo: bool, ranks: Ranks) -> None:
        self._plan = plan
        self._directory = directory
        self._events = events
        self._redo = redo
        self._ranks = ranks
        self._results: dict[str, StageResult] = {}
        self._inputs: dict[str, Any] = {}
        stage_ids = [stage.ref.id for stage in plan.stages]
        self._info = RunInfo(
            plan.manifest.name,
            directory,
            plan.manifest.model_dump(mode="json", exclude_defaults=True),
            stage_ids,
        )

    def run(self) -> dict[str, StageResult]:
        stale = [stage.ref.id for stage in self._plan.stages if self._stale(stage)]
        if stale and not self._redo:
            stage_id = stale[0]
            known = read_json(self._folder(stage_id) / "inputs.json")
            raise UsageError(
                f"{self._directory} holds stage '{stage_id}' from other inputs: "
                f"{difference(known, self._inputs[stage_id])}. Choose another folder with -o, "
                "or run with --redo to replace the stage and what follows from it."
            )
        write_json(self._directory / "run.json", self._record())
        self._events.emit("run_started", run=self._info)
        error: BaseException | None = None
        try:
            for stage in self._plan.stages:
                self._results[stage.ref.id] = self._stage(stage, fresh=stage.ref.id in stale)
                self._ranks.tell(f"{stage.ref.id} is finished")
            self._ranks.leave("the run")  # whose store the first one may hold
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._events.emit("run_finished", run=self._info, error=error)
        return self._results

    def follow(self) -> dict[str, StageResult]:
        """Take part in the distributed stages that the launch's first process runs."""
        for stage in self._plan.stages:
            if stage.component.member("distributed", False, of=stage.component.build()):
                # It may be where the processes meet for the first time. What is wrong, the first one says.
                with suppress(Exception):
                    check_stage(self._plan, stage)
        for stage in self._plan.stages:
            stage_id = stage.ref.id
            self._inputs[stage_id] = stage_inputs(stage, self._inputs, self._plan.manifest)
            folder = self._folder(stage_id)
            if self._ranks.hear(f"{stage_id} is run by") == "all":
                with self._attributed(stage):
                    _run_stage(stage.component.build(), self._context(stage, folder))
                self._ranks.leave(stage_id)
            self._ranks.hear(f"{stage_id} is finished")
            result = read_result(folder)
            if result is None:
                raise InfrastructureError(
                    f"stage '{stage_id}' is finished, and {folder} does not show it to every process of the launch. "
                    "Put the run folder, by -o, on storage that all machines share."
                )
            self._results[stage_id] = result
        self._ranks.leave("the run")
        return self._results

    def _stage(self, stage: StagePlan, fresh: bool) -> StageResult:
        stage_id = stage.ref.id
        folder = self._folder(stage_id)
        if fresh:
            shutil.rmtree(folder)
        finished = read_result(folder)
        if finished is not None:
            shutil.rmtree(folder / "work", ignore_errors=True)
            self._events.emit("stage_skipped", run=self._info, stage_id=stage_id, result=finished)
            self._ranks.tell(f"{stage_id} is run by", "none")
            return finished
        resumed = (folder / "work").exists()
        # Of a try that did not get to its result, only the checkpoints are of use.
        for path in (folder / "output", folder / "output.partial"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (folder / "work", folder / "output.partial"):
            path.mkdir(parents=True, exist_ok=True)
        write_json(folder / "inputs.json", self._inputs[stage_id])
        self._events.emit("stage_started", run=self._info, stage_id=stage_id, resumed=resumed)
        started = time.monotonic()
        with self._attributed(stage):
            built = stage.component.build()
            together = stage.component.member("distributed", False, of=built)
            self._ranks.tell(f"{stage_id} is run by", "all" if together else "the first")
            result = _run_stage(built, self._context(stage, folder))
            if together:
                self._ranks.leave(stage_id)
            _check_result(stage, folder, result)
        (folder / "output.partial").replace(folder / "output")
        result = moved(result, folder / "output.partial", folder / "output")
        write_result(folder, result)
        shutil.rmtree(folder / "work")
        seconds = time.monotonic() - started
        self._events.emit("stage_finished", run=self._info, stage_id=stage_id, result=result, seconds=seconds)
        return result

    def _context(self, stage: StagePlan, folder: Path) -> StageContext:
        stage_id = stage.ref.id
        manifest = self._plan.manifest
        datasets = {
            key: result.dataset for key, result in self._results.items() if result.dataset is not None
        }

        @contextmanager
        def open_rubric() -> Iterator[Rubric]:
            if not stage.entries:
                raise UsageError(
                    f"stage '{stage_id}' ({stage.component.plugin.name}) needs 'rewards', and has none."
                )
            entries = [self._entry(entry, folder / "work") for entry in stage.entries]
            with (
                closing(self._cache()) as cache,
                Rubric(entries, cache=cache, failure_budget=manifest.failure_budget) as rubric,
            ):
                yield rubric

        def progress(step: int, total: int, metrics: Mapping[str, float]) -> None:
            self._events.emit(
                "stage_progress", run=self._info, stage_id=stage_id, step=step, total=total, metrics=metrics
            )

        def log_rollouts(step: int, records: Sequence[Mapping[str, Any]]) -> None:
            self._events.emit(
                "rollouts_scored", run=self._info, stage_id=stage_id, step=step, records=records
            )

        openers: list[Callable[[], Iterator[Row]]] = [
            partial(open_source, source, manifest.heldout, datasets) for source in stage.sources
        ]
        return StageContext(
            stage_id=stage_id,
            models=[self._model(init) for init in stage.init],
            sources=openers,
            open_rubric=open_rubric,
            work=folder / "work",
            output=folder / "output.partial",
            seed=manifest.seed,
            progress=progress,
            log_rollouts=log_rollouts,
        )

    def _cache(self) -> ScoreCache:
        if not self._ranks.first:
            return ScoreCache(max_scores=MAX_CACHED_SCORES)
        folder = self._directory / "cache"
        folder.mkdir(exist_ok=True)
        try:
            return ScoreCache(folder / "scores.sqlite")
        except sqlite3.DatabaseError as error:  # torn by a power cut: it costs time and nothing else
            logger.warning("the score cache in %s is begun anew: %s", folder, error)
            shutil.rmtree(folder)
            folder.mkdir()
            return ScoreCache(folder / "scores.sqlite")

    def _model(self, init: ModelRef | str) -> Model:
        if isinstance(init, str):
            return Model(init, self._checkpoint(init, "no stage can start from it"))
        local = self._plan.base_dir / init.path
        path = str(local) if local.exists() else init.path
        name = "base" if init == self._base() else init.path
        return Model(name, path, init.gguf_file, init.revision, init.dtype)

    def _entry(self, entry: Entry, work: Path) -> Entry:
        """The entry with the folders of checkpoints in place of the stages that its params name."""
        folders = {
            param: self._checkpoint(stage_id, f"'{entry.name}' cannot use it")
            for param, stage_id in named_stages(entry).items()
        }
        component = replace(
            entry.component,
            params={**entry.component.params, **folders},
            state_dir=work / "rewards" / self._ranks.own_name(entry.name),
            content=json.dumps(used_stages(entry, self._inputs)) if folders else "",
        )
        return replace(entry, component=component)

    def _checkpoint(self, stage_id: str, consequence: str) -> str:
        checkpoint = self._results[stage_id].checkpoint
        if checkpoint is None:
            raise UsageError(f"stage '{stage_id}' leaves no checkpoint, so {consequence}.")
        return str(checkpoint)

    def _base(self) -> ModelRef | None:
        model = self._plan.manifest.model
        return ModelRef(path=model) if isinstance(model, str) else model

    @contextmanager
    def _attributed(self, stage: StagePlan) -> Iterator[None]:
        """Say whose an error is."""
        try:
            yield
        except GuerdonError:
            raise
        except OSError as error:
            if error.errno not in STORAGE_ERRORS:
                raise _stage_failed(stage, error) from error
            raise InfrastructureError(
                f"stage '{stage.ref.id}' stopped: {error}. Mend that and run the same command again; "
                "finished stages are kept and this one goes on from its newest checkpoint."
            ) from error
        except (Exception, SystemExit) as error:  # a stage is somebody's plugin
            raise _stage_failed(stage, error) from error

    def _stale(self, stage: StagePlan) -> bool:
        """Whether the folder holds the stage from other inputs; notes the inputs of now on the way."""
        stage_id = stage.ref.id
        self._inputs[stage_id] = stage_inputs(stage, self._inputs, self._plan.manifest)
        known = read_json(self._folder(stage_id) / "inputs.json")
        return known is not None and known != self._inputs[stage_id]

    def _folder(self, stage_id: str) -> Path:
        return self._directory / "stages" / stage_id

    def _record(self) -> dict[str, Any]:
        components = [stage.component for stage in self._plan.stages] + list(self._plan.hooks)
        components += [
            source.component for stage in self._plan.stages for source in stage.sources if source.component
        ]
        components += [entry.component for stage in self._plan.stages for entry in stage.entries]
        plugins = {
            (c.kind.value, c.plugin.qualified_name): {
                "kind": c.kind.value,
                "name": c.plugin.name,
                "distribution": c.plugin.distribution,
                "version": c.plugin.version,
                "target": c.plugin.target,
            }
            for c in components
        }
        return {
            "name": self._info.name,
            "manifest": self._info.manifest,
            "stages": list(self._info.stage_ids),
            "plugins": [plugins[key] for key in sorted(plugins)],
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in _RECORDED if _installed(name)},
            },
        }


_RECORDED = ("guerdon", "torch", "transformers", "trl", "accelerate", "datasets", "peft", "vllm")


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _run_stage(built: Any, context: StageContext) -> StageResult:
    result = built.run(context) if hasattr(built, "run") else built(context)
    if not isinstance(result, StageResult):
        raise TypeError(f"it returned a {type(result).__name__}, not a StageResult")
    _free_memory()
    return result


def _free_memory() -> None:
    """Leave the next stage an accelerator whose memory is free: it may start an engine of its own there.

    A trainer and its model refer to each other, so they stay until they are collected; and torch keeps what it freed.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _stage_failed(stage: StagePlan, error: BaseException) -> StageFailedError:
    what = one_line(error).rstrip(".")
    return StageFailedError(
        f"stage '{stage.ref.id}' ({stage.component.plugin}) raised {type(error).__name__}: {what}. "
        "'guerdon --traceback run' shows where."
    )


def _check_result(stage: StagePlan, folder: Path, result: StageResult) -> None:
    for path in (result.checkpoint, result.dataset):
        if path is not None and not (path.exists() and path.is_relative_to(folder / "output.partial")):
            raise StageFailedError(
                f"stage '{stage.ref.id}' ({stage.component.plugin}) says that it left {path}, "
                "which is not there or not inside context.output."
            )
