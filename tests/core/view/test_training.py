"""A real training run, in a process of its own, while a browser looks at it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from viewed_runs import Open, Serve

MANIFEST = """
name: live
stages:
  - id: base
    use: pretrain
    init: none
    data: [{use: arithmetic, params: {kind: pages}, split: train, limit: 200}]
    params:
      max_steps: 2
      architecture: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}
  - id: zero
    use: grpo
    init: stage:base
    data: [{use: arithmetic, split: train, limit: 400}]
    rewards: [{use: math}, {use: format, weight: 0.5, params: {tags: [think, answer]}}]
    params:
      max_steps: 100000
      per_device_train_batch_size: 8
      num_generations: 4
      max_completion_length: 8
      save_steps: 1000
"""
"""It trains until it is stopped, so that no speed of the machine ends it before it was seen."""


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run that trains, and its folder, once it exists."""
    (tmp_path / "live.yaml").write_text(MANIFEST)
    command = [sys.executable, "-m", "guerdon", "run", "live.yaml", "-o", "runs/live"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("zero: starts"):
                break
        else:
            pytest.fail(f"the training did not start: {process.wait()}")
        yield process, tmp_path / "runs" / "live"
        process.kill()


def rollouts(page: Page) -> int:
    return int(page.locator("#total").inner_text().replace(",", ""))


POINTS = """
() => [...document.querySelectorAll('.plot')].filter(plot => plot.textContent.includes('Reward'))
  .flatMap(plot => [...plot.querySelectorAll('polyline')].slice(0, 1))
  .map(line => line.getAttribute('points').split(' ').length)[0] ?? 0
"""
"""The number of points of the reward's curve."""


def points_above(page: Page, least: int) -> int:
    """Wait until the reward's curve has more points. The pages' policy forbids waiting in the browser."""
    end = time.monotonic() + 120
    while (drawn := int(page.evaluate(POINTS))) <= least:
        assert time.monotonic() < end, f"the curve of the reward has {drawn} points"
        page.wait_for_timeout(200)
    return drawn


@pytest.mark.slow
def test_browser_follows_a_run_that_trains(
    training: tuple[subprocess.Popen[str], Path], open_page: Open, serve: Serve
) -> None:
    process, folder = training
    url = serve(folder)
    table = open_page("/runs/live/rollouts?stage=zero&descending=1", base=url)
    expect(table.locator("#total")).to_have_text(re.compile(r"^[1-9]"))
    before = rollouts(table)
    expect(table.locator("#total")).not_to_have_text(f"{before:,}")
    assert rollouts(table) > before

    overview = open_page("/runs/live/", base=url)
    expect(overview.locator("td[data-label=status]")).to_have_text(["finished", "running"])
    drawn = points_above(overview, 1)
    points_above(overview, drawn)

    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() != 0
    expect(overview.locator("td[data-label=status]")).to_have_text(["finished", "stopped"])
    expect(overview.locator("#facts")).to_contain_text("This run stopped")
