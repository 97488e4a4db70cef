"""How fast `guerdon view` opens and answers, with many rollouts. Prints Markdown tables.

    python tests/benchmarks/bench_view.py [--rollouts 1000000] [--rounds 10] [--folder FOLDER]

FOLDER keeps the synthetic run and its index; by default both are removed at the end. Each question is asked of a new
connection, with other values each time: random filters, orders and pages, one kind of filter each and up to eight
together. Each page is asked of `guerdon view`, in a process of its own, five times. Memory is the peak of the process
that indexes and asks, and of `guerdon view`. The index's pages are in the system's cache, unless it has no room.
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
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import click

from guerdon.index import Filters, Growth, RunIndex, grow_fully
from guerdon.index.comparing import Side, compare
from guerdon.index.filters import SIZES, SORTS
from guerdon.index.groups import find_group
from guerdon.index.histograms import reward_histogram
from guerdon.index.paging import find
from guerdon.index.summing import entry_health, overview, prompt_history, rollout_curves

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


def some_filters(draw: random.Random, digests: Sequence[str], last_step: int) -> dict[str, dict[str, Any]]:
    """Return one filter of each kind, with random values."""
    step, word = draw.randint(1, last_step), draw.choice(WORDS)
    common = draw.choice(("think", "answer"))
    return {
        "no filter": {},
        "stage and step": {"stage": "rl", "step_min": step, "step_max": step},
        "steps": {"step_min": step // 2, "step_max": step},
        "group": {"group": draw.randrange(GROUPS)},
        "task": {"task": f"task-{draw.randrange(5)}"},
        "prompt": {"prompt": draw.choice(digests)},
        "words of the prompt": {"prompt_text": draw.choice(("plus", "what is", f"question {step}"))},
        "a word of all completions": {"text": common},
        "a word of a third of the completions": {"text": word},
        "a phrase": {"text": f"{word} {draw.choice(WORDS)}"},
        "a common phrase": {"text": f"think answer {draw.randrange(186)}"},
        "a word of none": {"text": "zzzz"},
        "verdicts by outcome": {"entry": "judge", "outcome": draw.choice(("scored", "failed"))},
        "failures of any verifier": {"failure": draw.choice(("timeout", "verifier"))},
        "a verifier's values": {"entry": draw.choice(("math", "judge")), "value_min": draw.random()},
        "rewards": {"reward_min": draw.random(), "reward_max": 1 + draw.random()},
        "lengths": {"length_min": draw.randint(20, 1000), "length_max": draw.randint(1000, 2000)},
        "without a reward": {"unscored": True},
    }


def asked_filters(
    rounds: int, digests: Sequence[str], last_step: int, rollouts: int
) -> Iterator[tuple[str, Filters]]:
    """Yield random filters of each kind and of several together, with any order, from the first page and deep ones."""
    draw = random.Random(1)
    for _ in range(rounds):
        kinds = some_filters(draw, digests, last_step)
        several = draw.sample(list(kinds.values()), draw.randint(2, 8))
        kinds["several together"] = {name: value for one in several for name, value in one.items()}
        for kind, chosen in kinds.items():
            sort = draw.choice(SORTS)
            page: dict[str, Any] = {
                "sort": sort,
                "descending": draw.random() < 0.5,
                "size": draw.choice(SIZES),
            }
            if draw.random() < 0.5:
                key = draw.randint(1, rollouts) if sort in ("line", "step") else draw.random()
                page[draw.choice(("after", "before"))] = f"{key}:{draw.randint(1, rollouts)}"
            yield kind, Filters(**chosen, **page)


def measure_filters(index: RunIndex, rounds: int, last_step: int, rollouts: int) -> None:
    """Print how long random filters take, by kind, and the slowest."""
    digests = [row.digest for row in find(index, Filters(size=200)).rows]
    times: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for kind, filters in asked_filters(rounds, digests, last_step, rollouts):
        clock, cpu = time.perf_counter(), time.process_time()
        find(index, filters)
        wall, cpu = 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - cpu)
        times[kind].append((wall, cpu, filters.query()))
    click.echo("\n| filters | median (ms) | 95% (ms) | slowest (ms) | CPU: 95% (ms) | CPU: most (ms) |")
    click.echo("|---|---|---|---|---|---|")
    every = [one for of_kind in times.values() for one in of_kind]
    for kind, asked in (*times.items(), ("all", every)):
        walls, busy = (sorted(one[part] for one in asked) for part in (0, 1))
        late = int(0.95 * len(walls))
        row = (walls[len(walls) // 2], walls[late], walls[-1], busy[late], busy[-1])
        click.echo(f"| {kind} | {' | '.join(f'{value:.0f}' for value in row)} |")
    slowest = sorted(every, reverse=True)[:3]
    click.echo("\nThe slowest: " + "; ".join(f"{wall:.0f} ms {query}" for wall, _, query in slowest) + ".")


def questions(index: RunIndex, last_step: int) -> dict[str, Callable[[], object]]:
    """What the pages ask beside filters, by name."""
    row = find(index, Filters()).rows[0]
    left, right = Filters(stage="rl", step_max=last_step // 2), Filters(stage="rl", step_min=last_step // 2)
    everywhere = Filters(stage="rl")
    return {
        "menus": lambda: overview(index),
        "a group": lambda: find_group(index, "rl", last_step // 2, 3, ""),
        "a prompt over the steps": lambda: prompt_history(index, row.digest),
        "verifiers": lambda: entry_health(index),
        "rewards per step": lambda: reward_histogram(index, "rl"),
        "curves by task": lambda: rollout_curves(index, "rl", "math", by_task=True),
        "two sides on all prompts": lambda: compare(Side(index, left), Side(index, right)),
        "two verifiers on all completions": lambda: compare(
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
        click.echo("\n| page | median (ms) | slowest (ms) | KiB |\n|---|---|---|---|")
        for page in PAGES:
            url = address + page.replace("run=big", f"run={quote(folder.resolve().name)}")
            walls = measure(partial(fetch, url))
            click.echo(
                f"| {page or 'overview'} | {walls[2]:.0f} | {walls[-1]:.0f} | {fetch(url) / 1024:.0f} |"
            )
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        click.echo(f"\nPeak memory of the viewer: {peak / 1024:.0f} MiB.")


def measure(ask: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Return how long each of five answers took in milliseconds, the fastest first."""
    times = []
    for _ in range(5):
        start = clock()
        ask()
        times.append(1000 * (clock() - start))
    return sorted(times)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(folder: Path, rollouts: int, rounds: int) -> None:
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
    click.echo(f"| opening when indexed | {opening[2]:.1f} ms |")
    last_step = overview(index).steps["rl"][1]
    measure_filters(index, rounds, last_step, rollouts)
    click.echo("\n| question | median (ms) | slowest (ms) | CPU: median (ms) |\n|---|---|---|---|")
    for name, ask in questions(index, last_step).items():
        walls = measure(ask)
        busy = measure(ask, time.process_time)
        click.echo(f"| {name} | {walls[2]:.0f} | {walls[-1]:.0f} | {busy[2]:.0f} |")
    measure_pages(folder)
    click.echo(
        f"\nPeak memory of indexing and asking: {before:.0f} MiB before, {peak_mib():.0f} MiB at the end."
    )


@click.command()
@click.option("--rollouts", default=1_000_000, show_default=True)
@click.option("--rounds", default=10, show_default=True, help="Random filters of each kind.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False))
def main(rollouts: int, rounds: int, folder: Path | None) -> None:
    """Measure the index of a synthetic run."""
    if folder is not None:
        work(folder, rollouts, rounds)
        return
    with tempfile.TemporaryDirectory() as made:
        work(Path(made), rollouts, rounds)


if __name__ == "__main__":
    main()
