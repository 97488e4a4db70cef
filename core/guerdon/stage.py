"""The contract of stage plugins: what a stage gets and returns.

A stage turns a checkpoint and data into a checkpoint, a data set or metrics. It is a class whose constructor takes the
manifest's ``params`` and whose ``run(context)`` does the work, or a function ``(context, **params)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from guerdon.errors import RunInterruptedError, UsageError
from guerdon.records import records
from guerdon.types import Judgement, Rollout, Row

if TYPE_CHECKING:
    from guerdon.rubric import Rubric
    from guerdon.tools import Toolbox

__all__ = [
    "Evaluation",
    "Launch",
    "Model",
    "StageContext",
    "StageResult",
    "Stop",
]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a stage can load."""

    name: str
    """The name in tables and logs: ``base``, or a stage's id."""
    path: str
    """A hub id or a local folder."""
    gguf_file: str | None = None
    """The GGUF file inside ``path``, for a model in that format."""
    revision: str | None = None
    """The revision on the hub."""
    dtype: str = "auto"
    """The dtype to load it in, by torch's name (``float32``, ``bfloat16``), or ``auto``."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outputs of a finished stage, for other stages. Paths are inside ``context.output``."""

    checkpoint: Path | None = None
    """A folder that ``from_pretrained`` loads, with its tokenizer."""
    dataset: Path | None = None
    """A JSONL file, or a folder of them, one row a line."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Numbers (and, under ``tables``, lists of rows) for the run's table and report, as JSON values."""

    def __post_init__(self) -> None:
        """Check the types.

        Raises:
            TypeError: A path is not a ``Path``, or the metrics are not a mapping.
        """
        for name, path in (("checkpoint", self.checkpoint), ("dataset", self.dataset)):
            if path is not None and not isinstance(path, Path):
                raise TypeError(
                    f"StageResult({name}={path!r:.80}): give a Path inside context.output, such as "
                    f"context.output / '{name}'"
                )
        if not isinstance(self.metrics, Mapping):
            raise TypeError(
                f"StageResult(metrics={self.metrics!r:.80}): give a mapping, such as {{'rows': 3}}"
            )


class Stop:
    """The request to stop the run, which a signal makes.

    A stage that can save a checkpoint after a step runs its steps inside ``deferred()``. After each step it reads
    ``requested``. If that is true, it saves and raises ``error()``. Outside ``deferred()``, a signal stops the run at
    once.
    """

    def __init__(self) -> None:
        self.signal: Signals | None = None
        """The signal, if there was one."""
        self._deferred = False

    @property
    def requested(self) -> bool:
        """Return whether a signal has requested a stop."""
        return self.signal is not None

    @property
    def is_deferred(self) -> bool:
        """Return whether the stage stops itself after a request."""
        return self._deferred

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer signals while the stage stops itself after a request."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def request(self, number: int) -> None:
        """Record a signal.

        Raises:
            KeyboardInterrupt: The stage does not stop itself, or a stop was already requested.
        """
        again = self.requested
        self.signal = Signals(number)
        if again or not self._deferred:
            raise KeyboardInterrupt

    def error(self, stage_id: str, kept: str) -> RunInterruptedError:
        """Return the error that names the stopped stage and the results that are kept."""
        stopped = self.signal or Signals.SIGTERM  # another process of the launch got the signal
        return RunInterruptedError(
            f"{stopped.name} stopped stage '{stage_id}': {kept}. Run the same command to resume.", stopped
        )


