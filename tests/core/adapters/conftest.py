"""Verifiers that behave and misbehave, manifests that use them, and the trainers' own packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VERIFIERS = """
import time
def equals(completion, reference): return float(completion == reference)
def shout(completion): return 0.5 if completion.isupper() else 0.0
def choosy(completion):
    if completion == "skip": return None
    if completion == "bug": raise KeyError("x")
    if completion == "down": raise ConnectionRefusedError("nobody there")
    if completion == "hang": time.sleep(60)
    return len(completion) / 10
def brevity(completions, **kwargs): return [-len(c) / 10 for c in completions]
"""

MANIFEST = """\
name: adapted
failure_budget: 0.5
stages:
  - id: zero
    use: grpo
    rewards:
      - {use: "./v.py:equals", weight: {0: 1.0, 10: 3.0}}
      - {use: "./v.py:choosy", weight: 2.0, timeout: 1.0}
      - {use: "./v.py:shout", weight: 0.0}
  - id: forgiving
    use: grpo
    rewards:
      - {use: "./v.py:equals"}
      - {use: "./v.py:choosy", on_failure: zero}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``v.py`` and ``m.yaml``."""
    (tmp_path / "v.py").write_text(VERIFIERS)
    (tmp_path / "m.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


HTTP = (
    *("aiohttp==3.14.5", "aiohappyeyeballs==2.7.1", "aiosignal==1.4.0", "attrs==26.1.0", "frozenlist==1.8.0"),
    *("multidict==7.2.1", "propcache==0.5.4", "yarl==1.25.1"),
)
"""aiohttp and what it requires; every trainer has it."""


class Peer:
    """A trainer's own package, in a folder of its own beside this environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, script: str, cwd: Path, *arguments: str) -> list[Any]:
        """The lines of JSON that a script prints; what the trainer itself logs is no JSON."""
        paths = [str(self._folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Peer]:
    """Installs a trainer's distribution, and of what it requires only what is named: what its reward path imports."""

    def install(*requirements: str, http: bool = False) -> Peer:
        folder = tmp_path_factory.mktemp("peer")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        done = subprocess.run(
            [*command, "--target", str(folder), *requirements, *(HTTP if http else ())],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Peer(folder)

    return install
