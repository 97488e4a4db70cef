"""The processes of one launch by ``accelerate launch`` or ``torchrun``, which all run the same command.

The first process runs the manifest. The others take part in its distributed stages and otherwise wait; they write
nothing to the run folder. They get information through the launch's store, because the folder may hold files of an
earlier launch. An error in one process is raised in all.
"""

from __future__ import annotations

import base64
import os
import pickle
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from guerdon.errors import GuerdonError, InfrastructureError

_POLL_S = 0.1
_PREFIX = "guerdon: "
"""The prefix of each key, because torch uses the same store."""

_FAILED = "a process failed"

READ_S = 5.0
"""Seconds that a failed process waits until the others have read its error."""

STUCK_S = 5.0
"""Seconds that a process has to notice another one's failure. After that it is stuck in a collective operation, and is
stopped."""


class Store(Protocol):
    """The methods of a ``torch.distributed.Store`` that are used."""

    def set(self, key: str, value: str) -> object: ...
    def check(self, keys: list[str]) -> bool: ...
    def get(self, key: str) -> bytes: ...


class Ranks:
    """This process among those of its launch.

    Args:
        rank: Its number; the first is 0.
        count: The number of processes.
        store: The store that they share; a single process needs none.
        local_rank: Its number among the processes on its machine; ``None`` if the launcher does not tell it.
        machines: The number of machines; if the launcher does not tell it, the number of processes.
    """

    def __init__(
        self,
        rank: int = 0,
        count: int = 1,
        store: Store | None = None,
        local_rank: int | None = None,
        machines: int | None = None,
    ) -> None:
        self._rank = rank
        self.local_rank = local_rank
        self._count = count
        self.machines = machines or count
        self._store = store
        self._exchanges: Counter[str] = Counter()

    @property
    def first(self) -> bool:
        return self._rank == 0

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def count(self) -> int:
        return self._count

    def send(self, key: str, value: str = "") -> None:
        """Send a value to the other processes, which may read it later."""
        if self._store is not None:
            self._store.set(_PREFIX + key, value)

    def receive(self, key: str) -> str:
        """Wait for a value from another process.

        Raises:
            GuerdonError: Another process failed, or ended.
        """
        assert self._store is not None, "a single process has no other to receive from"
        # The store's own wait cannot be interrupted by Ctrl-C.
        while not self._is_set(key):
            failure = self.failure()
            if failure is not None:
                raise failure
            time.sleep(_POLL_S)
        return self._store.get(_PREFIX + key).decode()

    def exchange(self, topic: str, value: str) -> list[str]:
        """Send a value to all processes, and return every process's, in the order of ranks.

        Args:
            topic: The name of a series of exchanges. All processes make the same exchanges in the same order.
            value: The value of this process.

        Raises:
            GuerdonError: Another process failed, or ended.
        """
        if self._store is None:
            return [value]
        self._exchanges[topic] += 1
        key = f"{topic}, exchange {self._exchanges[topic]}, rank "
        self.send(f"{key}{self._rank}", value)
        return [self.receive(f"{key}{rank}") for rank in range(self._count)]

    def send_to_machine(self, topic: str, value: str) -> None:
        """Send a value to the other processes of this machine, which receive a topic's values in order."""
        self.send(self._machine_key(topic), value)

    def receive_on_machine(self, topic: str) -> str:
        """Wait for a value from the first process of this machine.

        Raises:
            GuerdonError: Another process failed, or ended.
        """
        return self.receive(self._machine_key(topic))

    def _machine_key(self, topic: str) -> str:
        self._exchanges[topic] += 1
        return f"{topic} {self._exchanges[topic]}, machine of rank {self._rank - (self.local_rank or 0)}"

    def own_name(self, name: str) -> str:
        """Return a file name that is unique to this process."""
        return name if self.first else f"{name}.rank{self._rank}"

    def leave(self, what: str) -> None:
        """Report that this process is done with something. The first process waits until all are."""
        if not self.first:
            self.send(f"rank {self._rank} has left {what}")
            return
        for rank in range(1, self._count):
            self.receive(f"rank {rank} has left {what}")

    def fail(self, error: GuerdonError) -> GuerdonError:
        """Send an error to all processes, and wait until they have read it.

        Returns:
            The error that failed the launch: this one, or that of a process that failed earlier.
        """
        if self._store is None:
            return error
        with suppress(InfrastructureError, RuntimeError):  # the store may have ended with the first process
            before = self.failure()
            if before is not None:
                return before
            self.send(_FAILED, base64.b64encode(pickle.dumps(error)).decode())
            deadline = time.monotonic() + READ_S
            others = [rank for rank in range(self._count) if rank != self._rank]
            while time.monotonic() < deadline and not all(self._is_set(_read_by(rank)) for rank in others):
                time.sleep(_POLL_S)
        return error

    def failure(self) -> GuerdonError | None:
        """Return the error of the process that failed, if one did."""
        if self._store is None or not self._is_set(_FAILED):
            return None
        self.send(_read_by(self._rank))
        error: GuerdonError = pickle.loads(base64.b64decode(self._store.get(_PREFIX + _FAILED)))
        return error

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Raise an error of the block in all processes."""
        try:
            yield
        except GuerdonError as error:
            failure = self.fail(error)
            if failure is error:
                raise
            raise failure from error

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Stop this process if another one fails while this one is stuck in the block."""
        if self._store is None:
            yield
            return
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(_POLL_S * 5):
            try:
                failure = self.failure()
            except (InfrastructureError, RuntimeError) as error:
                failure = error if isinstance(error, InfrastructureError) else _gone()
            if failure is not None:
                if not done.wait(STUCK_S):
                    os.write(2, f"{type(failure).__name__}: {failure}\n".encode())
                    os._exit(failure.exit_code)
                return

    def _is_set(self, key: str) -> bool:
        assert self._store is not None
        try:
            return self._store.check([_PREFIX + key])
        except RuntimeError as error:  # torch's store, whose process has ended
            raise _gone() from error


def _read_by(rank: int) -> str:
    return f"rank {rank} knows that a process failed"


def _gone() -> InfrastructureError:
    return InfrastructureError(
        "the first process of the launch has ended. Its own message says why; run the same command to resume."
    )


def launch_ranks() -> Ranks:
    """Return the processes of this launch, from the launcher's environment variables."""
    rank, count = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    if count == 1:
        return Ranks()
    from torch.distributed.rendezvous import rendezvous  # a launcher of several processes has installed torch

    store, _, _ = next(rendezvous("env://", rank, count))
    local_rank, local_count = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE")
    return Ranks(
        rank,
        count,
        store,
        local_rank=None if local_rank is None else int(local_rank),
        machines=None if local_count is None else count // int(local_count),
    )
