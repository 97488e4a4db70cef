"""View a file that ``guerdon score`` wrote as a run of one stage."""

from __future__ import annotations

from pathlib import Path

from guerdon.data.json_values import parse_object
from guerdon.errors import UsageError
from guerdon.index.store import SCORED
from guerdon.report.reading import RunRecord, StageRecord, Status


def check_scored(file: Path) -> None:
    """Check that a file holds scored completions, by its first line.

    Raises:
        UsageError: It does not.
    """
    try:
        with file.open("rb") as lines:
            row = parse_object(lines.readline())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
    if row is None or not isinstance(row.get("scores"), dict) or "completion" not in row:
        raise UsageError(
            f"{file}: not JSONL with the columns 'completion' and 'scores'. "
            "Write it with 'guerdon score -o NAME.jsonl'."
        )


def scored_record(file: Path) -> RunRecord:
    """Return the record of a file of scored completions."""
    stage = StageRecord(
        id=SCORED,
        use="guerdon score",
        init="",
        status=Status.FINISHED,
        seconds=0.0,
        peak_memory_bytes=None,
        peak_gpu_memory_bytes=None,
        metrics={},
        tables={},
        step=None,
        last={},
    )
    return RunRecord(
        name=file.name,
        directory=file,
        manifest={},
        versions={},
        plugins=[],
        stages=[stage],
        sections=[],
        alarms=[],
        going_on=False,
        error=None,
        started=None,
        unreadable_lines=0,
    )
