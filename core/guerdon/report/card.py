"""Write the model card of a run's stage: the README.md that the Hub shows next to published weights."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from guerdon.errors import UsageError
from guerdon.plugins.spelling import did_you_mean
from guerdon.report.intervals import with_intervals
from guerdon.report.reading import RunRecord, StageRecord, Status
from guerdon.run.results import read_result

Row = Mapping[str, Any]


def trained_stage(run: RunRecord, stage_id: str | None) -> StageRecord:
    """Return the stage whose model a card describes: the named one, or the last finished one that produced a model.

    Raises:
        UsageError: There is no such stage, or it produced no model.
    """
    with_model = [stage for stage in run.stages if _checkpoint(run, stage) is not None]
    names = ", ".join(stage.id for stage in with_model) or "none"
    if stage_id is None:
        if not with_model:
            raise UsageError(
                f"{run.directory}: no finished stage has left a model. Let a training stage finish."
            )
        return with_model[-1]
    for stage in with_model:
        if stage.id == stage_id:
            return stage
    hint = did_you_mean(stage_id, [stage.id for stage in with_model])
    raise UsageError(
        f"{run.directory}: stage '{stage_id}' has left no model.{hint} Stages with one: {names}."
    )


def card_path(run: RunRecord, stage: StageRecord) -> Path:
    """Return the place of a stage's card: README.md in the folder of its model."""
    checkpoint = _checkpoint(run, stage)
    assert checkpoint is not None, "trained_stage() returns stages with a model"
    return checkpoint / "README.md"


def model_card(run: RunRecord, stage: StageRecord) -> str:
    """Return the model card of a stage, as Markdown with the Hub's metadata in front.

    Args:
        run: The run.
        stage: One of its stages that produced a model.
    """
    parts = [_metadata(run, stage), f"# {run.name}: {stage.id}", run.description, _training(run, stage)]
    for title, rows in _evaluations(run, stage):
        parts.append(f"## {title.capitalize()}\n\n{_table(rows)}")
    manifest = json.dumps(run.manifest, indent=2, ensure_ascii=False)
    parts.append(f"## Manifest\n\n```json\n{manifest}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _checkpoint(run: RunRecord, stage: StageRecord) -> Path | None:
    if stage.status is not Status.FINISHED:
        return None
    result = read_result(run.directory / "stages" / stage.id)
    return result.checkpoint if result else None


def _reference(run: RunRecord, stage: StageRecord) -> Row:
    reference: Row = next(ref for ref in run.manifest["stages"] if ref["id"] == stage.id)
    return reference


def _metadata(run: RunRecord, stage: StageRecord) -> str:
    """Return the YAML block that the Hub reads as the card's metadata."""
    lineage = [_reference(run, one) for one in _lineage(run, stage)]
    datasets = {
        str(source["params"]["path"])
        for ref in lineage
        for source in ref.get("data", ())
        if source.get("use") == "hub" and "path" in source.get("params", {})
    }
    data: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["guerdon", *dict.fromkeys(str(ref["use"]) for ref in lineage)],
    }
    base = run.manifest.get("model")
    path = base.get("path") if isinstance(base, dict) else base
    if isinstance(path, str) and path.count("/") == 1 and not Path(path).exists():
        data["base_model"] = path
    if datasets:
        data["datasets"] = sorted(datasets)
    text = io.StringIO()
    YAML().dump(data, text)
    return f"---\n{text.getvalue()}---"


def _lineage(run: RunRecord, stage: StageRecord) -> list[StageRecord]:
    """Return the stages that produced a model, first to last."""
    by_id = {one.id: one for one in run.stages}
    lineage = [stage]
    while (before := by_id.get(lineage[0].init)) is not None and before not in lineage:
        lineage.insert(0, before)
    return lineage


def _training(run: RunRecord, stage: StageRecord) -> str:
    lines = [f"Trained by guerdon {run.versions.get('guerdon', '')} with seed {run.seed}, in these stages:\n"]
    for one in _lineage(run, stage):
        reference = _reference(run, one)
        sources = ", ".join(str(source["use"]) for source in reference.get("data", ())) or "none"
        lines.append(f"- `{one.id}`: `{one.use}` from {one.init}; data: {sources}{_rewards(reference)}")
    return "## Training\n\n" + "\n".join(lines)


def _rewards(reference: Row) -> str:
    entries = [f"`{entry['use']}` x {entry.get('weight', 1)}" for entry in reference.get("rewards", ())]
    return f"; rewards: {', '.join(entries)}" if entries else ""


def _evaluations(run: RunRecord, stage: StageRecord) -> Iterator[tuple[str, Sequence[Row]]]:
    """Yield the tables of the run's stages that have a row for this model."""
    for other in run.stages:
        for title, rows in other.tables.items():
            if any(row.get("model") == stage.id for row in rows):
                yield title.replace("_", " "), rows


def _table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table with a line for each metric, because a model's metrics are wider than a page."""
    rows = with_intervals(rows)
    models = [str(row.get("model", "")) for row in rows]
    names = dict.fromkeys(name for row in rows for name in row if name != "model")
    lines = [f"| metric | {' | '.join(models)} |", "|---" * (len(models) + 1) + "|"]
    for name in names:
        values = (_number(row.get(name)) for row in rows)
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(values)} |")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
