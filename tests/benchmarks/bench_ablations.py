"""What six ideas do in the miniature, one at a time: ablations of finished runs of r1-mini, and tables of differences.

    python tests/benchmarks/bench_seeds.py r1-mini --seeds 0-2 -o runs/seeds
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_ablations.py runs/seeds --seeds 0-2 -o runs/ablations

RUNS/seed-N is a finished run, which is only read. FOLDER/seed-N is the run of its ablations, by the manifest
FOLDER/seed-N.yaml, whose stages start from the models of RUNS/seed-N. The same command resumes. FOLDER/tables.md has
the tables, and FOLDER/seed-N-reward.svg the rewards of the four short versions of zero.

Differences and their intervals are those of bench_seeds.py: paired by prompt, 95%.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import click
from bench_seeds import (
    EVALUATE,
    Claim,
    Values,
    claims_table,
    finished_stages,
    models_table,
    parse_seeds,
    read_values,
    run_guerdon,
    table,
    versions,
)

from guerdon.report.charts import Curve, draw, smoothed
from guerdon.run.log import EVENTS, ROLLOUTS

SHORT_STEPS = 60
"""Of the short versions of zero: half of the recipe's."""
DYNAMIC_STEPS = 42
"""Its further rounds sample about as many completions as the other steps of the short zero."""
LEVELS = (2, 3, 4)
"""The levels of difficulty, each for a third of the steps if they come in order."""
DISTILLED_STEPS = 60
DISTILLED_BATCH = 32
TALK_SHARE = 4
"""One of so many prompts of distillation is small talk."""
SAMPLING: Mapping[str, Any] = {"max_completion_length": 80, "per_device_eval_batch_size": 500}

Stage = dict[str, Any]

CLAIMS = (
    Claim("1. Dynamic sampling", "math", "dynamic", "short_zero"),
    Claim("2. Levels one after the other", "math", "in_order", "short_zero"),
    Claim("... sums", "sums", "in_order", "short_zero"),
    Claim("... searches", "searches", "in_order", "short_zero"),
    Claim("Levels drawn by a curriculum", "math", "curriculum", "short_zero"),
    Claim("... sums", "sums", "curriculum", "short_zero"),
    Claim("... searches", "searches", "curriculum", "short_zero"),
    Claim("3. On-policy distillation against SFT on the teacher's answers", "math", "distilled", "taught"),
    Claim("... small talk", "polite", "distilled", "taught"),
    Claim("... against the student", "math", "distilled", "cold_start"),
    Claim("... against the teacher", "math", "distilled", "r1"),
    Claim("4. DPO against the last stage", "polite", "dpo", "r1"),
    Claim("... the point", "to_the_point", "dpo", "r1"),
    Claim("... right answers", "math", "dpo", "r1"),
    Claim("... against its start", "polite", "dpo", "sft"),
    Claim("DPO on own replies, against the last stage", "polite", "own_dpo", "r1"),
    Claim("... the point", "to_the_point", "own_dpo", "r1"),
    Claim("... right answers", "math", "own_dpo", "r1"),
    Claim("... against its start", "polite", "own_dpo", "sft"),
    Claim("5. Merge of zero and reasoning", "math", "merged", "zero"),
    Claim("... against the other", "math", "merged", "reasoning"),
    Claim("... mixing", "mixed", "merged", "zero"),
    Claim("... mixing, against the other", "mixed", "merged", "reasoning"),
    Claim("6. No guard of the last stage", "polite", "unguarded", "r1"),
    Claim("... the point", "to_the_point", "unguarded", "r1"),
    Claim("... right answers", "math", "unguarded", "r1"),
)
"""The first word of a claim is the number of its ablation; "..." is another measure of it."""

BEFORE = ("zero", "cold_start", "reasoning", "sft", "r1")
"""The models of the finished run that others are compared with."""

MODELS = (
    "short_zero",
    "dynamic",
    "in_order",
    "curriculum",
    "taught",
    "distilled",
    "dpo",
    "own_dpo",
    "merged",
    "unguarded",
)


class Run(NamedTuple):
    """A finished run of the recipe, which is not changed."""

    folder: Path

    def stages(self) -> dict[str, Stage]:
        manifest = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))["manifest"]
        return {stage["id"]: stage for stage in manifest["stages"]}

    def seed(self) -> int:
        return int(json.loads((self.folder / "run.json").read_text(encoding="utf-8"))["manifest"]["seed"])

    def model(self, stage: str) -> dict[str, str]:
        return {"path": str((self.folder / "stages" / stage / "output").resolve())}

    def last_step(self, stage: str) -> dict[str, str]:
        """Return the model of a stage's last step, whatever model its evaluation has chosen."""
        steps = finished_stages(self.folder)[stage]["metrics"]["steps"]
        folder = self.folder / "stages" / stage / "work" / f"checkpoint-{steps}"
        if not folder.is_dir():
            raise click.ClickException(
                f"{folder} is missing, and it is the model of the stage's last step: a finished stage keeps it "
                f"unless its folder work is deleted. Run the seed again: guerdon run r1-mini --set seed={self.seed()}."
            )
        return {"path": str(folder.resolve())}


