"""Send all stages to MLflow."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import library_of
from guerdon.hookspecs import RunInfo
from guerdon_plugins.shared.tracking import TextRow, Tracker

_NOT_OF_NAMES = re.compile(r"[^\w\-./ ]")
"""The characters that MLflow allows in no metric's name, such as the ``@`` of ``pass@8``."""

_BATCH = 1000
"""The most metrics that MLflow takes at once."""


class Mlflow(Tracker):
    """Sends each stage's metrics, rollouts and manifest to MLflow, by default into the run folder.

    Args:
        tracking_uri: The server or folder; by default the variable ``MLFLOW_TRACKING_URI``, else ``mlflow/`` in the
            run folder.
        rollouts: The most rollouts of a step in its table; 0 for no tables.

    Raises:
        MissingDependencyError: MLflow is not installed.
    """

    def __init__(self, tracking_uri: str | None = None, rollouts: int = 16) -> None:
        super().__init__(rollouts)
        with library_of("hooks 'mlflow'", extra="mlflow"):
            import mlflow
        self._mlflow: Any = mlflow
        self._uri = tracking_uri
        self._client: Any = None
        self._id = ""

    def begin(self, run: RunInfo, stage_id: str) -> None:
        uri = (
            self._uri
            or os.environ.get("MLFLOW_TRACKING_URI")
            or (run.directory / "mlflow").resolve().as_uri()
        )
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(run.name)
        experiment = known.experiment_id if known else self._client.create_experiment(run.name)
        tags = {"guerdon.stage": stage_id, "guerdon.folder": str(run.directory)}
        self._id = self._client.create_run(
            experiment, run_name=f"{run.name}/{stage_id}", tags=tags
        ).info.run_id
        self._client.log_dict(self._id, dict(run.manifest), "manifest.json")

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        found = [
            self._mlflow.entities.Metric(_NOT_OF_NAMES.sub("_", name), float(value), now, step)
            for name, value in metrics.items()
        ]
        for start in range(0, len(found), _BATCH):
            self._client.log_batch(self._id, metrics=found[start : start + _BATCH])

    def log_rollouts(self, step: int, rows: Sequence[TextRow]) -> None:
        self._client.log_dict(self._id, {"rows": list(rows)}, f"rollouts/{step:08}.json")

    def log_result(
        self, numbers: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        self.log_metrics(0, {f"result/{name}": value for name, value in numbers.items()})
        for name, rows in tables.items():
            self._client.log_dict(self._id, {"rows": list(rows)}, f"{_NOT_OF_NAMES.sub('_', name)}.json")

    def end(self, failed: bool) -> None:
        self._client.set_terminated(self._id, status="FAILED" if failed else "FINISHED")
