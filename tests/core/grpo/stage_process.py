"""Runs a GRPO stage that may kill its process; what the tests of resuming start.

    python stage_process.py MODEL FOLDER ROWS KILL OPTIONS

KILL is `never`, `rollout:STEP` or `checkpoint:STEP`. OPTIONS are further params of the stage, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guerdon import Judgement, Model, Rollout, Score, StageContext, Verdict
from guerdon.training import checkpoints
from guerdon.types import Judgements
from guerdon_plugins.stages.trl.grpo import Grpo


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Rubric:
    names = ("digits",)

    def __init__(self, dies_at: int | None, *, rare: bool) -> None:
        self._dies_at = dies_at
        self._rare = rare

    def weights(self, step: int) -> dict[str, float]:
        return {"digits": 1.0 + 0.1 * step}

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        if step == self._dies_at:
            die()
        weight = self.weights(step)["digits"]
        verdicts = [Verdict(Score(self._value(r)), weight, 0.0) for r in rollouts]
        return Judgements(Judgement.of({"digits": v}) for v in verdicts)

    def _value(self, rollout: Rollout) -> float:
        if self._rare and int(rollout.columns["reference"]) % 3:
            return 1.0  # so two thirds of the groups are constant
        return sum(map(str.isascii, rollout.text)) / 8


def run(model: str, folder: Path, row_count: int, kill: str, options: Mapping[str, Any]) -> None:
    event, _, at = kill.partition(":")
    (folder / "work").mkdir(parents=True, exist_ok=True)
    (folder / "output").mkdir(exist_ok=True)

    @contextmanager
    def open_rubric() -> Iterator[Any]:
        rare = "dynamic_sampling" in options or "curriculum_by" in options
        yield Rubric(int(at) if event == "rollout" else None, rare=rare)

    if event == "checkpoint":
        complete = checkpoints.complete

        def die_before_completing(checkpoint: Path) -> None:
            if checkpoint.name == f"checkpoint-{at}":
                (checkpoint / "model.safetensors").write_bytes(b"half")
                die()
            complete(checkpoint)

        checkpoints.complete = die_before_completing  # type: ignore[assignment]  # mypy compares the names of arguments

    log = (folder / "log.jsonl").open("a")

    def write(**entry: Any) -> None:
        log.write(json.dumps(entry) + "\n")
        log.flush()

    def progress(step: int, total: int, metrics: Mapping[str, float]) -> None:
        write(kind="progress", step=step, metrics=metrics)

    def report_rollouts(step: int, records: Sequence[Mapping[str, Any]]) -> None:
        write(kind="rollouts", step=step, records=records)

    rows = [
        {"prompt": [{"role": "user", "content": f"{n}+{n}"}], "reference": str(2 * n), "rest": n % 3}
        for n in range(row_count)
    ]
    context = StageContext(
        stage_id="zero",
        models=[Model("base", model)],
        sources=[lambda: iter(rows)],
        open_rubric=open_rubric,
        work=folder / "work",
        output=folder / "output",
        seed=5,
        progress=progress,
        report_rollouts=report_rollouts,
    )
    stage = Grpo(
        num_generations=4,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        steps_per_generation=4,
        max_completion_length=8,
        max_steps=12,
        learning_rate=1e-2,
        save_steps=3,
        **options,
    )
    result = stage.run(context)
    (folder / "metrics.json").write_text(json.dumps(dict(result.metrics)))


if __name__ == "__main__":
    model, folder, row_count, kill, options = sys.argv[1:]
    run(model, Path(folder), int(row_count), kill, json.loads(options))
