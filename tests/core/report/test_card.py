"""The model card of a run's stage, as the Hub reads it and as a person does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from guerdon.errors import UsageError
from guerdon.report import card_path, model_card, read_run, trained_stage

MANIFEST: dict[str, Any] = {
    "name": "sums",
    "model": "some-org/some-model",
    "stages": [
        {"id": "warm", "use": "sft", "data": [{"use": "hub", "params": {"path": "some-org/some-data"}}]},
        {
            "id": "rl",
            "use": "grpo",
            "init": "stage:warm",
            "data": [{"use": "files"}],
            "rewards": [{"use": "math"}, {"use": "format", "weight": 0.5}],
        },
        {"id": "test", "use": "evaluate", "init": ["base", "stage:rl"]},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose training stages have left models, and whose evaluation has ended."""
    tables = {"evaluation": [{"model": "base", "math_greedy": 0.25}, {"model": "rl", "math_greedy": 0.75}]}
    record = {
        "name": "sums",
        "manifest": MANIFEST,
        "stages": ["warm", "rl", "test"],
        "versions": {"guerdon": "0.1.0"},
        "plugins": [],
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    for stage, metrics in (("warm", {}), ("rl", {}), ("test", {"tables": tables})):
        output = tmp_path / "stages" / stage / "output"
        output.mkdir(parents=True)
        result = {"checkpoint": None if stage == "test" else "output", "dataset": None, "metrics": metrics}
        (output.parent / "result.json").write_text(json.dumps(result))
    return tmp_path


def test_card_metadata_is_what_the_hub_reads(folder: Path) -> None:
    run = read_run(folder)
    text = model_card(run, trained_stage(run, None))
    _, metadata, body = text.split("---\n", 2)
    assert YAML(typ="safe").load(metadata) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["guerdon", "sft", "grpo"],
        "base_model": "some-org/some-model",
        "datasets": ["some-org/some-data"],
    }
    assert "- `warm`: `sft` from base; data: hub\n" in body
    assert "- `rl`: `grpo` from warm; data: files; rewards: `math` x 1, `format` x 0.5\n" in body
    assert "| metric | base | rl |\n|---|---|---|\n| math greedy | 0.250 | 0.750 |\n" in body
    assert json.dumps(MANIFEST, indent=2) in body


def test_card_of_a_local_base_names_no_base_model(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["manifest"]["model"] = str(folder)
    (folder / "run.json").write_text(json.dumps(record))
    run = read_run(folder)
    assert "base_model" not in model_card(run, trained_stage(run, "warm"))


def test_card_path_is_beside_the_weights(folder: Path) -> None:
    run = read_run(folder)
    assert card_path(run, trained_stage(run, "warm")) == folder / "stages/warm/output/README.md"


@pytest.mark.parametrize("stage", ["test", "nothing"])
def test_trained_stage_without_a_model_lists_those_with_one(folder: Path, stage: str) -> None:
    with pytest.raises(UsageError, match=rf"'{stage}' has left no model. Stages with one: warm, rl"):
        trained_stage(read_run(folder), stage)


def test_trained_stage_of_an_unfinished_run_says_so(folder: Path) -> None:
    for stage in ("warm", "rl"):
        (folder / "stages" / stage / "result.json").unlink()
    with pytest.raises(UsageError, match="no finished stage has left a model"):
        trained_stage(read_run(folder), None)
