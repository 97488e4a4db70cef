"""The hooks plugin ``my_plugin``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.hookspecs import RunInfo, hookimpl
from guerdon.stage import StageResult


class MyPlugin:
    """Writes the rollout with the highest reward of each stage to ``my_plugin.jsonl`` in the run's folder."""

    def __init__(self) -> None:
        self._best: dict[str, Mapping[str, Any]] = {}

    @hookimpl
    def rollouts_scored(self, stage_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        rewarded = [record for record in records if record["reward"] is not None]
        known = [self._best[stage_id]] if stage_id in self._best else []
        if rewarded:
            self._best[stage_id] = max([*known, *rewarded], key=lambda record: float(record["reward"]))

    @hookimpl
    def stage_finished(self, run: RunInfo, stage_id: str, result: StageResult) -> None:
        if stage_id in self._best:
            with (run.directory / "my_plugin.jsonl").open("a", encoding="utf-8") as file:
                print(json.dumps({"stage": stage_id, **self._best[stage_id]}), file=file)
