"""What ``guerdon check`` says of the time that verdicts take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PLUGINS = """
import asyncio, time

class Stage:
    needs = ("data", "rewards")
    def run(self, context): ...

class Rows:
    def __iter__(self): return ({"prompt": f"say {i}", "reference": str(i)} for i in range(8))

def slow(completion, reference):
    time.sleep(0.02)
    return completion == reference

async def asks(completion, reference):
    await asyncio.sleep(0.02)
    return completion == reference

def fast(completion, reference):
    return completion == reference
"""


@pytest.fixture
def check(tmp_path: Path, call: Any) -> Any:
    (tmp_path / "m.py").write_text(PLUGINS)

    def run(*rewards: str) -> Any:
        used = ", ".join(f"{{use: './m.py:{name}'}}" for name in rewards)
        (tmp_path / "m.yaml").write_text(
            f"""name: x
stages:
  - {{id: rl, use: './m.py:Stage', init: none, data: [{{use: './m.py:Rows'}}], rewards: [{used}]}}
"""
        )
        return call("check", "m.yaml")

    return run


def test_check_says_what_a_slow_verifier_takes_of_a_worker(check: Any) -> None:
    ended = check("slow", "fast")
    found = r"stage 'rl': 1,000 completions take one worker \d+ s \(slow \d+ ms, fast \S+ ms a verdict\)"
    assert re.search(found, ended.out), ended


def test_check_says_what_an_async_verifier_waits(check: Any) -> None:
    ended = check("asks")
    assert re.search(r"stage 'rl': async verdicts take asks \d+ ms, many at the same time", ended.out), ended
    assert "worker" not in ended.out


def test_check_says_nothing_of_fast_verifiers(check: Any) -> None:
    ended = check("fast")
    assert ended.status == 0, ended
    assert "verdict" not in ended.out