def short_zeros(run: Run) -> Iterator[Stage]:
    """Yield a shorter zero, and the same with dynamic sampling, its levels in order, and a curriculum of its levels."""
    zero = run.stages()["zero"] | {"init": run.model("base")}

    def version(name: str, **params: Any) -> Stage:
        return deepcopy(zero) | {"id": name, "params": zero["params"] | {"max_steps": SHORT_STEPS} | params}

    yield version("short_zero")
    yield version("dynamic", max_steps=DYNAMIC_STEPS, dynamic_sampling={"max_rounds": 4})
    prompts_a_step = zero["params"]["per_device_train_batch_size"] // zero["params"]["num_generations"]
    (source,) = zero["data"]
    share = prompts_a_step * SHORT_STEPS // len(LEVELS)
    yield version("in_order", shuffle_dataset=False) | {
        "data": [
            source | {"params": source["params"] | {"levels": [level]}, "limit": share} for level in LEVELS
        ]
    }
    yield version("curriculum", curriculum_by="level")


def distillations(run: Run) -> Iterator[Stage]:
    """Yield r1's answers, SFT of the cold start on them, and distillation on the same prompts in as many steps."""
    sums, talk = run.stages()[EVALUATE]["data"]
    count = DISTILLED_STEPS * DISTILLED_BATCH
    limits = (count - count // TALK_SHARE, count // TALK_SHARE)
    prompts = [
        source | {"params": source["params"] | {"seed": 6}, "split": "train", "limit": limit}
        for source, limit in zip((sums, talk), limits, strict=True)
    ]
    training = {
        "max_steps": DISTILLED_STEPS,
        "per_device_train_batch_size": DISTILLED_BATCH,
        "learning_rate": 1.0e-3,
        "lr_scheduler_type": "cosine",
    }
    yield {
        "id": "answers",
        "use": "sample",
        "init": run.model("r1"),
        "data": prompts,
        "rewards": run.stages()[EVALUATE]["rewards"],
        "params": {"keep": {}, "num_generations": 1, **SAMPLING},
    }
    answers = [{"use": "stage", "params": {"id": "answers"}}]
    yield {
        "id": "taught",
        "use": "sft",
        "init": run.model("cold_start"),
        "data": answers,
        "params": training,
    }
    yield {
        "id": "distilled",
        "use": "distill",
        "init": [run.model("cold_start"), run.model("r1")],
        "data": prompts,
        "params": training | {"max_completion_length": 80},
    }


def preferences(run: Run) -> Iterator[Stage]:
    """Yield DPO of sft on the pairs of the preference model, and on pairs of its own replies that this model judges."""
    training = {"per_device_train_batch_size": 32, "lr_scheduler_type": "cosine", "beta": 0.1}
    yield {
        "id": "dpo",
        "use": "dpo",
        "init": run.model("sft"),
        "data": run.stages()["preference_model"]["data"],
        "params": training | {"num_train_epochs": 1, "learning_rate": 1.0e-4},
    }
    last = run.stages()["r1"]
    (talk,) = (source for source in last["data"] if source["use"] == "small_talk")
    (preference,) = (deepcopy(entry) for entry in last["rewards"] if entry["use"] == "preference")
    preference["params"]["model"] = run.model("preference_model")["path"]
    yield {
        "id": "replies",
        "use": "sample",
        "init": run.model("sft"),
        "data": [talk],
        "rewards": [preference],
        "params": {"keep": {}, "num_generations": 4, **SAMPLING},
    }
    yield {
        "id": "own_dpo",
        "use": "dpo",
        "init": run.model("sft"),
        "data": [{"use": "stage", "params": {"id": "replies"}}],
        "params": training | {"num_train_epochs": 4, "learning_rate": 2.0e-4},
    }


def manifest(run: Run) -> dict[str, Any]:
    merged = {"id": "merged", "use": "merge", "init": [run.model("zero"), run.model("reasoning")]}
    trained = [*short_zeros(run), *distillations(run), *preferences(run), merged]
    models = [f"stage:{name}" for name in MODELS if name != "unguarded"]
    evaluate = run.stages()[EVALUATE] | {"init": [*models, run.last_step("r1")]}
    return {"name": "r1-mini-ablations", "seed": run.seed(), "stages": [*trained, evaluate]}


def runs_of(
    runs: Path, seeds: Sequence[int], folder: Path, manifest: Callable[[Run], dict[str, Any]]
) -> Iterator[tuple[int, Run, Path]]:
    """Run a manifest for the finished run of each seed, and yield the seed, that run, and the folder of the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        run, own = Run(runs / f"seed-{seed}"), folder / f"seed-{seed}"
        if EVALUATE not in finished_stages(run.folder):
            raise click.ClickException(
                f"{run.folder} is not finished. Run bench_seeds.py with this seed first."
            )
        file = folder / f"seed-{seed}.yaml"
        file.write_text(json.dumps(manifest(run), indent=2), encoding="utf-8")  # JSON is YAML too
        run_guerdon(str(file), own)
        yield seed, run, own


def prompts_of(run: Path) -> dict[int, Any]:
    with (run / "stages" / EVALUATE / ROLLOUTS).open(encoding="utf-8") as file:
        return {record["group"]: record["prompt"] for record in map(json.loads, file)}


def values_of(run: Run, ablations: Path) -> Values:
    """Return the values of both runs' models."""
    if prompts_of(run.folder) != prompts_of(ablations):
        raise click.ClickException(
            f"{run.folder} and {ablations} have evaluated different prompts, so their models cannot be compared by "
            "prompt: the source of the problems has changed between the runs. Run both again with one version."
        )
    names = {run.last_step("r1")["path"]: "unguarded"}
    own = {
        (names.get(model, model), measure): found
        for (model, measure), found in read_values(ablations).items()
    }
    return {**read_values(run.folder), **own}


def steps_of(run: Path, stage: str) -> list[Mapping[str, float]]:
    """Return the metrics of each step; a step that was trained again after a stop counts once."""
    events = map(json.loads, (run / EVENTS).read_text(encoding="utf-8").splitlines())
    found = {
        event["step"]: event["metrics"]
        for event in events
        if event["event"] == "stage_progress" and event["stage"] == stage
    }
    return [found[step] for step in sorted(found)]


def sampled(stage: Stage, steps: Sequence[Mapping[str, float]]) -> list[int]:
    """Return how many completions each step of GRPO or distillation has sampled."""
    params = stage["params"]
    size = params["per_device_train_batch_size"]
    groups = params.get("num_generations", 1)
    return [int(step.get("dynamic_sampling/sampled", size // groups)) * groups for step in steps]


def cost_table(runs: Mapping[int, tuple[Run, Path]]) -> str:
    rows = []
    for seed, (run, folder) in runs.items():
        stages = {stage["id"]: stage for stage in manifest(run)["stages"]}
        finished = finished_stages(folder)
        for name, stage in stages.items():
            completions = ""
            if stage["use"] in ("grpo", "distill"):
                completions = str(sum(sampled(stage, steps_of(folder, name))))
            if stage["use"] == "sample":
                completions = str(finished[name]["metrics"]["prompts"] * stage["params"]["num_generations"])
            event = finished[name]
            steps = event["metrics"].get("steps", "")
            rows.append([str(seed), name, str(steps), completions, f"{event['seconds']:.0f}"])
        rows.append([str(seed), "all", "", "", f"{sum(one['seconds'] for one in finished.values()):.0f}"])
    return table(["seed", "stage", "steps", "completions", "seconds"], rows)


def reward_curves(run: Run, folder: Path) -> dict[str, Curve]:
    """Return moving means of the reward of each step's first prompts, by the number of completions sampled so far."""
    curves: dict[str, Curve] = {}
    for stage in short_zeros(run):
        steps = steps_of(folder, stage["id"])
        total, points = 0, []
        for step, count in zip(steps, sampled(stage, steps), strict=True):
            total += count
            points.append((float(total), step.get("dynamic_sampling/reward_before", step["reward"])))
        curves[stage["id"]] = smoothed(points)
    return curves


def write_tables(folder: Path, runs: Mapping[int, tuple[Run, Path]]) -> None:
    values = {seed: values_of(run, own) for seed, (run, own) in runs.items()}
    for seed, (run, own) in runs.items():
        title = f"Reward by completions sampled, seed {seed}"
        svg = draw(title, reward_curves(run, own), smooth=False, legend=True)
        (folder / f"seed-{seed}-reward.svg").write_text(svg, encoding="utf-8")
    text = f"{versions()}\n\n{claims_table(CLAIMS, values)}{models_table((*BEFORE, *MODELS), values)}{cost_table(runs)}"
    (folder / "tables.md").write_text(text, encoding="utf-8")


@click.command()
@click.argument("runs", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--seeds", callback=parse_seeds, required=True, help="Such as 0-7, or 0,3,5.")
@click.option("-o", "folder", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(runs: Path, seeds: list[int], folder: Path) -> None:
    """Run the ablations of the seeds in RUNS, which bench_seeds.py has made, and write the tables."""
    done: dict[int, tuple[Run, Path]] = {}
    for seed, run, own in runs_of(runs, seeds, folder, manifest):
        done[seed] = run, own
        write_tables(folder, done)
    click.echo((folder / "tables.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
