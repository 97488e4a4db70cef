"""Runs a stage three times in forked processes: killed by SIGKILL, resumed in the same folder, and whole in another.

Called as `resume_process.py STAGE MODEL FOLDER`; prints the three exit codes. Forking pays for the imports once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon import Model, StageContext
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.trl.reward_model import RewardModel

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


def load_stage(name: str) -> Any:
    if name == "pretrain":
        from guerdon_plugins.stages.pretrain.stage import Pretrain

        return Pretrain(**OPTIONS[name])
    # TRL is imported here so that the forked processes need not do it.
    if name == "reward_model":
        import trl.trainer.reward_trainer

        return RewardModel(**OPTIONS[name])
    import trl.trainer.sft_trainer  # noqa: F401

    from guerdon_plugins.stages.trl.sft import Sft

    return Sft(**OPTIONS[name])


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
    name, model, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    stage = load_stage(name)
    for place, killed in (("killed", True), ("killed", False), ("whole", False)):
        process = multiprocessing.get_context("fork").Process(
            target=run, args=(stage, model, folder / place, killed)
        )
        process.start()
        process.join()
        sys.stdout.write(f"{process.exitcode}\n")
        sys.stdout.flush()