@dataclass(frozen=True, slots=True)
class Launch:
    """The processes that run a stage together: those of the launch if the stage is ``distributed``, else only one."""

    rank: int = 0
    """The number of this process. The first one is 0; only its result and its logs count."""
    count: int = 1
    """The number of processes."""
    exchange: Callable[[str], list[str]] = field(default=lambda value: [value])
    """Send a text to all processes, and return every process's text in the order of ranks. All processes must call it.

    It waits for the slowest process, however long that takes. An error in one process is raised in all that wait."""

    @property
    def first(self) -> bool:
        """Return whether this is the first process."""
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation while a stage trains: held-out prompts for the policy, and a rubric for its answers."""

    every: int
    """Steps between evaluations. The model before the first step and the last one are evaluated too."""
    sources: Sequence[Callable[[], Iterator[Row]]]
    """The rows to answer, one opener per entry."""
    open_rubric: Callable[[], AbstractContextManager[Rubric]]
    """Start the evaluation's own rubric and its worker processes; they stop when the block ends."""
    num_generations: int = 1
    """Samples of each prompt."""
    best: str | None = None
    """The entry, or ``reward``, by whose mean the output is chosen among the evaluated models."""
    max_drops: Mapping[str, float] = field(default_factory=dict)
    """By entry, how far its mean may fall below that of the first model; a model below is not the best."""
    patience: int | None = None
    """The number of evaluations in a row without a better model after which training stops."""
    keep_checkpoints: bool = False
    """Whether each evaluated model is kept in the output."""


@dataclass(frozen=True)
class StageContext:
    """Everything that a stage may use. The run makes one for each stage."""

    stage_id: str
    """The stage's ``id`` in the manifest."""
    models: Sequence[Model]
    """The models that ``init`` names, in its order; empty for ``init: none``."""
    sources: Sequence[Callable[[], Iterator[Row]]]
    """The stage's ``data``, one opener per entry: split, limit and column checks are already applied."""
    open_rubric: Callable[[], AbstractContextManager[Rubric]]
    """Start the rubric of the stage's ``rewards`` and its worker processes; they stop when the block ends."""
    work: Path
    """The stage's own folder for checkpoints and caches. Its content survives a kill."""
    output: Path
    """The folder to fill. Other stages see it, complete, when ``run`` has returned."""
    seed: int
    """The manifest's seed."""
    progress: Callable[[int, int, Mapping[str, float]], None]
    """Report ``(step, total steps, metrics)`` to the hooks."""
    report_rollouts: Callable[[int, Sequence[Mapping[str, Any]]], None]
    """Report ``(step, records)`` to the run's log and the hooks; stages call :meth:`log_rollouts`."""
    stop: Stop = field(default_factory=Stop)
    """The request to stop the run, for a stage that can save a checkpoint."""
    logs: Path | None = None
    """A folder for the files of trackers, which is kept after the stage is finished. ``None`` outside a run."""
    launch: Launch = field(default_factory=Launch)
    """This process among those that run the stage."""
    open_tools: Callable[[], AbstractContextManager[Toolbox | None]] = nullcontext
    """Start the stage's ``tools`` and ``environments``; ``None`` if it has none. Their processes stop when the block
    ends.
    """
    run_name: str = ""
    """The stage's name for trackers: the manifest's name and the stage's id."""
    evaluation: Evaluation | None = None
    """The evaluation while the stage trains, if the manifest asks for one."""

    @property
    def model(self) -> Model:
        """Return the one model that the stage starts from.

        Raises:
            UsageError: ``init`` names none, or several.
        """
        if len(self.models) != 1:
            named = ", ".join(model.name for model in self.models) or "none"
            raise UsageError(
                f"stage '{self.stage_id}' starts from one model, and its init names {named}. "
                "Set init to 'base', 'stage:<id>' or a model."
            )
        return self.models[0]

    def log_rollouts(
        self, step: int, rollouts: Sequence[Rollout], judgements: Sequence[Judgement], **extra: Sequence[Any]
    ) -> None:
        """Report judged rollouts to the run's log and the hooks.

        Args:
            step: The step that trains on them, counted from 1.
            rollouts: The rollouts.
            judgements: The rubric's judgement of each.
            **extra: Other values to add, one for each rollout, such as ``group=[0, 0, 1, 1]``.
        """
        self.report_rollouts(step, records(rollouts, judgements, **extra))

    def rows(self) -> Iterator[Row]:
        """Return the rows of all sources, one source after the other."""
        for open_source in self.sources:
            yield from open_source()
