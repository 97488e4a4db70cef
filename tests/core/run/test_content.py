"""Digests of the modules that a plugin's file imports."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.run.content import local_modules


@pytest.fixture
def thread_that_parses() -> Iterator[None]:
    """A thread that formats tracebacks, for which Python builds syntax trees; threads change at each collection."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            try:
                raise KeyError(1)
            except KeyError:
                traceback.format_exc()

    def collected(*_: object) -> None:
        sum(range(300))

    thread = threading.Thread(target=work)
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(collected)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    thread.start()
    yield
    ended.set()
    thread.join()
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.callbacks.remove(collected)


@pytest.mark.usefixtures("thread_that_parses")
def test_local_modules_are_found_while_another_thread_builds_syntax_trees(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("A = [1, 2, 3]\n" * 300)
    (tmp_path / "p.py").write_text(
        "def f(completion):\n    import helper\n    return 1.0\n" + "B = {1: 2}\n" * 300
    )
    plugin = find_plugin("./p.py:f", [Kind.VERIFIER], tmp_path)
    for _ in range(20):
        assert list(local_modules(plugin, tmp_path)) == ["helper.py"]
