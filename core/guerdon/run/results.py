"""Store a finished stage's result. The file is written last: a stage is finished when it exists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.errors import StageFailedError, UsageError
from guerdon.run.files import read_json, write_json
from guerdon.stage import StageResult


def moved(result: StageResult, old: Path, new: Path) -> StageResult:
    def move(path: Path | None) -> Path | None:
        return None if path is None else new / path.relative_to(old)

    return StageResult(move(result.checkpoint), move(result.dataset), result.metrics)


def plain(value: Any) -> Any:
    """Return a metric as a JSON value, without NaN and infinities.

    Raises:
        StageFailedError: It has no JSON form.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise StageFailedError(
        f"a stage's metric is {value!r:.60}, which JSON cannot hold. Return numbers and strings."
    )


def write_result(folder: Path, result: StageResult) -> None:
    def relative(path: Path | None) -> str | None:
        return None if path is None else str(path.relative_to(folder))

    write_json(
        folder / "result.json",
        {
            "checkpoint": relative(result.checkpoint),
            "dataset": relative(result.dataset),
            "metrics": plain(dict(result.metrics)),
        },
    )


def read_result(folder: Path) -> StageResult | None:
    data = read_json(folder / "result.json")
    if data is None:
        return None

    def absolute(path: str | None) -> Path | None:
        return None if path is None else folder / path

    try:
        return StageResult(absolute(data["checkpoint"]), absolute(data["dataset"]), dict(data["metrics"]))
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{folder / 'result.json'} is not what guerdon writes. Delete {folder} and run again."
        ) from None
