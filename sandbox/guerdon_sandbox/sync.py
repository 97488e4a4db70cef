"""The sandbox for code without an event loop: the same pool, in its own thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from guerdon_sandbox.errors import SandboxUnavailableError
from guerdon_sandbox.jobs import Job
from guerdon_sandbox.pool import Sandbox
from guerdon_sandbox.results import Result
from guerdon_sandbox.tickets import CLOSED

R = TypeVar("R", bound=Result)
T = TypeVar("T")


class SyncSandbox:
    """A `Sandbox` whose methods block. May be used from several threads.

    A context manager; without ``with`` it opens at the first job, and its boxes end with `close` or the process.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        """Wrap a sandbox that is not open yet.

        Args:
            sandbox: The pool; without it, one with all defaults.
        """
        self._sandbox = sandbox or Sandbox()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def __enter__(self) -> Self:
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
        """Run a job and return its result.

        Raises:
            SandboxUnavailableError: No engine is usable, the job lost several boxes, or this is closed.
            SandboxUsageError: The job does not fit into a box.
        """
        return self._wait(self._sandbox.run(job))

    def map(self, jobs: Iterable[Job[R]]) -> list[R]:
        """Run many jobs at once and return their results in order. The first error ends the others.

        Raises:
            SandboxUnavailableError, SandboxUsageError: As ``run``.
        """

        async def gather() -> list[R]:
            running = [asyncio.ensure_future(self._sandbox.run(job)) for job in jobs]
            try:
                return await asyncio.gather(*running)
            finally:
                for one in running:
                    one.cancel()

        return self._wait(gather())

    def close(self) -> None:
        """End all boxes. After that, no job can run."""
        with self._lock:
            self._closed = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    async def _end(self) -> None:
        """End everything that runs in the loop."""
        await self._sandbox.aclose()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future: concurrent.futures.Future[T]
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise SandboxUnavailableError(CLOSED) from None
        except BaseException:  # an interrupt of this thread frees the box
            future.cancel()
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise SandboxUnavailableError("the sandbox was closed; make a new one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="guerdon-sandbox", daemon=True
                )
                self._thread.start()
            return self._loop
