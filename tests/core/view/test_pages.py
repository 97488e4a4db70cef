"""What pages gather, without a browser: the list of runs, and files of scored completions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from viewed_runs import event, write_lines

from guerdon.cli.main import cli
from guerdon.errors import UsageError
from guerdon.index import grow_fully
from guerdon.view.pages import list_runs
from guerdon.view.runs import found_runs, viewed_runs


def write_own_stage(folder: Path) -> None:
    """Write a run of a stage of one's own, which logs rewards but no rollouts, and of an evaluation after it."""
    stages = [{"id": "own", "use": "./own.py:train"}, {"id": "test", "use": "evaluate"}]
    record = {
        "name": "x",
        "manifest": {"stages": stages},
        "stages": ["own", "test"],
        "plugins": [],
        "versions": {},
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))

    def progress(step: int, **metrics: float) -> dict[str, Any]:
        return event(step, "stage_progress", stage="own", total=9, step=step, metrics=metrics)

    lines = [
        event(0, "run_started"),
        event(0, "stage_started", stage="own", resumed=False),
        progress(1, reward=0.25),
        progress(2, reward=0.75, loss=3.0),
        progress(3, seconds=9.0),
    ]
    write_lines(folder / "events.jsonl", lines)
    (folder / "stages/own").mkdir(parents=True)
    (folder / "stages/own/inputs.json").write_text("{}")


def test_list_of_runs_agrees_with_the_command_on_stages_of_ones_own(tmp_path: Path) -> None:
    write_own_stage(tmp_path / "runs/mine")
    viewed = viewed_runs(found_runs([tmp_path / "runs"]), tmp_path / "cache")
    for run in viewed.values():
        grow_fully(run.index)
    (row,) = list_runs(viewed)["rows"]
    printed = CliRunner().invoke(cli, ["runs", str(tmp_path / "runs"), "--json"])
    (listed,) = json.loads(printed.output)
    for name in ("status", "stage", "step", "reward"):
        assert row[name] == listed[name], name
    assert (row["stage"], row["step"], row["reward"]) == ("own", 3, 0.75)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"completion": "x"}', '{"scores": "x", "completion": ""}', "\x00"]
)
def test_file_without_scores_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(UsageError, match=r"rows\.jsonl: not JSONL .* 'guerdon score -o NAME\.jsonl'"):
        found_runs([tmp_path / "rows.jsonl"])
