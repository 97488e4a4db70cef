"""TRL's own tool loop and guerdon's, on the same tool, model and seed: seconds per batch, and whether tokens are equal.

    python tests/benchmarks/bench_tools.py [--rollouts N] [--wait SECONDS]

The tool waits, as one that asks a server does. The turns come from fixed texts, so the time is that of the loop.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "fixtures"))

from datasets import Dataset  # noqa: E402
from tiny_model import save_tiny_model  # noqa: E402
from tiny_training import OneReward, cpu_config  # noqa: E402
from tool_entries import entry_of  # noqa: E402
from tool_plugins import wait  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl.chat_template_utils import qwen3_chat_template  # noqa: E402

from guerdon.tools import Toolbox  # noqa: E402

TRAINING = runpy.run_path(str(TESTS / "core/grpo/tools_training.py"))


def measure(model: Path, folder: Path, rollouts: int, seconds: float, *, ours: bool) -> tuple[float, Any]:
    """Train two steps. Return the seconds of the second step's tool loop, and all tokens."""
    turns = [
        TRAINING["written"]("wait", seconds=seconds),
        TRAINING["written"]("wait", seconds=seconds),
        "done",
    ]
    took: list[float] = []

    class Trainer(TRAINING["Trainer"]):  # type: ignore[misc, valid-type]
        def _tool_call_loop(self, *args: Any) -> Any:
            started = time.perf_counter()
            result = super()._tool_call_loop(*args)
            took.append(time.perf_counter() - started)
            return result

    Trainer._sample.__globals__["TURNS"] = turns
    config = cpu_config(
        folder,
        per_device_train_batch_size=rollouts,
        num_generations=8,
        max_completion_length=900,
        max_tool_calling_iterations=3,
        max_steps=2,
    )
    prompt = [{"role": "user", "content": "Wait."}]
    rows = Dataset.from_list([{"prompt": prompt, "row": {"prompt": prompt}}] * rollouts)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = qwen3_chat_template
    with Toolbox([entry_of("wait")], workers=16) if ours else nullcontext() as toolbox:
        options: dict[str, Any] = {"toolbox": toolbox} if ours else {"tools": [wait]}
        trainer = Trainer(
            AutoModelForCausalLM.from_pretrained(model),
            OneReward("paid", TRAINING["paid"]),
            config,
            rows,
            tokenizer,
            **options,
        )
        trainer.train()
    return took[1], [batch["ids"] for batch in trainer.seen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--wait", type=float, default=0.05)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model = save_tiny_model(Path(name, "model"), max_position_embeddings=2048)
        runs = {
            loop: measure(model, Path(name, loop), chosen.rollouts, chosen.wait, ours=loop == "guerdon")
            for loop in ("trl", "guerdon")
        }
    result = {
        "rollouts": chosen.rollouts,
        "wait_s": chosen.wait,
        **{f"{loop}_s": round(took, 3) for loop, (took, _) in runs.items()},
        "tokens_equal": runs["trl"][1] == runs["guerdon"][1],
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
