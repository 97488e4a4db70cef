"""Hostile programs cost honest ones neither their verdict nor its time, whatever the order in which they come."""

from __future__ import annotations

import asyncio
import threading
from types import ModuleType
from typing import Any

import pytest

from guerdon import Score
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.scoring.pool import VerifyJob, WorkerPool
from guerdon.scoring.protocol import Item
from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_sandbox import box, jobs
from guerdon_sandbox.parsing import LARGE_BYTES

pytestmark = pytest.mark.docker

LOOP = "while True: pass"
HONEST = "print(int(input()) * 2)"
ECHO = {"inputs": ["4\n"], "outputs": ["8\n"]}
CALL = {"fn_name": "f", "inputs": [[4]], "outputs": [8]}


def completion(program: str) -> str:
    return f"```python\n{program}\n```"


def judged(cases: list[Item], timeout_s: float, **params: object) -> list[Score]:
    """The scores that a run's workers give, deadlines included."""
    component = load_component(find_plugin("code", (Kind.VERIFIER,)), params, None)
    job = VerifyJob(0, cases, timeout_s=timeout_s, dedicated=True)
    pool = WorkerPool([component])
    try:
        pool.run([job])
    finally:
        pool.close()
    return [result[0] for result in job.results if result is not None and isinstance(result[0], Score)]


@pytest.mark.slow
def test_loops_before_honest_programs_starve_none_of_them() -> None:
    """28 loops take 14 s of the two boxes, and a verdict may take 8 s."""
    cases = [Item(completion(program), {"reference": ECHO}) for program in [LOOP] * 28 + [HONEST] * 30]
    scores = judged(cases, 8.0, boxes=2, cpu_s=1)
    assert [score.value for score in scores] == [0.0] * 28 + [1.0] * 30


def test_program_that_loops_in_every_test_is_wrong_in_time() -> None:
    suite = {"inputs": ["4\n"] * 100, "outputs": ["8\n"] * 100}
    cases = [Item(completion(LOOP), {"reference": suite}), Item(completion(HONEST), {"reference": suite})]
    scores = judged(cases, 60.0, boxes=2, cpu_s=1, scoring="fraction")
    assert [score.value for score in scores] == [0.0, 1.0]


HOSTILE = {
    "many frames": """
import os, struct
def f(n):
    data = (struct.pack(">I", 2) + b"[]") * (1 << 18)
    for fd in range(3, 64):
        try:
            for _ in range(16): os.write(fd, data)
        except OSError: pass
    return n * 2
""",
    "one frame of small containers": """
import os, struct
def f(n):
    data = b'["value",[' + b",".join([b"[]"] * (1 << 21)) + b'],[],{"d":[]}]'
    for fd in range(3, 64):
        try: os.write(fd, struct.pack(">I", len(data)) + data)
        except OSError: pass
    return n * 2
""",
    "a list of two million lists": "def f(n): return [[] for _ in range(2_000_000)]",
    "long numbers": "def f(n): return [10 ** 4000 + i for i in range(1900)]",
    "a text of escapes": "def f(n): return '\\n' * (4 << 20)",
    "a dict": "def f(n): return {str(i): i for i in range(200_000)}",
    "deep": "def f(n):\n    x = []\n    for _ in range(900): x = [x]\n    return x",
}


def test_hostile_replies_do_not_stop_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the loop's own thread handles in one call is bounded in bytes; a bound in time would judge the machine."""
    loop_thread = threading.get_ident()
    most: dict[str, int] = {}

    def watch(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def run(first: Any, *rest: Any) -> Any:
            if threading.get_ident() == loop_thread:
                size = sum(map(len, first)) if isinstance(first, list) else len(first)
                most[name] = max(most.get(name, 0), size)
            return function(first, *rest)

        monkeypatch.setattr(module, name, run)

    watch(box, "joined")
    watch(jobs, "split_frames")
    watch(jobs, "read_reply")

    async def work() -> list[Score]:
        verifier = CodeVerifier(boxes=2, cpu_s=5)
        programs = [*HOSTILE.values(), "def f(n): return n * 2"]
        scores = await asyncio.gather(*(verifier(completion(program), CALL) for program in programs))
        await verifier.aclose()
        return list(scores)

    assert [score.value for score in asyncio.run(work())] == [0.0] * len(HOSTILE) + [1.0]
    assert 0 < most["joined"] <= box.PORTION_BYTES
    assert max(most["split_frames"], most["read_reply"]) <= LARGE_BYTES


@pytest.mark.slow
def test_forty_hostile_programs_leave_their_neighbours_right() -> None:
    hostile = [list(HOSTILE.values())[index % len(HOSTILE)] for index in range(40)]
    programs = hostile + ["def f(n): return n * 2"] * 24
    cases = [Item(completion(program), {"reference": CALL}) for program in programs]
    scores = judged(cases, 120.0, boxes=2)
    assert [score.value for score in scores] == [0.0] * 40 + [1.0] * 24
