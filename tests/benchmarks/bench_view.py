"""How fast `guerdon view` opens and answers, with many rollouts. Prints Markdown tables.

    python tests/benchmarks/bench_view.py [--rollouts 1000000] [--folder FOLDER]

FOLDER keeps the synthetic run and its index; by default both are removed at the end. Each question is asked three
times, of a new connection; the table has the fastest and the slowest. Each page is asked of `guerdon view`, in a
process of its own, three times. Memory is the peak of the process that indexes and asks, and of `guerdon view`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import click

from guerdon.index import Filters, Growth, RunIndex, grow_fully
from guerdon.index.comparing import Side, compare
from guerdon.index.groups import find_group
from guerdon.index.paging import count, find
from guerdon.index.summing import (
    entry_health,
    overview,
    prompt_history,
    reward_histogram,
    rollout_curves,
)

WORDS = [
    f"{a}{b}{c}"
    for a in "bdfgklmnprst"
    for b in ("an", "er", "il", "o", "u")
    for c in ("den", "ka", "ter", "")
]
GROUP, GROUPS = 8, 64
"""Rollouts of a prompt, and prompts of a step."""


def lines(rollouts: int) -> Iterator[str]:
    """The lines of a training stage: 20,000 prompts, completions of about 100 words, three verifiers."""
    draw = random.Random(0)
    for number in range(rollouts):
        group = number // GROUP % GROUPS
        prompt = f"Question {number // GROUP % 20_000}: what is {number // GROUP % 97} plus {number // GROUP % 89}?"
        right = draw.random() < 0.3 + 0.5 * number / rollouts
        text = f"<think>{' '.join(draw.choices(WORDS, k=100))}</think><answer>{number % 186}</answer>"
        scores = {
            "math": _score(float(right), 1.0, draw),
            "format": _score(1.0, 0.5, draw),
            "judge": _score(round(draw.random(), 3), 0.25, draw),
        }
        if draw.random() < 0.001:
            scores["judge"] |= {"value": None, "outcome": "failed", "failure": "timeout"}
        record = {
            "step": number // (GROUP * GROUPS) + 1,
            "group": group,
            "advantage": draw.gauss(0, 1),
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": text}],
            "columns": {"task": f"task-{group % 5}", "reference": str(number % 186)},
            "completion_tokens": draw.randint(20, 2000),
            "reward": 1.5 * right + 0.25 * draw.random(),
            "scores": scores,
        }
        yield json.dumps(record) + "\n"


def _score(value: float, weight: float, draw: random.Random) -> dict[str, object]:
    score = {"value": value, "outcome": "scored", "failure": None, "answer": None, "explanation": ""}
    return {
        **score,
        "weight": weight,
        "weighted": value * weight,
        "latency_ms": round(draw.expovariate(0.2), 3),
    }


def write_run(folder: Path, rollouts: int) -> None:
    """Write the synthetic run, if the folder does not have it."""
    log = folder / "stages" / "rl" / "rollouts.jsonl"
    if log.exists():
        return
    log.parent.mkdir(parents=True)
    manifest = {"name": "synthetic", "stages": [{"id": "rl", "use": "grpo"}]}
    record = {"name": "synthetic", "manifest": manifest, "stages": ["rl"], "plugins": [], "versions": {}}
    (folder / "run.json").write_text(json.dumps(record))
    with log.open("w") as file:
        file.writelines(lines(rollouts))


def questions(index: RunIndex, last_step: int) -> dict[str, Callable[[], object]]:
    """What the pages ask, by name."""
    page = find(index, Filters(sort="reward", descending=True))
    deep = find(index, Filters(sort="reward", descending=True, after=page.after))
    filters = {
        "no filter": Filters(),
        "newest first": Filters(descending=True),
        "sorted by reward": Filters(sort="reward", descending=True),
        "sorted by reward, second page": Filters(sort="reward", descending=True, after=deep.after),
        "one step": Filters(stage="rl", step_min=last_step, step_max=last_step),
        "a range of steps, by length": Filters(step_min=10, step_max=last_step - 10, sort="length"),
        "a prompt": Filters(prompt=page.rows[0].digest),
        "words of the prompt": Filters(prompt_text="question 777"),
        "a common word of the prompt, by reward": Filters(prompt_text="plus", sort="reward"),
        "a verifier failed": Filters(entry="judge", outcome="failed"),
        "any verifier timed out": Filters(failure="timeout", sort="latency", descending=True),
        "a verifier's values": Filters(entry="judge", value_min=0.9, sort="value", descending=True),
        "a task": Filters(task="task-3", sort="reward"),
        "rewards": Filters(reward_min=1.0, reward_max=1.4, sort="advantage"),
        "lengths": Filters(length_min=1990),
        "a rare phrase": Filters(text="answer 185 answer"),
        "a common word": Filters(text="think"),
        "a word of some, by reward": Filters(text=WORDS[7], sort="reward", descending=True),
        "a common word, by reward": Filters(text="think", sort="reward"),
        "everything": Filters(
            *("rl", 10, last_step),
            text=WORDS[3],
            entry="math",
            outcome="scored",
            reward_min=0.1,
            length_max=1500,
            task="task-1",
            sort="length",
        ),
        "nothing matches": Filters(text="zzzz", reward_min=5.0),
    }
    asked: dict[str, Callable[[], object]] = {}
    for name, one in filters.items():
        asked[name] = partial(find, index, one)
        asked[f"count: {name}"] = partial(count, index, one)
    left, right = Filters(stage="rl", step_max=last_step // 2), Filters(stage="rl", step_min=last_step // 2)
    everywhere = Filters(stage="rl")
    return asked | {
        "view: menus": lambda: overview(index),
        "view: a group": lambda: find_group(index, "rl", last_step // 2, 3, ""),
        "view: a prompt over the steps": lambda: prompt_history(index, page.rows[0].digest),
        "view: verifiers": lambda: entry_health(index),
        "view: rewards per step": lambda: reward_histogram(index, "rl"),
        "view: curves by task": lambda: rollout_curves(index, "rl", "math", by_task=True),
        "view: two sides on all prompts": lambda: compare(Side(index, left), Side(index, right)),
        "view: two verifiers on all completions": lambda: compare(
            Side(index, everywhere, "math"), Side(index, everywhere, "judge"), by="completion"
        ),
    }


PAGES = (
    *(
        "",
        "curves?stage=rl",
        "curves?stage=rl&task=1",
        "rollouts",
        "rollouts?text=think&sort=reward",
        "rewards",
    ),
    *("verifiers", "group?stage=rl&step=900&group=3", "rollout/rl/500000", "manifest"),
    "compare?a_run=big&a_stage=rl&a_measure=math&b_run=big&b_stage=rl&b_measure=judge",
)


@contextmanager
def viewer(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve the run by its command. Yields the address of its pages."""
    command = [sys.executable, "-m", "guerdon", "view", str(folder), "--port", "0"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        yield f"{line.removeprefix('Viewing on ').strip()}/runs/{quote(folder.resolve().name)}/", server
        server.terminate()


def fetch(url: str) -> int:
    """Return the size of a page in bytes."""
    with urlopen(url) as answer:
        return len(answer.read())


def measure_pages(folder: Path) -> None:
    """Print how long the command takes to its first page, and each page."""
    clock = time.perf_counter()
    with viewer(folder) as (address, server):
        fetch(address)
        click.echo(f"\nFrom the command to its first page: {time.perf_counter() - clock:.2f} s.")
        click.echo("\n| page | fastest (ms) | slowest (ms) | KiB |\n|---|---|---|---|")
        for page in PAGES:
            url = address + page.replace("run=big", f"run={quote(folder.resolve().name)}")
            fastest, slowest, _ = measure(partial(fetch, url))
            click.echo(f"| {page or 'overview'} | {fastest:.0f} | {slowest:.0f} | {fetch(url) / 1024:.0f} |")
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        click.echo(f"\nPeak memory of the viewer: {peak / 1024:.0f} MiB.")


def measure(ask: Callable[[], object]) -> tuple[float, float, float]:
    """The fastest and the slowest of three, and the CPU time of the fastest, in milliseconds."""
    walls, busy = [], []
    for _ in range(3):
        clock, cpu = time.perf_counter(), time.process_time()
        ask()
        walls.append(time.perf_counter() - clock)
        busy.append(time.process_time() - cpu)
    return 1000 * min(walls), 1000 * max(walls), 1000 * min(busy)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(folder: Path, rollouts: int) -> None:
    write_run(folder, rollouts)
    before = peak_mib()
    index = RunIndex(folder, folder / "guerdon" / "index")
    clock, cpu = time.perf_counter(), time.process_time()

    def report(growth: Growth) -> None:
        share = growth.indexed / growth.size
        sys.stderr.write(f"\rindexed {share:.0%}, {peak_mib():.0f} MiB ")

    grow_fully(index, report)
    click.echo(f"| what | value |\n|---|---|\n| rollouts | {rollouts:,} |")
    click.echo(f"| log | {(folder / 'stages/rl/rollouts.jsonl').stat().st_size / 2**20:,.0f} MiB |")
    click.echo(f"| index | {index.path.stat().st_size / 2**20:,.0f} MiB |")
    click.echo(
        f"| indexing | {time.perf_counter() - clock:.1f} s, {time.process_time() - cpu:.1f} s of CPU |"
    )
    opening = measure(lambda: grow_fully(RunIndex(folder, folder / "guerdon" / "index")))
    click.echo(f"| opening when indexed | {opening[0]:.1f} ms |")
    click.echo("\n| question | fastest (ms) | slowest (ms) | CPU (ms) |\n|---|---|---|---|")
    last_step = overview(index).steps["rl"][1]
    for name, ask in questions(index, last_step).items():
        click.echo(f"| {name} | {' | '.join(f'{value:.0f}' for value in measure(ask))} |")
    measure_pages(folder)
    click.echo(
        f"\nPeak memory of indexing and asking: {before:.0f} MiB before, {peak_mib():.0f} MiB at the end."
    )


@click.command()
@click.option("--rollouts", default=1_000_000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False))
def main(rollouts: int, folder: Path | None) -> None:
    """Measure the index of a synthetic run."""
    if folder is not None:
        work(folder, rollouts)
        return
    with tempfile.TemporaryDirectory() as made:
        work(Path(made), rollouts)


if __name__ == "__main__":
    main()
