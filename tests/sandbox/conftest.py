"""What the sandbox's tests share: the engine's presence, and one warm pool."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from guerdon_sandbox import BoxOptions, Sandbox, SandboxUnavailableError, SyncSandbox
from guerdon_sandbox.engine import Engine


@pytest.fixture(scope="session")
def _engine() -> None:
    """A usable engine. CI must have one."""
    try:
        Engine().check(BoxOptions())
    except SandboxUnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _docker_tests_need_an_engine(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker") is not None:
        request.getfixturevalue("_engine")


@pytest.fixture(scope="session")
def sandbox(_engine: None) -> Iterator[SyncSandbox]:
    with SyncSandbox(Sandbox(boxes=2)) as pool:
        yield pool


@pytest.fixture
def one_box(_engine: None) -> Iterator[SyncSandbox]:
    """A pool in which every job follows the one before in the same box."""
    with SyncSandbox(Sandbox(boxes=1)) as pool:
        yield pool
