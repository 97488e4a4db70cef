"""What the last model of r1-mini answers right with less and more thinking: budget forcing (s1, arXiv:2501.19393).

    python tests/benchmarks/bench_seeds.py r1-mini --seeds 0-2 -o runs/seeds
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_thinking.py runs/seeds --seeds 0-2 -o runs/thinking

RUNS/seed-N is a finished run, which is only read. FOLDER/seed-N is the run of its evaluation, by the manifest
FOLDER/seed-N.yaml. The same command resumes. FOLDER/table.md has the table, and FOLDER/thinking.svg right answers by
tokens of thinking. The problems are the recipe's held-out ones in English, because a budget has one text of ``wait``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from bench_ablations import SAMPLING, Run, runs_of
from bench_seeds import EVALUATE, finished_stages, parse_seeds, table, versions

from guerdon.report.charts import draw

BUDGETS: Sequence[Mapping[str, Any]] = [
    *({"max_tokens": tokens} for tokens in (6, 12, 18, 24, 36, 72)),
    *({"max_tokens": 72, "waits": waits, "wait": " wait,"} for waits in (1, 2)),
]
"""The miniature needs 6 tokens for one sum, and says "wait," itself."""
CUT = sum("waits" not in budget for budget in BUDGETS)
"""How many of the first ones only cut."""


def manifest(run: Run) -> dict[str, Any]:
    problems, _ = run.stages()[EVALUATE]["data"]
    english = problems | {"params": problems["params"] | {"languages": ["en"]}}
    return {
        "name": "r1-mini-thinking",
        "seed": run.seed(),
        "stages": [
            {
                "id": EVALUATE,
                "use": "evaluate",
                "init": run.model("r1"),
                "data": [english],
                "rewards": [{"use": "math", "params": {"extraction": "auto"}}],
                "params": {"num_generations": 4, "thinking": list(BUDGETS), **SAMPLING},
            }
        ],
    }


def write_table(folder: Path, runs: Mapping[int, Path]) -> None:
    found = {
        seed: finished_stages(run)[EVALUATE]["metrics"]["tables"]["evaluation"] for seed, run in runs.items()
    }
    rows = []
    for number, budget in enumerate(BUDGETS):
        cells = [str(budget["max_tokens"]), str(budget.get("waits", 0))]
        for measured in found.values():
            one = measured[number]
            value, low, high = (one[f"math_mean@4{end}"] for end in ("", "_low", "_high"))
            cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}], {one['completion_tokens']:.0f} tokens")
        rows.append(cells)
    header = ["most tokens of thinking", "waits", *(f"seed {seed}" for seed in found)]
    (folder / "table.md").write_text(f"{versions()}\n\n{table(header, rows)}", encoding="utf-8")
    curves = {
        f"seed {seed}": [
            (float(budget["max_tokens"]), one["math_mean@4"])
            for budget, one in zip(BUDGETS[:CUT], measured, strict=False)
        ]
        for seed, measured in found.items()
    }
    svg = draw("Right answers by the most tokens of thinking", curves, smooth=False, legend=True)
    (folder / "thinking.svg").write_text(svg, encoding="utf-8")


@click.command()
@click.argument("runs", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--seeds", callback=parse_seeds, required=True, help="Such as 0-7, or 0,3,5.")
@click.option("-o", "folder", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(runs: Path, seeds: list[int], folder: Path) -> None:
    """Evaluate the last models of the seeds in RUNS, which bench_seeds.py has made, with each budget."""
    done: dict[int, Path] = {}
    for seed, _, own in runs_of(runs, seeds, folder, manifest):
        done[seed] = own
        write_table(folder, done)
    click.echo((folder / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
