"""A candidate that speaks the wire protocol wrongly passes no test, and harms nobody.."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from guerdon_sandbox import Call, Calls, CallsResult, Check, CheckResult, Limits, Program, Sandbox

pytestmark = pytest.mark.docker

CANDIDATE = (Path(__file__).parent / "fuzzing_candidate.py").read_text()
LIMITS = Limits(cpu_s=1, wall_s=0.5)
RUNS = 60


def test_frames_from_the_candidate_pass_no_test_and_harm_no_other_job() -> None:
    async def work() -> int:
        secret = secrets.token_hex(8)

        async def calls(seed: int) -> CallsResult:
            wanted = [Call("f", [1]), Call("f", ["a"]), Call("g")]
            return await sandbox.run(
                Calls(source=CANDIDATE, calls=wanted, env={"SEED": str(seed)}, limits=LIMITS)
            )

        async def check(seed: int) -> CheckResult:
            tests = [f"assert f({number}) == {secret!r}" for number in range(3)]
            job = Check(source=CANDIDATE, tests=tests, names=["f"], env={"SEED": str(seed)}, limits=LIMITS)
            return await sandbox.run(job)

        async with Sandbox(boxes=2) as sandbox:
            for seed in range(RUNS):
                called, checked = await asyncio.gather(calls(seed), check(seed))
                assert len(called.replies) <= 3
                assert len(checked.outcomes) <= 3
                assert not any(outcome.passed for outcome in checked.outcomes), seed
                if seed % 10 == 0:
                    assert (await sandbox.run(Program(source="print(1)"))).stdout == b"1\n"
            return sandbox.boxes_started

    assert asyncio.run(work()) == 2
