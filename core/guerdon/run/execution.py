"""Executes a plan in a run folder.

runs/<name>/
  run.json            versions, plugins, the manifest
  events.jsonl        the run's events
  cache/              scores by content
  replaced/           stages that --redo replaced
  stages/<id>/
    inputs.json       the stage's inputs
    work/             its checkpoints; of a finished stage, those that it can be extended from
    output/           its checkpoint or data set, whole
    result.json       its metrics; the stage is finished when this file is there
    logs/             the files of its trackers
    rollouts.jsonl    every rollout with its verdicts
"""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from guerdon.errors import (
    GuerdonError,
    InfrastructureError,
    RunInterruptedError,
    StageFailedError,
    UsageError,
    one_line,
)
from guerdon.hookspecs import RunInfo
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.plugins.boundary import describe, line_of
from guerdon.run.content import ModelDigests
from guerdon.run.contexts import Contexts, tracker_environment
from guerdon.run.events import Events
from guerdon.run.files import (
    check_run_folder,
    locked,
    network_problem,
    read_json,
    storage_problem,
    write_json,
)
from guerdon.run.inputs import Change, Inputs, change
from guerdon.run.log import RunLog
from guerdon.run.ranks import Ranks
from guerdon.run.record import run_record
from guerdon.run.results import moved, read_result, write_result
from guerdon.run.secrets import Secrets
from guerdon.run.signals import stopping_on_signals
from guerdon.run.stage_check import check_stage
from guerdon.stage import StageContext, StageResult, Stop

logger = logging.getLogger(__name__)


def execute(
    plan: Plan,
    directory: Path,
    hooks: Sequence[object],
    *,
    redo: bool = False,
    ranks: Ranks | None = None,
    stop: Stop | None = None,
) -> dict[str, StageResult]:
    """Run the stages that are not finished yet.

    Args:
        plan: What to run.
        directory: The run folder; created if it is missing.
        hooks: The hook plugins, built.
        redo: Whether to move a stage with changed inputs aside and run it again; otherwise that is an error.
        ranks: This process among those of its launch. Only the first one holds the folder and calls hooks.
        stop: The request to stop the run; by default signals make it while this function runs.

    Returns:
        Every stage's result, by stage id.

    Raises:
        GuerdonError: A stage failed, a signal stopped the run, or the folder cannot be used.
    """
    ranks = ranks or Ranks()
    with nullcontext(stop) if stop is not None else stopping_on_signals() as asked:
        assert asked is not None
        if not ranks.first:
            return _Execution(plan, directory, [], redo, ranks, asked).follow()
        with ranks.failing_together():
            check_run_folder(directory, plan.manifest.name)
            with locked(directory):
                return _Execution(plan, directory, hooks, redo, ranks, asked).run()


