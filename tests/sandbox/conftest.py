"""What the sandbox's tests share: the engine's presence, and one warm pool."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from guerdon_sandbox import BoxOptions, Sandbox, SandboxUnavailableError, SyncSandbox
from guerdon_sandbox.engine import Engine


@pytest.fixture(scope="session")
def _engine() -> str | None:
    """Why there is no engine, or None if there is one."""
    try:
        Engine().check(BoxOptions())
    except SandboxUnavailableError as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def _docker_tests_need_an_engine(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker") is None:
        return
    missing = request.getfixturevalue("_engine")
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SyncSandbox]:
    with SyncSandbox(Sandbox(boxes=2)) as pool:
        yield pool


@pytest.fixture
def one_box() -> Iterator[SyncSandbox]:
    """A pool in which every job follows the one before in the same box."""
    with SyncSandbox(Sandbox(boxes=1)) as pool:
        yield pool
