"""What tests of several rooms of the core share: a reward server in a process of its own, and a tiny model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import pytest


class Server:
    """A running server, and a client of it."""

    def __init__(self, process: subprocess.Popen[str], url: str, errors: list[str]) -> None:
        self.process = process
        self.url = url
        self.errors = errors
        self.client = httpx.Client(base_url=url, timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def _serving(folder: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """``guerdon serve`` with these arguments, on any free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "guerdon", "serve", "--port", "0", "--workers", "2", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=_collect, args=(process.stderr, errors), daemon=True)
    reader.start()
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "".join(errors)
        server = Server(process, found[0], errors)
        with server.client:
            yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()


def _collect(stream: IO[str], lines: list[str]) -> None:
    lines.extend(stream)


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Server]]:
    """Starts a server in a folder, with the command's arguments."""
    return _serving


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a tiny model of an architecture and gives its folder."""
    from tiny_model import save_tiny_model

    def save(architecture: str = "llama", **overrides: Any) -> Path:
        return save_tiny_model(tmp_path_factory.mktemp(architecture), architecture, **overrides)

    return save
