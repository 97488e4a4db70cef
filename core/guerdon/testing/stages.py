"""The conformance kit for stages: small runs of one stage, in separate folders."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from guerdon.plugins.component import load_scorer
from guerdon.plugins.contracts import NEEDS
from guerdon.plugins.discovery import Kind
from guerdon.rubric import Entry, Rubric
from guerdon.stage import Model, StageContext, StageResult
from guerdon.testing.base import Conformance, broken
from guerdon.types import Row

_ROWS_FIX = "give rows, as the kit's 'rows', or as the lines of --cases FILE"


class StageConformance(Conformance):
    """Checks of a run's requirements of a stage, on a few rows.

    ```python
    from guerdon.testing import StageConformance


    class TestShorten(StageConformance):
        plugin = "shorten"
        rows = ({"prompt": "2 + 2 =", "completion": "4"},)
    ```
    """

    kinds = (Kind.STAGE,)
    rows: ClassVar[Sequence[Row]] = ()
    """The rows of its data."""
    models: ClassVar[Sequence[Model]] = ()
    """The models that it starts from."""
    rewards: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Its rubric: entries with ``use``, ``params`` and ``weight``, as in a manifest."""
    repeatable: ClassVar[bool] = True
    """Whether equal inputs give equal files and metrics on one machine; training on a GPU may not."""

    _first: ClassVar[StageRun | None]

    @classmethod
    def setup_class(cls) -> None:
        cls._first = None

    def test_needs(self) -> None:
        """Its ``needs`` are keys of the manifest."""
        needs = self.component().member("needs", ())
        if isinstance(needs, str) or not set(needs) <= NEEDS:
            raise broken(
                f"its needs are {needs!r}.",
                why="the manifest's check says by them what a stage lacks.",
                fix='give a tuple of some of "model", "data" and "rewards".',
            )

    def test_result(self) -> None:
        """It returns a StageResult, whose files are in context.output and whose metrics are JSON."""
        run = self.finished()
        result = run.result
        if not isinstance(result, StageResult):
            raise broken(
                f"it returned a {type(result).__name__}.",
                why="other stages start from what the result names.",
                fix="return StageResult(checkpoint=..., dataset=..., metrics=...).",
            )
        if run.stray:
            raise broken(
                f"it names {run.stray}, which is not there or not inside context.output.",
                why="only context.output is kept, and moved to its place when the stage is finished.",
                fix="write to context.output / NAME, and name that.",
            )
        try:
            json.dumps(result.metrics, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise broken(
                f"its metrics are not JSON: {error}.",
                why="they are written to result.json.",
                fix="give plain numbers: float(x) for tensors and arrays, None for NaN.",
            ) from None

    def test_dataset(self) -> None:
        """A data set that it writes is JSONL."""
        if self.finished().rows is None:
            raise SkipTest("it leaves no data set")
        if not self.finished().rows and self.finished().is_jsonl and not self.rows:
            raise SkipTest("its data set has no rows, because none were given: " + _ROWS_FIX)
        if not self.finished().rows:
            raise broken(
                "its data set has no rows, or a line that is not a JSON object.",
                why="the next stage reads it with 'use: stage'.",
                fix="write one JSON object a line: print(json.dumps(row), file=file).",
            )

    def test_writes_nowhere_else(self) -> None:
        """It writes nothing into the current folder."""
        if self.finished().left_behind:
            raise broken(
                f"it left {', '.join(self.finished().left_behind)} in the current folder.",
                why="runs may be side by side, and a killed one must leave nothing that it does not find again.",
                fix="write to context.output, and what is temporary to context.work.",
            )

    def test_no_mutation(self) -> None:
        """It does not change the rows that it gets."""
        if self.finished().changed_rows:
            raise broken(
                f"it changes row {self.finished().changed_rows[0]} of its data.",
                why="a source may give the same row to others.",
                fix="work on a copy: {**row, ...}.",
            )

    def test_progress(self) -> None:
        """Progress increases, and does not exceed its total."""
        steps = self.finished().progress
        if any(later[0] < earlier[0] for earlier, later in pairwise(steps)) or any(
            step > total for step, total in steps
        ):
            raise broken(
                f"it reports the steps {[f'{step}/{total}' for step, total in steps][:10]}.",
                why="progress bars and time estimates follow them.",
                fix="call context.progress(step, total, metrics) with steps from 1 to total.",
            )

    def test_deterministic(self) -> None:
        """The same inputs give the same result again."""
        if not self.repeatable:
            raise SkipTest("repeatable is False")
        self._compare(
            self._run(),
            "when it runs again",
            why="the effect of a change cannot be measured, if the same input gives another result.",
            fix="seed everything random with context.seed, and sort what has no order.",
        )

    def test_resumes(self) -> None:
        """After a kill at any progress report, a second run gives the result of an uninterrupted one."""
        if not self.repeatable:
            raise SkipTest("repeatable is False")
        reports = len(self.finished().progress)
        if not reports:
            raise SkipTest("it reports no progress to be killed at" + ("" if self.rows else ": " + _ROWS_FIX))
        for report in sorted({0, reports // 2, reports - 1}):
            self._compare(
                self._run(killed_at=report),
                f"when it is killed at progress report {report + 1} of {reports} and run again",
                why="machines go away in the middle of a stage, and what was done is found in context.work.",
                fix="resume from what context.work holds; replace files whole: write aside, then rename.",
            )

    def _compare(self, run: StageRun, when: str, *, why: str, fix: str) -> None:
        first = self.finished()
        if run.files != first.files:
            names = sorted(
                name for name in {*run.files, *first.files} if run.files.get(name) != first.files.get(name)
            )
            raise broken(f"its file {names[0]} is another {when}.", why=why, fix=fix)
        if _metrics(run.result) != _metrics(first.result):
            raise broken(
                f"its metrics are {_metrics(first.result)}, and {when} {_metrics(run.result)}.",
                why=why,
                fix=fix,
            )

    @classmethod
    def finished(cls) -> StageRun:
        """Return a run on the kit's rows; also for your own checks."""
        if cls._first is None:
            started = time.perf_counter()
            cls._first = cls._run()
            cls.throughput = f"{cls.plugin}: {time.perf_counter() - started:.2f} s for {len(cls.rows)} rows"
        return cls._first

    @classmethod
    def _run(cls, killed_at: int | None = None) -> StageRun:
        """Run the stage in fresh folders. If a progress report is given, kill it there and run it again."""
        run = StageRun()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("work", "output", "cwd"):
                (folder / part).mkdir()
            if killed_at is not None:
                with chdir(folder / "cwd"), suppress(_KilledError):
                    cls._call(cls._context(folder, StageRun(), killed_at))
            rows = copy.deepcopy([dict(row) for row in cls.rows])
            with chdir(folder / "cwd"):
                run.result = cls._call(cls._context(folder, run, rows=rows))
            run.changed_rows = [i for i, row in enumerate(rows) if row != dict(cls.rows[i])]
            run.left_behind = sorted(path.name for path in (folder / "cwd").iterdir())
            run.files = _digests(folder / "output")
            if isinstance(run.result, StageResult):
                run.look_at(run.result, folder / "output")
        return run

    @classmethod
    def _call(cls, context: StageContext) -> Any:
        stage = cls.component().build()
        return stage.run(context) if hasattr(stage, "run") else stage(context)

    @classmethod
    def _context(
        cls, folder: Path, run: StageRun, killed_at: int | None = None, rows: Sequence[Row] | None = None
    ) -> StageContext:
        def progress(step: int, total: int, _metrics: Mapping[str, float]) -> None:
            run.progress.append((step, total))
            if killed_at is not None and len(run.progress) > killed_at:
                raise _KilledError

        @contextmanager
        def open_rubric() -> Iterator[Rubric]:
            entries = []
            for reward in cls.rewards:
                component = load_scorer(reward["use"], reward.get("params", {}), cls.folder())
                entries.append(Entry(component.plugin.name, component, reward.get("weight", 1.0)))
            with Rubric(entries, workers=1) as rubric:
                yield rubric

        given = cls.rows if rows is None else rows
        return StageContext(
            stage_id="conformance",
            models=cls.models,
            sources=[lambda: iter(given)] if given else [],
            open_rubric=open_rubric,
            work=folder / "work",
            output=folder / "output",
            seed=0,
            progress=progress,
            report_rollouts=lambda _step, _records: None,
        )


class _KilledError(BaseException):
    """Simulates a kill, which a stage must not catch."""


@dataclass(slots=True)
class StageRun:
    """The result of one run of the stage."""

    result: Any = None
    files: dict[str, str] = field(default_factory=dict)
    """Digests of the output's files."""
    rows: list[Any] | None = None
    """The data set; empty if it is not JSONL."""
    is_jsonl: bool = True
    """Whether each line of the data set is a JSON object."""
    stray: Path | None = None
    """A path in the result that is outside the output folder."""
    left_behind: list[str] = field(default_factory=list)
    changed_rows: list[int] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)

    def look_at(self, result: StageResult, output: Path) -> None:
        for path in (result.checkpoint, result.dataset):
            if path is not None and not (path.exists() and path.is_relative_to(output)):
                self.stray = path
        if result.dataset is not None and self.stray is None:
            files = sorted(result.dataset.glob("*.jsonl")) if result.dataset.is_dir() else [result.dataset]
            try:
                self.rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
            except ValueError:
                self.rows, self.is_jsonl = [], False
            if not all(isinstance(row, dict) for row in self.rows):
                self.rows, self.is_jsonl = [], False


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _metrics(result: Any) -> Any:
    """Return the metrics without those that measure time."""
    metrics = result.metrics if isinstance(result, StageResult) else {}
    return {name: value for name, value in metrics.items() if not name.endswith(("_s", "seconds", "runtime"))}
