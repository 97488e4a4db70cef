"""Verifiers that behave and misbehave, and manifests that use them."""

from __future__ import annotations

from pathlib import Path

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
