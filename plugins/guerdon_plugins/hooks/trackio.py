"""Send all stages to trackio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import library_of
from guerdon.hookspecs import RunInfo
from guerdon_plugins.shared.tracking import TextRow, Tracker


class Trackio(Tracker):
    """Sends each stage's metrics, rollouts and manifest to trackio's local store, which ``trackio show`` displays.

    The store is trackio's own, in the folder of the variable ``TRACKIO_DIR``.

    Args:
        rollouts: The most rollouts of a step in its table; 0 for no tables.

    Raises:
        MissingDependencyError: trackio is not installed.
    """

    def __init__(self, rollouts: int = 16) -> None:
        super().__init__(rollouts)
        with library_of("hooks 'trackio'", extra="trackio"):
            import trackio
        self._trackio: Any = trackio
        self._run: Any = None

    def begin(self, run: RunInfo, stage_id: str) -> None:
        self._run = self._trackio.init(
            project=run.name,
            name=f"{run.name}/{stage_id}",
            group=str(run.directory),
            config={"manifest": dict(run.manifest), "folder": str(run.directory)},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def log_rollouts(self, step: int, rows: Sequence[TextRow]) -> None:
        self._run.log({"rollouts": self._table(rows)}, step=step)

    def log_result(
        self, numbers: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        found = {f"result/{name}": value for name, value in numbers.items()}
        self._run.log({**found, **{name: self._table(rows) for name, rows in tables.items()}})

    def end(self, failed: bool) -> None:
        self._run.finish()
        self._run = None

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        names = list(dict.fromkeys(name for row in rows for name in row))
        return self._trackio.Table(columns=names, data=[[row.get(name) for name in names] for row in rows])
