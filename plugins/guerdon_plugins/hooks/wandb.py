"""Send all stages to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from guerdon.errors import library_of
from guerdon.hookspecs import RunInfo
from guerdon_plugins.shared.tracking import TextRow, Tracker


class Wandb(Tracker):
    """Sends each stage's metrics, rollouts and manifest to Weights & Biases, by default into the run folder.

    Offline runs are in ``wandb/`` of the run folder; ``wandb sync`` uploads them.

    Args:
        mode: ``offline``, or ``online`` for an account that ``wandb login`` knows.
        rollouts: The most rollouts of a step in its table; 0 for no tables.

    Raises:
        MissingDependencyError: wandb is not installed.
    """

    def __init__(self, mode: Literal["offline", "online"] = "offline", rollouts: int = 16) -> None:
        super().__init__(rollouts)
        with library_of("hooks 'wandb'", extra="wandb"):
            import wandb
        self._wandb: Any = wandb
        self._mode = mode
        self._run: Any = None

    def begin(self, run: RunInfo, stage_id: str) -> None:
        self._run = self._wandb.init(
            project=run.name,
            group=str(run.directory),
            name=f"{run.name}/{stage_id}",
            dir=str(run.directory),
            config=dict(run.manifest),
            mode=self._mode,
            reinit="create_new",
            settings=self._wandb.Settings(silent=True),
        )

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log({**metrics, "step": step})

    def log_rollouts(self, step: int, rows: Sequence[TextRow]) -> None:
        self._run.log({"rollouts": self._table(rows), "step": step})

    def log_result(
        self, numbers: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        self._run.summary.update({f"result/{name}": value for name, value in numbers.items()})
        self._run.log({name: self._table(rows) for name, rows in tables.items()})

    def end(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
        self._run = None

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        names = list(dict.fromkeys(name for row in rows for name in row))
        data = [[row.get(name) for name in names] for row in rows]
        return self._wandb.Table(columns=names, data=data, allow_mixed_types=True)
