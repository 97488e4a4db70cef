"""What tests of several rooms of the core share: a reward server in a process of its own, and a tiny model."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from warm_python import Process, WarmPython


class Server:
    """A running server, and a client of it."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=30)

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return self.process.err()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def serving(warm_guerdon: WarmPython) -> Callable[..., AbstractContextManager[Server]]:
    """Starts a server in a folder, with the command's arguments, on any free port."""

    @contextmanager
    def start(folder: Path, *arguments: str, **environment: str) -> Iterator[Server]:
        command = "-m", "guerdon", "serve", "--port", "0", "--workers", "2", *arguments
        with warm_guerdon.start(*command, cwd=folder, env=environment) as process:
            server = Server(process, process.printed(r"http://\S+")[0])
            with server.client:
                yield server

    return start


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a tiny model of an architecture and gives its folder."""
    from tiny_model import save_tiny_model

    def save(architecture: str = "llama", **overrides: Any) -> Path:
        return save_tiny_model(tmp_path_factory.mktemp(architecture), architecture, **overrides)

    return save
