"""The sandbox for code without an event loop: the same pool, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from guerdon_sandbox.jobs import Job
from guerdon_sandbox.sandbox import Sandbox

R = TypeVar("R")


class SyncSandbox:
    """A `Sandbox` whose methods block. A context manager; may be used from several threads."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        """Take over a sandbox that is not open yet.

        Args:
            sandbox: The pool; without it, one with all defaults.
        """
        self._sandbox = sandbox or Sandbox()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="guerdon-sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._wait(self._sandbox.open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, job: Job[R]) -> R:
        """Run a job and give its result.

        Raises:
            SandboxUnavailableError: No engine is usable, or the job lost one box after the other.
        """
        return self._wait(self._sandbox.run(job))

    def map(self, jobs: Iterable[Job[R]]) -> list[R]:
        """Run many jobs at once and give their results in the jobs' order.

        Raises:
            SandboxUnavailableError: As :meth:`run`.
        """

        async def gather() -> list[R]:
            return await asyncio.gather(*(self._sandbox.run(job) for job in jobs))

        return self._wait(gather())

    def close(self) -> None:
        """End all boxes."""
        self._wait(self._sandbox.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
