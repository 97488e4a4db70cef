"""Whether the claims of r1-mini hold on many seeds: one run a seed, and tables of the claims with intervals.

    python tests/benchmarks/bench_seeds.py r1-mini --seeds 0-7 -o runs/seeds

FOLDER/seed-N is the run of seed N. The same command resumes: finished seeds are not run again. FOLDER/tables.md has the
tables of the seeds that have finished, and is written after each of them.

A number of a seed has a 95% interval: the percentile bootstrap over prompts, each with all of its samples. Differences
are paired by prompt. The last column is the mean over seeds, with a bootstrap over seeds: it says little below 5 seeds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import click

from guerdon.run.log import EVENTS, ROLLOUTS
from guerdon_plugins.shared.intervals import intervals

EVALUATE = "evaluate"
BOOTSTRAP_SEED = 0

Values = Mapping[tuple[str, str], Mapping[int, float]]
"""By model and measure: each prompt's mean over its samples at temperature 1."""
Interval = tuple[float, float] | None


class Claim(NamedTuple):
    text: str
    measure: str
    model: str
    against: str


CLAIMS = (
    Claim("Zero is better than the base by rule rewards alone", "math", "zero", "base"),
    Claim("Zero mixes languages", "mixed", "zero", "base"),
    Claim("Cold start and language reward remove the mixing", "mixed", "reasoning", "zero"),
    Claim("... and right answers are kept", "math", "reasoning", "zero"),
    Claim("SFT's part: the format, at cold start", "format", "cold_start", "base"),
    Claim("SFT's part: general replies become polite", "polite", "sft", "reasoning"),
    Claim("... and reasoning is kept", "math", "sft", "reasoning"),
    Claim("Preference's part: replies become politer", "polite", "r1", "sft"),
    Claim("... and keep the point", "to_the_point", "r1", "sft"),
    Claim("... and the sums and searches", "math", "r1", "sft"),
    Claim("R1 is better than Zero", "math", "r1", "zero"),
)
"""Those of the R1 paper (arXiv 2501.12948) that the miniature can show."""

MEASURES = ("math", "sums", "searches", "format", "mixed", "polite", "to_the_point")
MODELS = ("base", "zero", "cold_start", "reasoning", "sft", "r1")
TRAINED_BY_GRPO = ("zero", "reasoning", "r1")


def measures_of(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the measures of one rollout; a failed or skipped score has none."""
    for name, score in record["scores"].items():
        if score["value"] is None:
            continue
        if name in MEASURES:
            yield name, score["value"]
        if name == "language":
            yield "mixed", float(score["value"] < 1)


def read_values(run: Path) -> Values:
    """Return each prompt's means of an evaluation's samples."""
    samples: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (run / "stages" / EVALUATE / ROLLOUTS).open(encoding="utf-8") as file:
        for record in map(json.loads, file):
            if record["greedy"]:
                continue
            for name, value in measures_of(record):
                samples[record["model"], name][record["group"]].append(value)
    return {key: {group: mean(values) for group, values in own.items()} for key, own in samples.items()}


def interval_of(values: Sequence[float]) -> Interval:
    (found,) = intervals([[(value, 1) for value in values]], BOOTSTRAP_SEED)
    return found


def shown(values: Sequence[float], signed: bool) -> str:
    ends = interval_of(values)
    form: Callable[[float], str] = "{:+.3f}".format if signed else "{:.3f}".format
    return form(mean(values)) + ("" if ends is None else f" [{form(ends[0])}, {form(ends[1])}]")


def differences(values: Values, claim: Claim) -> list[float]:
    own, other = values[claim.model, claim.measure], values[claim.against, claim.measure]
    return [own[group] - other[group] for group in sorted(own.keys() & other.keys())]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def claims_table(claims: Sequence[Claim], seeds: Mapping[int, Values]) -> str:
    rows = []
    for claim in claims:
        found = [differences(values, claim) for values in seeds.values()]
        cells = [shown(own, signed=True) for own in found]
        overall = shown([mean(own) for own in found], signed=True)
        rows.append([claim.text, f"{claim.measure}, {claim.model} - {claim.against}", *cells, overall])
    return table(["claim", "difference", *(f"seed {seed}" for seed in seeds), "mean over seeds"], rows)


def models_table(models: Sequence[str], seeds: Mapping[int, Values]) -> str:
    rows = []
    for seed, values in seeds.items():
        for model in models:
            own = [values[model, measure].values() for measure in MEASURES]
            rows.append([str(seed), model, *(f"{mean(cells):.3f}" for cells in own)])
    return table(["seed", "model", *MEASURES], rows)


def finished_stages(run: Path) -> dict[str, Any]:
    """Return the last event of each finished stage."""
    events = map(json.loads, (run / EVENTS).read_text(encoding="utf-8").splitlines())
    return {event["stage"]: event for event in events if event["event"] == "stage_finished"}


def cost_table(runs: Mapping[int, Path]) -> str:
    rows = []
    for seed, run in runs.items():
        finished = finished_stages(run)
        steps = sum(finished[stage]["metrics"]["steps"] for stage in TRAINED_BY_GRPO)
        seconds = sum(finished[stage]["seconds"] for stage in TRAINED_BY_GRPO)
        peak = max(finished[stage]["peak_memory_bytes"] for stage in TRAINED_BY_GRPO)
        whole = sum(event["seconds"] for event in finished.values())
        rows.append([str(seed), f"{seconds / steps:.2f}", f"{peak / 2**20:.0f}", f"{whole:.0f}"])
    return table(["seed", "seconds of a GRPO step", "peak MiB of GRPO", "seconds of all stages"], rows)


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "trl", "transformers"))


def run_guerdon(manifest: str, folder: Path, *options: str) -> None:
    """Run a manifest or a recipe in a folder, or resume it there; if it fails, end with its status."""
    command = [sys.executable, "-m", "guerdon", "run", manifest, *options, "-o", str(folder)]
    if status := subprocess.run(command, check=False).returncode:
        sys.exit(status)


def write_tables(folder: Path, runs: Mapping[int, Path]) -> None:
    values = {seed: read_values(run) for seed, run in runs.items()}
    text = f"{versions()}\n\n{claims_table(CLAIMS, values)}{models_table(MODELS, values)}{cost_table(runs)}"
    (folder / "tables.md").write_text(text, encoding="utf-8")


def parse_seeds(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """Return the seeds of a text such as ``0-2,5``."""
    found: list[int] = []
    for part in text.split(","):
        known = re.fullmatch(r"(\d+)(?:-(\d+))?", part, re.ASCII)
        first, last = (int(known[1]), int(known[2] or known[1])) if known else (1, 0)
        if first > last:
            raise click.BadParameter(
                f"'{part}' is not a seed or a range of seeds, such as 0-7 or 0,3,5.", context, option
            )
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


@click.command()
@click.argument("recipe")
@click.option("--seeds", callback=parse_seeds, required=True, help="Such as 0-7, or 0,3,5.")
@click.option("-o", "folder", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(recipe: str, seeds: list[int], folder: Path) -> None:
    """Run RECIPE, which has the stages of r1-mini, with each seed, and write the tables."""
    runs: dict[int, Path] = {}
    for seed in seeds:
        run = folder / f"seed-{seed}"
        run_guerdon(recipe, run, "--set", f"seed={seed}")
        runs[seed] = run
        write_tables(folder, runs)
    click.echo((folder / "tables.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
