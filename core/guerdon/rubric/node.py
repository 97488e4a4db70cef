"""One rubric for the processes of a launch on one machine: its workers, its cache and its failure budget are shared.

The machine's first process scores. The others send it their rollouts through a Unix socket, which only this user's
processes with the launch's key can use.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from guerdon.errors import GuerdonError, InfrastructureError, one_line
from guerdon.rubric.entry import Entry
from guerdon.rubric.rubric import Rubric
from guerdon.rubric.shared import SharedRubric
from guerdon.types import Judgements, Rollout

__all__ = ["Address", "HostRubric", "MemberRubric", "hosted"]

logger = logging.getLogger(__name__)

Address = tuple[str, str]
"""The socket's path and the key, in hexadecimal digits."""

_WAITING_MEMBERS = 64
"""Processes that may connect at the same moment."""


class MemberRubric(Rubric):
    """The rubric of a process that does not score itself.

    Args:
        entries: The entries of the machine's first process.
        address: What that process's :func:`hosted` yields.

    Raises:
        InfrastructureError: That process has ended.
    """

    def __init__(self, entries: Sequence[Entry], address: Address) -> None:
        path, key = address
        self._turn = threading.Lock()
        try:
            self._host = Client(path, "AF_UNIX", authkey=bytes.fromhex(key))
        except (OSError, EOFError, AuthenticationError) as error:
            raise _gone(error) from None
        super().__init__(entries)  # its pool starts no worker before it is used

    def score(
        self,
        rollouts: Sequence[Rollout],
        step: int = 0,
        *,
        names: Collection[str] | None = None,
        groups: Sequence[Hashable] | None = None,
        early: bool = False,
    ) -> Judgements:
        """Let the machine's first process judge rollouts, as :meth:`Rubric.score` does."""
        with self._turn:
            try:
                self._host.send((list(rollouts), step, names, groups, early))
                answer = self._host.recv()
            except (OSError, EOFError) as error:
                raise _gone(error) from None
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Judgements)
        return answer

    @property
    def shares_workers(self) -> bool:
        return True

    def take_early(self) -> dict[str, Any]:
        """Return nothing: the machine's first process takes the answers of all."""
        return {}

    def close(self) -> None:
        """Close the connection."""
        self._host.close()
        super().close()


class HostRubric(MemberRubric):
    """The rubric of the process that scores for its machine. Its calls wait in one line with those of the others.

    Args:
        entries: The entries.
        address: What its :func:`hosted` yields.
        own: The rubric that it hosts.
    """

    def __init__(self, entries: Sequence[Entry], address: Address, own: Rubric) -> None:
        super().__init__(entries, address)
        self._own = own

    def take_early(self) -> dict[str, Any]:
        """Take out the answers of the early calls of all processes of this machine."""
        return self._own.take_early()

    def add_early(self, answers: Mapping[str, Any]) -> None:
        """Add answers from another machine for the later calls of this one's processes."""
        self._own.add_early(answers)


@contextmanager
def hosted(rubric: SharedRubric) -> Iterator[Address]:
    """Judge for the other processes of this machine, in threads. Yield what they need to connect."""
    key = secrets.token_bytes(32)
    ended = threading.Event()
    with Listener(family="AF_UNIX", backlog=_WAITING_MEMBERS, authkey=key) as listener:
        path = str(listener.address)
        doorman = threading.Thread(target=_accept, args=(listener, rubric, ended), name="guerdon-node")
        doorman.daemon = True
        doorman.start()
        try:
            yield path, key.hex()
        finally:
            ended.set()
            with suppress(OSError):
                Client(path, "AF_UNIX").close()  # wakes the thread
            doorman.join()


def _accept(listener: Listener, rubric: SharedRubric, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            member = listener.accept()
        except (OSError, EOFError, AuthenticationError) as error:
            logger.debug("a connection to the rubric was refused: %s", error)
            continue
        threading.Thread(target=_serve, args=(member, rubric), name="guerdon-member", daemon=True).start()


def _serve(member: Connection, rubric: SharedRubric) -> None:
    with member, suppress(OSError, EOFError):
        while True:
            rollouts, step, names, groups, early = member.recv()
            try:
                answer: Judgements | Exception = rubric.score(rollouts, step, groups, names, early)
            except GuerdonError as error:
                answer = error
            except Exception as error:  # another error may not be one that can be sent
                logger.debug("scoring for another process failed", exc_info=True)
                answer = InfrastructureError(
                    f"the first process of this machine cannot score: {type(error).__name__}: {one_line(error)}"
                )
            member.send(answer)


def _gone(error: Exception) -> InfrastructureError:
    return InfrastructureError(
        "the first process of this machine, which scores for all of them, has ended "
        f"({one_line(error) or type(error).__name__}). Its own message says why; run the same command to resume."
    )