class _Execution:
    def __init__(
        self,
        plan: Plan,
        directory: Path,
        hooks: Sequence[object],
        redo: bool,
        ranks: Ranks,
        stop: Stop,
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._redo = redo
        self._ranks = ranks
        self._stop = stop
        manifest = plan.manifest.model_dump(mode="json", exclude_defaults=True)
        secrets = Secrets(manifest)
        self._secrets = secrets
        self._events = Events(hooks, RunLog(secrets) if ranks.first else None)
        self._info = RunInfo(
            plan.manifest.name, directory, secrets.hide(manifest), [stage.ref.id for stage in plan.stages]
        )
        self._digests = ModelDigests(directory / "cache" / "models.json" if ranks.first else None)
        self._make_inputs = Inputs(plan.manifest, self._digests, ranks.count, secrets)
        self._contexts = Contexts(plan, self._info, self._events, ranks, self._make_inputs, stop)
        self._results: dict[str, StageResult] = {}
        self._inputs: dict[str, Any] = {}

    def run(self) -> dict[str, StageResult]:
        changes = {stage.ref.id: self._compare(stage) for stage in self._plan.stages}
        self._refuse_other_inputs(changes)
        self._digests.save()
        write_json(self._directory / "run.json", self._secrets.hide(run_record(self._plan, self._info)))
        self._events.emit("run_started", run=self._info)
        error: BaseException | None = None
        try:
            for stage in self._plan.stages:
                self._results[stage.ref.id] = self._stage(stage, changes[stage.ref.id])
                self._ranks.send(f"{stage.ref.id} is finished")
            self._ranks.leave("the run")  # the first process may hold the launch's store
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._events.emit("run_finished", run=self._info, error=error)
        return self._results

    def follow(self) -> dict[str, StageResult]:
        """Take part in the distributed stages that the launch's first process runs."""
        with self._ranks.failing_together():
            for stage in self._plan.stages:
                built = stage.component.build()
                if stage.component.member("distributed", False, of=built):
                    self._follow_preflight(stage, built)
            for stage in self._plan.stages:
                self._results[stage.ref.id] = self._follow_stage(stage)
            self._ranks.leave("the run")
        return self._results

    def _follow_preflight(self, stage: StagePlan, built: Any) -> None:
        # The processes may meet for the first time here. The first process reports errors.
        try:
            check_stage(self._plan, stage)
        except (GuerdonError, OSError) as error:
            logger.info("the preflight of stage '%s' failed: %s", stage.ref.id, error)

    def _follow_stage(self, stage: StagePlan) -> StageResult:
        stage_id = stage.ref.id
        self._inputs[stage_id] = self._make_inputs.of(stage, self._inputs)
        folder = self._folder(stage_id)
        if self._ranks.receive(f"{stage_id} is run by") == "all":
            with self._attributed(stage):
                self._run_stage(stage, folder, stage.component.build())
            self._ranks.leave(stage_id)
        self._ranks.receive(f"{stage_id} is finished")
        result = read_result(folder)
        if result is None:
            raise InfrastructureError(
                f"stage '{stage_id}' is finished, and {folder} does not show it to every process of the launch. "
                "Put the run folder, by -o, on storage that all machines share."
            )
        return result

    def _stage(self, stage: StagePlan, changed: Change) -> StageResult:
        stage_id = stage.ref.id
        folder = self._folder(stage_id)
        if changed.difference is not None:
            self._put_aside(stage_id, folder)
        if changed.longer:
            self._lengthen(stage_id, folder, changed.longer)
        finished = read_result(folder)
        if finished is not None:
            self._tidy(stage, folder)
            self._events.emit("stage_skipped", run=self._info, stage_id=stage_id, result=finished)
            self._ranks.send(f"{stage_id} is run by", "none")
            return finished
        resumed = (folder / "work").exists()
        # Of an unfinished attempt, only the checkpoints are useful.
        for path in (folder / "output", folder / "output.partial"):
            shutil.rmtree(path, ignore_errors=True)
        with self._storage_attributed(stage):
            for path in (folder / "work", folder / "output.partial"):
                path.mkdir(parents=True, exist_ok=True)
        write_json(folder / "inputs.json", self._inputs[stage_id])
        self._events.emit("stage_started", run=self._info, stage_id=stage_id, resumed=resumed)
        started = time.monotonic()
        with self._attributed(stage):
            built = stage.component.build()
            together = stage.component.member("distributed", False, of=built)
            self._ranks.send(f"{stage_id} is run by", "all" if together else "the first")
            result = self._run_stage(stage, folder, built)
            if together:
                self._ranks.leave(stage_id)
            _check_result(stage, folder, result)
        (folder / "output.partial").replace(folder / "output")
        result = moved(result, folder / "output.partial", folder / "output")
        write_result(folder, result)
        self._tidy(stage, folder)
        seconds = time.monotonic() - started
        self._events.emit("stage_finished", run=self._info, stage_id=stage_id, result=result, seconds=seconds)
        if self._stop.requested and stage is not self._plan.stages[-1]:
            raise self._stop.error(stage_id, "it had just finished")
        return result

    def _run_stage(self, stage: StagePlan, folder: Path, built: Any) -> StageResult:
        with self._ranks.watched():
            context = self._contexts.of(stage, folder, self._results, self._inputs)
            with tracker_environment(context):
                return _call(built, context)

    def _tidy(self, stage: StagePlan, folder: Path) -> None:
        """Delete the checkpoints of a finished stage that cannot be extended."""
        if not _extendable(stage):
            shutil.rmtree(folder / "work", ignore_errors=True)

    def _compare(self, stage: StagePlan) -> Change:
        """Compare a stage's inputs with those recorded in its folder, and remember its inputs."""
        stage_id = stage.ref.id
        folder = self._folder(stage_id)
        now = self._make_inputs.of(stage, self._inputs)
        self._inputs[stage_id] = now
        before = read_json(folder / "inputs.json")
        if before is None:
            return Change()
        finished = (folder / "result.json").exists()
        # A finished stage can be extended only from a checkpoint.
        saved = (folder / "work").is_dir() and any((folder / "work").iterdir())
        if not finished and not saved:
            return Change()  # nothing that it has comes from the old inputs
        changed = change(before, now, finished=finished, extendable=_extendable(stage) if saved else ())
        if finished and changed == Change():
            self._inputs[stage_id] = before
        return changed

    def _refuse_other_inputs(self, changes: Mapping[str, Change]) -> None:
        for stage_id, changed in changes.items():
            if changed.difference is not None and not self._redo:
                raise UsageError(
                    f"{self._directory} holds stage '{stage_id}' from other inputs: {changed.difference}. Choose "
                    "another folder with -o, or run with --redo to put the stage, and what follows from it, aside "
                    "and run it again."
                )

    def _put_aside(self, stage_id: str, folder: Path) -> None:
        """Move a stage with changed inputs aside, because it may hold hours of work."""
        aside = self._directory / "replaced"
        aside.mkdir(exist_ok=True)
        number = 1 + sum(1 for _ in aside.glob(f"{stage_id}-*"))
        folder.replace(aside / f"{stage_id}-{number}")
        logger.warning(
            "stage '%s' is run again from its start; what it was is now in %s, to be deleted by you",
            stage_id,
            aside / f"{stage_id}-{number}",
        )

    def _lengthen(self, stage_id: str, folder: Path, longer: Mapping[str, tuple[Any, Any]]) -> None:
        (folder / "result.json").unlink(missing_ok=True)
        logger.warning(
            "stage '%s' is made longer: %s. From its newest checkpoint on, its learning rate follows the schedule of "
            "the new length; with any schedule but a constant one, the result is not that of a run of this length",
            stage_id,
            ", ".join(f"{name} was {before} and is {now}" for name, (before, now) in longer.items()),
        )

    @contextmanager
    def _attributed(self, stage: StagePlan) -> Iterator[None]:
        """Raise any error of the block as an error that names the stage."""
        try:
            yield
        except GuerdonError as error:
            problem = (
                None if isinstance(error, RunInterruptedError) else storage_problem(error, self._directory)
            )
            if problem is None:
                raise
            # An infrastructure error already names what could not be written.
            told = str(error) if isinstance(error, InfrastructureError) else problem
            raise _stopped(stage, told) from error
        except KeyboardInterrupt:
            failure = self._ranks.failure()  # the launcher stops the other processes when one fails
            if failure is not None:
                raise failure from None
            if not self._stop.requested:
                raise
            raise self._stop.error(
                stage.ref.id,
                "at once, without a new checkpoint; what it saved before is used again",
            ) from None
        except (Exception, SystemExit) as error:  # a stage is a plugin, so it may raise anything
            problem = storage_problem(error, self._directory)
            if problem is not None:
                raise _stopped(stage, problem) from error
            failure = self._ranks.failure()  # the cause of a broken connection to a failed process
            if failure is not None:
                raise failure from error
            problem = network_problem(error)
            if problem is not None:
                raise _stopped(stage, problem) from error
            raise _stage_failed(stage, error) from error

    @contextmanager
    def _storage_attributed(self, stage: StagePlan) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _stopped(stage, str(error)) from error

    def _folder(self, stage_id: str) -> Path:
        return self._directory / "stages" / stage_id


def _extendable(stage: StagePlan) -> Sequence[str]:
    return tuple(stage.component.member("extendable_params", ()))


def _call(built: Any, context: StageContext) -> StageResult:
    result = built.run(context) if hasattr(built, "run") else built(context)
    if not isinstance(result, StageResult):
        raise TypeError(f"it returned a {type(result).__name__}, not a StageResult")
    _free_memory()
    return result


def _free_memory() -> None:
    """Free the accelerator's memory, because the next stage may start its own engine there.

    A trainer and its model refer to each other, so they stay until garbage collection. torch caches freed memory.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _stopped(stage: StagePlan, problem: str) -> InfrastructureError:
    return InfrastructureError(
        f"stage '{stage.ref.id}' stopped: {one_line(problem).rstrip('.')}. Fix this and run the same command again: "
        "finished stages are skipped, and this stage resumes from its newest checkpoint."
    )


def _stage_failed(stage: StagePlan, error: BaseException) -> StageFailedError:
    what = describe(error).rstrip(".") + line_of(error, stage.component.loaded)
    return StageFailedError(
        f"stage '{stage.ref.id}' ({stage.component.plugin}) raised {what}. "
        "The same command with --traceback after 'guerdon' shows where."
    )


def _check_result(stage: StagePlan, folder: Path, result: StageResult) -> None:
    for path in (result.checkpoint, result.dataset):
        if path is not None and not (path.exists() and path.is_relative_to(folder / "output.partial")):
            raise StageFailedError(
                f"stage '{stage.ref.id}' ({stage.component.plugin}) says that it left {path}, "
                "which is not there or not inside context.output."
            )
