"""The conformance kit for hook plugins."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.errors import PluginContractError
from guerdon.hookspecs import Alarm, RunInfo
from guerdon.plugins.discovery import Kind
from guerdon.run.events import Events
from guerdon.stage import StageResult
from guerdon.testing.base import Conformance, broken

_RECORD = {
    "prompt": "2 + 2 =",
    "completion": "4",
    "reward": None,
    "scores": {"math": {"value": None, "outcome": "failed", "failure": "timeout", "weight": 1.0}},
}


class HooksConformance(Conformance):
    """Checks of a hook plugin with the events of a run.

    ```python
    from guerdon.testing import HooksConformance


    class TestBell(HooksConformance):
        plugin = "bell"
    ```
    """

    kinds = (Kind.HOOKS,)

    def test_fits_the_specifications(self) -> None:
        """Its methods marked @hookimpl are existing hooks, with existing arguments."""
        try:
            Events([self.component().build()])
        except PluginContractError as error:
            raise broken(
                f"{error}.",
                why="a run with this plugin would not start.",
                fix="the hooks and their arguments are in guerdon.hookspecs and in the reference.",
            ) from None

    def test_hears_a_run(self) -> None:
        """It raises at no event of a successful run."""
        self._hear(error=None)

    def test_hears_a_failed_run(self) -> None:
        """It raises at no event of a run that an error stops."""
        self._hear(error=RuntimeError("the stage failed"))

    def _hear(self, error: BaseException | None) -> None:
        heard = _Warnings()
        logger = logging.getLogger("guerdon.run.events")
        logger.addHandler(heard)
        try:
            with tempfile.TemporaryDirectory() as folder:
                events = Events([self.component().build()])
                for event, arguments in _events(Path(folder), error):
                    events.emit(event, **arguments)
        finally:
            logger.removeHandler(heard)
        if heard.messages:
            raise broken(
                f"{heard.messages[0]}.",
                why="a hooks plugin that raises is left out of the rest of the run.",
                fix="expect values that are missing: a reward may be None, metrics empty, a folder new.",
            )


class _Warnings(logging.Handler):
    """Collects the engine's warnings about hooks that raise."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _events(folder: Path, error: BaseException | None) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the events of a small run, in order."""
    info: Any = {"run": RunInfo("conformance", folder, {"name": "conformance"}, ["first", "second"])}
    (folder / "stages" / "second").mkdir(parents=True)
    stage = {**info, "stage_id": "second"}
    events: list[tuple[str, Mapping[str, Any]]] = [
        ("run_started", info),
        ("stage_skipped", {**info, "stage_id": "first", "result": StageResult(metrics={"loss": 1.0})}),
        ("stage_started", {**stage, "resumed": True}),
        ("stage_progress", {**stage, "step": 1, "total": 2, "metrics": {}}),
        (
            "rollouts_scored",
            {**stage, "step": 1, "records": [_RECORD, {**_RECORD, "reward": 0.5, "scores": {}}]},
        ),
        ("stage_progress", {**stage, "step": 2, "total": 2, "metrics": {"reward": 0.5}}),
        ("alarm_raised", {**stage, "alarm": Alarm("entropy", "entropy", 2, 1.0, 0.1, "the entropy falls")}),
    ]
    if error is None:
        events.append(("stage_finished", {**stage, "result": StageResult(), "seconds": 0.1}))
    return [*events, ("run_finished", {**info, "error": error})]
