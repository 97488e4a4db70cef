"""A server of verifiers that behave and misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

VERIFIERS = '''
import time
from guerdon import Score
def echo(completion, reference=None):
    """The number in the completion: a verdict that tells whose it is."""
    if completion.startswith("bug"): raise KeyError(completion)
    if completion.startswith("down"): raise ConnectionRefusedError(completion)
    if completion.startswith("skip"): return None
    if completion.startswith("hang"): time.sleep(60)
    if completion.startswith("slow"): time.sleep(1)
    return Score(float(completion.rpartition(" ")[2]), answer=completion)
echo.timeout_s = 2.0
def needy(completion, task): return Score(1.0, metadata={"odd": float("nan"), "set": {1}, "task": task})
def total(completions, **columns): return [float(len(completions))] * len(completions)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``v.py``."""
    (tmp_path / "v.py").write_text(VERIFIERS)
    return tmp_path


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for the servers of a whole module."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "v.py").write_text(VERIFIERS)
    return folder


@pytest.fixture(scope="module")
def echo(serving: Any, module_folder: Path) -> Iterator[Any]:
    """A server of the verifier ``echo``."""
    with serving(module_folder, "--use", "./v.py:echo") as server:
        yield server
