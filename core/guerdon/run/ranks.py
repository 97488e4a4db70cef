"""The processes of one launch by ``accelerate launch`` or ``torchrun``, which all run the same command.

The first runs the manifest. The others take part in its distributed stages and wait meanwhile; of the run folder they
write nothing. What they have to know goes through the launch's own store: the folder may hold what an earlier launch
left there.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

_POLL_S = 0.1
_PREFIX = "guerdon: "
"""Before each key, in a store that torch uses too."""


class Store(Protocol):
    """What is used of a ``torch.distributed.Store``."""

    def set(self, key: str, value: str) -> object: ...
    def check(self, keys: list[str]) -> bool: ...
    def get(self, key: str) -> bytes: ...


class Ranks:
    """This process among those of its launch.

    Args:
        rank: Its number; the first is 0.
        count: How many there are.
        store: What they share; one process alone needs none.
    """

    def __init__(self, rank: int = 0, count: int = 1, store: Store | None = None) -> None:
        self._rank = rank
        self._count = count
        self._store = store

    @property
    def first(self) -> bool:
        return self._rank == 0

    def tell(self, key: str, value: str = "") -> None:
        """Let the other processes hear something, now or later."""
        if self._store is not None:
            self._store.set(_PREFIX + key, value)

    def hear(self, key: str) -> str:
        """Wait until another process tells it; in vain if that one ends, whereupon the launcher ends this one."""
        assert self._store is not None, "one process alone hears nothing"
        while not self._store.check(
            [_PREFIX + key]
        ):  # not the store's own wait, which Ctrl-C does not interrupt
            time.sleep(_POLL_S)
        return self._store.get(_PREFIX + key).decode()

    def own_name(self, name: str) -> str:
        """The name of a file that each process has for itself."""
        return name if self.first else f"{name}.rank{self._rank}"

    def leave(self, what: str) -> None:
        """Say that this process is done with something; the first one waits until all are."""
        if not self.first:
            self.tell(f"rank {self._rank} has left {what}")
            return
        for rank in range(1, self._count):
            self.hear(f"rank {rank} has left {what}")


def launch_ranks() -> Ranks:
    """The processes of the launch that this one belongs to, as the launcher's environment says."""
    rank, count = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    if count == 1:
        return Ranks()
    from torch.distributed.rendezvous import rendezvous  # who launches several processes has it

    store, _, _ = next(rendezvous("env://", rank, count))
    return Ranks(rank, count, store)
