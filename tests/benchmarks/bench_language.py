"""How well the language verifier tells English that nobody mixed, and what that costs. Prints a Markdown table.

    python tests/benchmarks/bench_language.py [FOLDER]

FOLDER holds gsm8k_test.jsonl, math500.jsonl and qwen_math_completions.jsonl; by default the one beside the checkout.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import click

from guerdon_plugins.verifiers.language import Language

TEXTS = {"gsm8k_test": "answer", "math500": "solution", "qwen_math_completions": "completion"}


def main() -> None:
    default = os.environ.get("GUERDON_SHARED", Path(__file__).parents[3] / "shared")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(default, "data")
    verifier = Language("en", part="whole")
    verifier("Load the profiles before the clock starts, please, all of them.")
    click.echo("| texts | n | words counted as English | texts below 0.9 | median CPU ms |")
    click.echo("|---|---|---|---|---|")
    for name, column in TEXTS.items():
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
            texts = [json.loads(line)[column] for line in lines]
        shares, times = [], []
        right = total = 0
        for text in texts:
            started = time.process_time()
            score = verifier(text)
            times.append((time.process_time() - started) * 1000)
            if score.value is not None:
                words = score.metadata["words"]
                right += words.get("en", 0)
                total += sum(words.values())
                shares.append(score.value)
        low = sum(share < 0.9 for share in shares)
        click.echo(
            f"| {name} | {len(texts)} | {right / total:.2%} | {low} | {statistics.median(times):.1f} |"
        )


if __name__ == "__main__":
    main()
