"""A finished stage's result on disk. Its file is written last: a stage is finished when the file is there."""

from __future__ import annotations

from pathlib import Path

from guerdon.run.files import read_json, write_json
from guerdon.stage import StageResult


def moved(result: StageResult, old: Path, new: Path) -> StageResult:
    def move(path: Path | None) -> Path | None:
        return None if path is None else new / path.relative_to(old)

    return StageResult(move(result.checkpoint), move(result.dataset), result.metrics)


def write_result(folder: Path, result: StageResult) -> None:
    def relative(path: Path | None) -> str | None:
        return None if path is None else str(path.relative_to(folder))

    write_json(
        folder / "result.json",
        {
            "checkpoint": relative(result.checkpoint),
            "dataset": relative(result.dataset),
            "metrics": dict(result.metrics),
        },
    )


def read_result(folder: Path) -> StageResult | None:
    data = read_json(folder / "result.json")
    if data is None:
        return None

    def absolute(path: str | None) -> Path | None:
        return None if path is None else folder / path

    return StageResult(absolute(data["checkpoint"]), absolute(data["dataset"]), data["metrics"])
