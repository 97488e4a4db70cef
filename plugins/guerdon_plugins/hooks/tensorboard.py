"""Write all stages for TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import library_of
from guerdon.hookspecs import RunInfo
from guerdon_plugins.shared.tracking import TextRow, Tracker


class TensorBoard(Tracker):
    """Writes each stage's metrics, rollouts and manifest to ``tensorboard/`` in the run folder.

    A stage is one run of TensorBoard's. Rollouts, tables and the manifest are its texts.

    Args:
        rollouts: The most rollouts of a step in its table; 0 for no tables.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """

    def __init__(self, rollouts: int = 16) -> None:
        super().__init__(rollouts)
        with library_of("hooks 'tensorboard'", extra="tensorboard"):
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        self._writer_class = EventFileWriter
        self._writer: Any = None

    def begin(self, run: RunInfo, stage_id: str) -> None:
        self._writer = self._writer_class(str(run.directory / "tensorboard" / stage_id))
        written = json.dumps(dict(run.manifest), indent=2, ensure_ascii=False, default=str)
        code = "\n".join(f"    {line}" for line in written.splitlines())
        self._add_text("manifest", f"{run.name}/{stage_id}\n\n{code}", 0)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._add_number(name, value, step)

    def log_rollouts(self, step: int, rows: Sequence[TextRow]) -> None:
        self._add_text("rollouts", _table(rows), step)

    def log_result(
        self, numbers: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        for name, value in numbers.items():
            self._add_number(f"result/{name}", value, 0)
        for name, rows in tables.items():
            self._add_text(name, _table(rows), 0)

    def end(self, failed: bool) -> None:
        self._writer.close()
        self._writer = None

    def _add_number(self, tag: str, value: float, step: int) -> None:
        import numpy as np
        from tensorboard.plugins.scalar import metadata

        self._add(tag, np.float32(value), step, metadata.create_summary_metadata("", ""))

    def _add_text(self, tag: str, text: str | Sequence[Sequence[str]], step: int) -> None:
        import numpy as np
        from tensorboard.plugins.text import metadata

        encoded = np.char.encode(np.array(text, dtype=str), "utf-8", "backslashreplace").astype(object)
        self._add(tag, encoded, step, metadata.create_summary_metadata("", ""))

    def _add(self, tag: str, value: Any, step: int, metadata: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.util.tensor_util import make_tensor_proto

        event = Event(wall_time=time.time(), step=step)
        event.summary.value.add(tag=tag, tensor=make_tensor_proto(value), metadata=metadata)
        self._writer.add_event(event)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return rows as the cells of a table, with the names first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([_cell(row.get(name)) for name in names] for row in rows)]


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
