"""What ``guerdon check`` says of the time that verdicts take, and of the workers and requests that a run needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from guerdon.preflight import trials

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

def single(completion, reference):
    return slow(completion, reference)

single.max_workers = 1

def fast(completion, reference):
    return completion == reference
"""


@pytest.fixture
def check(tmp_path: Path, call: Any) -> Any:
    (tmp_path / "m.py").write_text(PLUGINS)

    def run(*rewards: str, scoring: str = "workers: 3") -> Any:
        used = ", ".join(f"{{use: './m.py:{name}'}}" for name in rewards)
        (tmp_path / "m.yaml").write_text(
            f"""name: x
scoring: {{{scoring}}}
stages:
  - {{id: rl, use: './m.py:Stage', init: none, data: [{{use: './m.py:Rows'}}], rewards: [{used}]}}
"""
        )
        return call("check", "m.yaml")

    return run


def test_check_says_how_many_workers_a_slow_verifier_needs(check: Any) -> None:
    ended = check("slow", "fast")
    found = re.search(
        r"stage 'rl': a worker scores (\d+) completions a second \(slow (\d+) ms, fast \S+ ms a verdict\), and this "
        r"run has 3, which score (\d+)\. 100 a second need (\d+) ",
        ended.out,
    )
    assert found, ended
    rate, slow, of_all, needed = map(int, found.groups())
    assert slow >= 20
    assert rate == pytest.approx(1000 / slow, rel=0.1)
    assert of_all == pytest.approx(3 * rate, abs=2)
    assert needed == pytest.approx(100 / rate, abs=1)


def test_check_on_a_ray_cluster_names_its_cpus(check: Any) -> None:
    ended = check("slow", scoring="ray: auto")
    assert "and there is one for each CPU of the Ray cluster. 100 a second need" in ended.out, ended


def test_check_says_what_the_max_workers_of_a_verifier_allow(check: Any) -> None:
    ended = check("single", "fast")
    found = (
        r"single takes \d+ ms a verdict\. Its max_workers allows 1 worker, which give \d+ verdicts a second"
    )
    assert re.search(found, ended.out), ended
    assert "a worker scores" not in ended.out


def test_check_says_how_many_requests_an_async_verifier_needs(check: Any) -> None:
    ended = check("asks")
    found = re.search(
        r"asks answers after (\d+) ms\. 100 verdicts a second need (\d+) requests at the same time, and a worker makes "
        r"at most 64, which give ([\d,]+) verdicts a second",
        ended.out,
    )
    assert found, ended
    waits, requests, most = (int(number.replace(",", "")) for number in found.groups())
    assert requests == pytest.approx(waits / 10, abs=1)
    assert most == pytest.approx(64_000 / waits, rel=0.05)
    assert "a worker scores" not in ended.out


def test_check_says_nothing_of_fast_verifiers(check: Any) -> None:
    ended = check("fast")
    assert ended.status == 0, ended
    assert "verdict" not in ended.out


def test_a_verifier_that_takes_long_is_tried_on_a_few_completions(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_ENOUGH_MS", 50.0)
    ended = check("slow")
    assert ended.status == 0, ended.err
    said = re.search(r"not checked: (\d+) more completions, because a verdict takes 0\.02 s\.", ended.err)
    assert said, ended
    assert "it pays for none" not in ended.err  # right answers are among those that were tried
    everything = check("fast")
    assert "more completions" not in everything.err
