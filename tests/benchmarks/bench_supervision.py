"""Process supervision against outcome supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3), in miniature.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_supervision.py runs/supervision

It pretrains a model of 0.4 M parameters on careless pages about sums of two to six steps. With each seed, GRPO trains
it three times, on the same prompts and for the same number of steps. Each evaluation samples the same 200 held-out
problems four times, with the seed of the run. One sample of 200 problems is too few: at a rate of 0.16, its standard
error is 0.026, so that one untrained model seems to be several.

The script prints tables with 95 % intervals over the seeds (Student's t), and draws the means into the folder. The
arms of a seed share the prompts and the random numbers, so their differences are paired. What is finished is not run
again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import click

from guerdon import Score, Span

STEPS = "./bench_supervision.py:checked_steps"
ARMS = {
    "steps, process": (STEPS, "process"),
    "steps, outcome": (STEPS, "outcome"),
    "answer, outcome": ("math, params: {extraction: auto}", "outcome"),
}
"""The entry and the supervision. The first two see the same values of the same steps."""

BASE = """\
name: supervision-base
stages:
  - id: base
    use: pretrain
    init: none
    data:
      - {use: arithmetic, params: {kind: pages, levels: [2, 3, 4, 5, 6], languages: [en]}, split: train, limit: 30000}
    params:
      max_steps: 1200
      architecture:
        hidden_size: 128
        intermediate_size: 256
        num_hidden_layers: 2
        num_attention_heads: 4
        num_key_value_heads: 2
        max_position_embeddings: 256
        rope_parameters: {rope_type: default, rope_theta: 100.0}
        tie_word_embeddings: true
      added_tokens: ["<think>", "</think>", "<answer>", "</answer>"]
"""

ARM = """\
name: supervision
model: BASE
seed: SEED
stages:
  - id: rl
    use: grpo
    data: [{use: arithmetic, params: {levels: [3, 4, 5], languages: [en], seed: SEED}, split: train, limit: 4000}]
    rewards: [{use: ENTRY}]
    evaluation:
      every: EVERY
      num_generations: 4
      data: [{use: arithmetic, params: {levels: [3, 4, 5], languages: [en], seed: 99}, split: heldout, limit: 200}]
      rewards: [{use: math, weight: 0, params: {extraction: auto}}]
    params:
      max_steps: STEPS
      supervision: SUPERVISION
      per_device_train_batch_size: 128
      per_device_eval_batch_size: 800
      num_generations: 8
      max_completion_length: 80
      learning_rate: 4.0e-4
      lr_scheduler_type: cosine
      beta: 0.0
      top_k: 0
      save_steps: 20
"""

_STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""The 97.5 % quantile of Student's t by the degrees of freedom, one less than the seeds."""

_SUM = re.compile(r"(\d+) (plus|minus) (\d+) is (\d+)")
_ANSWER = re.compile(r"<answer>\s*(\d+)\s*</answer>|\\boxed\{(\d+)\}")
_SUMMAND = re.compile(r"[+-]?\d+")


class _Sum(NamedTuple):
    end: int
    start: int
    summand: int
    total: int


def checked_steps(completion: str, reference: str, split_key: str) -> Score:
    """Check each sum of the reasoning, and the answer.

    A step is right if it takes the value before it and the problem's next summand, and adds them rightly. A wrong step
    may be done again. The last step is the answer: all text after the sums, right or wrong. Text outside of the spans
    would have no advantage, and the policy would learn answers that cannot be read.

    Args:
        completion: The reply.
        reference: The result.
        split_key: The problem, such as ``12+5-3``.

    Returns:
        The share of right steps, with the span of each.
    """
    value, *summands = map(int, _SUMMAND.findall(split_key))
    answers = list(_ANSWER.finditer(completion))
    reasoning = completion[: answers[-1].start()] if answers else completion
    spans, place = [], 0
    before, done, wrong = value, 0, False
    for one in _sums(reasoning):
        again = wrong and (one.start, one.summand) == (before, summands[done - 1])
        following = done < len(summands) and (one.start, one.summand) == (value, summands[done])
        right = (again or following) and one.total == one.start + one.summand
        if again or following:
            before, value, wrong = one.start, one.total, not right
            done += not again
        spans.append(Span(place, one.end, float(right)))
        place = one.end
    right = bool(answers) and reference in (answers[-1][1], answers[-1][2])
    if spans and place == len(
        completion
    ):  # nothing follows the last sum, so it stands for the missing answer
        place = spans.pop().start
    if completion:
        spans.append(Span(place, len(completion), float(right)))
    return Score(sum(span.value for span in spans) / (len(summands) + 1), spans=spans)


