"""What the sandbox's tests share: warm pools."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guerdon_sandbox import Sandbox, SyncSandbox


@pytest.fixture(scope="session")
def sandbox(docker_engine: None) -> Iterator[SyncSandbox]:
    with SyncSandbox(Sandbox(boxes=2)) as pool:
        yield pool


@pytest.fixture(scope="session")
def one_box(docker_engine: None) -> Iterator[SyncSandbox]:
    """A pool in which every job follows the one before in the same box."""
    with SyncSandbox(Sandbox(boxes=1)) as pool:
        yield pool
