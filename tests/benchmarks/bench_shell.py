"""How many rollouts an hour the environment ``shell`` plays: two commands each, then the row's tests.

python tests/benchmarks/bench_shell.py [--rollouts N] [--at-once N] [--tests file|run|script]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from guerdon_plugins.environments.shell import Shell

TESTS: dict[str, dict[str, Any]] = {
    "file": {"file": "d", "content": "4"},
    "run": {"run": "cat d", "stdout": "4"},
    "script": {
        "script": "python3 -m pytest -q /tests/test_d.py",
        "files": {"test_d.py": "def test_d():\n    assert open('/box/d').read() == '4\\n'\n"},
    },
}


async def play(environment: Shell, rollouts: int, test: dict[str, Any]) -> float:
    """Play rollouts, and return the sum of their rewards."""
    total = 0.0
    for _ in range(rollouts):
        await environment.reset(tests=[test])
        await environment.shell("ls; echo 4 > d")
        await environment.shell("cat d")
        total += await environment.get_reward()
    await environment.aclose()
    return total


async def measure(rollouts: int, at_once: int, test: dict[str, Any]) -> dict[str, Any]:
    """Play rollouts in several environments at once. Return the figures."""
    environments = [Shell() for _ in range(at_once)]
    started = time.perf_counter()
    rewards = await asyncio.gather(*(play(one, rollouts // at_once, test) for one in environments))
    took = time.perf_counter() - started
    played = rollouts // at_once * at_once
    return {
        "rollouts": played,
        "right": sum(rewards),
        "seconds": round(took, 1),
        "an_hour": round(played / took * 3600),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--tests", choices=TESTS, default="script")
    chosen = parser.parse_args()
    figures = asyncio.run(measure(chosen.rollouts, chosen.at_once, TESTS[chosen.tests]))
    sys.stdout.write(json.dumps({"tests": chosen.tests, **figures}) + "\n")


if __name__ == "__main__":
    main()