def _sums(text: str) -> Iterator[_Sum]:
    for found in _SUM.finditer(text):
        sign = 1 if found[2] == "plus" else -1
        yield _Sum(found.end(), int(found[1]), sign * int(found[3]), int(found[4]))


def trained_base(folder: Path) -> Path:
    """Return the folder of the base model, which is trained if it is not there."""
    output = folder / "base/stages/base/output"
    if not (output / "config.json").exists():
        _run(BASE, folder / "base")
    return output


def train(folder: Path, arm: str, seed: int, steps: int, every: int) -> Path:
    """Train with one arm and seed, and return the run."""
    entry, supervision = ARMS[arm]
    run = folder / f"{arm.replace(', ', '-')}-{seed}"
    values = {
        "BASE": str(trained_base(folder).resolve()),
        "ENTRY": entry.replace("./bench_supervision.py", str(Path(__file__).resolve())),
        "SUPERVISION": supervision,
        "STEPS": str(steps),
        "EVERY": str(every),
        "SEED": str(seed),
    }
    text = ARM
    for name, value in values.items():
        text = text.replace(name, value)
    _run(text, run)
    return run


def _run(text: str, run: Path) -> None:
    from guerdon.manifest import load_manifest, plan_run
    from guerdon.run import execute

    run.parent.mkdir(parents=True, exist_ok=True)
    manifest = run.with_suffix(".yaml")
    manifest.write_text(text)
    execute(plan_run(load_manifest(manifest)), run, [])


def curve(run: Path) -> dict[int, float]:
    """Return the share of right answers to held-out problems by step."""
    metric = "evaluation/rewards/math/mean"
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return {
        event["step"]: event["metrics"][metric]
        for event in events
        if "step" in event and metric in (event.get("metrics") or {})
    }


def interval(values: Sequence[float]) -> str:
    """Return the mean of the seeds' values, with its interval by Student's t."""
    half = _STUDENT[len(values) - 1] * stdev(values) / sqrt(len(values))
    return f"{mean(values):.3f} ± {half:.3f}"


def write_tables(runs: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Print the shares of right answers by step and the differences of the arms, and draw the means."""
    from guerdon.report.charts import draw

    curves = {arm: [curve(run) for run in of_arm] for arm, of_arm in runs.items()}
    steps = sorted(set.intersection(*(set(one) for some in curves.values() for one in some)))
    head = f"{' | '.join(f'step {step}' for step in steps)} |\n|---|{'---|' * len(steps)}"
    click.echo(f"| rewards, supervision | {head}")
    for arm, some in curves.items():
        cells = " | ".join(interval([one[step] for one in some]) for step in steps)
        click.echo(f"| {arm} | {cells} |")
    click.echo(f"\n| difference | {head}")
    for first, second in combinations(curves, 2):
        pairs = list(zip(curves[first], curves[second], strict=True))
        cells = " | ".join(interval([one[step] - other[step] for one, other in pairs]) for step in steps)
        click.echo(f"| {first} − {second} | {cells} |")
    seeds = range(len(next(iter(curves.values()))))
    click.echo(
        f"\n| last step | {' | '.join(f'seed {seed}' for seed in seeds)} |\n|---|{'---|' * len(seeds)}"
    )
    for arm, some in curves.items():
        click.echo(f"| {arm} | {' | '.join(f'{one[steps[-1]]:.3f}' for one in some)} |")
    means = {arm: [(step, mean(one[step] for one in some)) for step in steps] for arm, some in curves.items()}
    chart = draw("Right answers by step", means, smooth=False, legend=True)
    (folder / "right-answers.svg").write_text(chart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 11))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    arguments = parser.parse_args()
    runs: dict[str, list[Path]] = {arm: [] for arm in arguments.arms}
    for seed in range(arguments.seeds):
        for arm in arguments.arms:
            runs[arm].append(train(arguments.folder, arm, seed, arguments.steps, arguments.every))
    write_tables(runs, arguments.folder)


if __name__ == "__main__":
    main()
