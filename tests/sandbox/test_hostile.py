"""Hostile programs get nothing, end as wrong programs, and the next job in the same box is right.

They add to those of `guerdon_sandbox.selfcheck.ATTACKS`, which users run on their engine. Each prints ESCAPED if it
gets what it must not get.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slow_cases import slow_but

from guerdon_sandbox import Limit, Limits, Program, Sandbox, SyncSandbox
from guerdon_sandbox.selfcheck import HONEST, HONEST_OUTPUT

pytestmark = pytest.mark.docker

LIMITS = Limits(cpu_s=2, wall_s=4.0)


def attacks(file: str) -> dict[str, str]:
    text = (Path(__file__).parent / "attacks" / file).read_text()
    return dict(part.split("\n", 1) for part in text.split("### ")[1:])


FATAL = {
    f"death by signal {number}": f"import os\nos.kill(os.getpid(), {number})"
    for number in (1, 6, 8, 11, 15, 31, 34, 35, 40, 50, 63, 64)
}
"""Real-time signals among them, of which most have no name."""
NAMES = attacks("names.txt")
FILES = (
    "names.txt",
    "system_calls.txt",
    "files.txt",
    "ends.txt",
    "second_round.txt",
    "third_round.txt",
    "fourth_round.txt",
)
HOSTILE = FATAL | {name: source for file in FILES for name, source in attacks(file).items()}
COSTS_A_BOX = {"memory that no process of the job seems to hold", "page tables without an end"}
"""The kernel may choose the supervisor or the zygote, as the program seems smaller or has ended and holds memory."""

USES_UP_ITS_TIME = {
    "a command line that is not UTF-8",
    "a name written to comm",
    "a thousand threads in an exec",
    "a writer whose flush never ends",
    "an environment that is not UTF-8",
    "an excepthook that loops",
    "an exit handler that loops",
    "a stop of every thread, then a fork bomb from a signal",
    "a stop and a start, again and again",
    "children that each use up their own CPU limit",
    "locks on every byte",
    "names of every kind",
    "names of threads",
    "pipes of one page, in packets, without blocking",
    "sleepers that are replaced whenever one is seen",
    "stderr without an end in small pieces",
    "the main thread ended, and another that sleeps",
    "vfork without an end",
}
"""Each ends as others of its kind do, which end sooner or of which one is tried in every CI."""


@pytest.fixture(scope="module")
def pool(docker_engine: None) -> Sandbox:
    return Sandbox(boxes=1)


@pytest.fixture(scope="module")
def box(pool: Sandbox) -> Iterator[SyncSandbox]:
    with SyncSandbox(pool) as sandbox:
        yield sandbox


@pytest.mark.parametrize("attack", slow_but(HOSTILE.keys() - USES_UP_ITS_TIME, HOSTILE))
def test_attack_gets_nothing_and_leaves_the_box_to_the_next_job(
    pool: Sandbox, box: SyncSandbox, attack: str
) -> None:
    box.run(Program(source=""))
    before = pool.boxes_started
    result = box.run(Program(source=HOSTILE[attack], limits=LIMITS))
    assert b"ESCAPED" not in result.stdout, result.stdout
    assert isinstance(result.ending, str)
    if attack in FATAL:
        assert result.signal == int(attack.split()[-1])
    if attack in NAMES:
        assert result.limit in (Limit.CPU, Limit.WALL)
    honest = box.run(Program(source=HONEST, limits=LIMITS))
    assert honest.stdout == HONEST_OUTPUT, honest
    assert pool.boxes_started == before or attack in COSTS_A_BOX
