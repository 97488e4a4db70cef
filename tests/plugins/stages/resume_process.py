"""Runs a stage, which may kill its process; what the tests of killed stages start.

    python resume_process.py STAGE MODEL FOLDER WHEN

MODEL is `-` for a stage that needs none. WHEN is `killed` or `whole`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon import Model, StageContext
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.pretrain.stage import Pretrain
from guerdon_plugins.stages.trl.reward_model import RewardModel
from guerdon_plugins.stages.trl.sft import Sft

KILLED_AT = 11
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "pretrain": {
        "max_steps": 16,
        "architecture": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "save_steps": 4,
    },
    "sft": {
        "max_steps": 16,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_steps": 4,
        "shuffle_dataset": True,
    },
    "reward_model": {
        "max_steps": 16,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_steps": 4,
    },
}


STAGES = {"pretrain": Pretrain, "sft": Sft, "reward_model": RewardModel}


def run(stage: Any, model: str, folder: Path, killed: bool) -> None:
    for name in ("work", "output"):
        (folder / name).mkdir(parents=True, exist_ok=True)

    def progress(step: int, total: int, metrics: Mapping[str, float]) -> None:
        if killed and step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    kind: Any = "preferences" if isinstance(stage, RewardModel) else "solutions"
    rows = list(islice(Arithmetic(kind), 40))
    context = StageContext(
        stage_id="stage",
        models=[] if model == "-" else [Model("base", model)],
        sources=[lambda: iter(rows)],
        open_rubric=lambda: sys.exit("no rubric is needed"),
        work=folder / "work",
        output=folder / "output",
        seed=3,
        progress=progress,
        report_rollouts=lambda *_: None,
    )
    result = stage.run(context)
    (folder / "metrics.json").write_text(json.dumps(dict(result.metrics)))


if __name__ == "__main__":
    name, model, folder, when = sys.argv[1:]
    run(STAGES[name](**OPTIONS[name]), model, Path(folder), when == "killed")
