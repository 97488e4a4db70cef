"""What runs on the nodes of a Ray cluster: an actor that holds a local pool with one worker process."""

from __future__ import annotations

import logging
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from guerdon.errors import GuerdonError, InfrastructureError, UsageError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import find_plugin
from guerdon.scoring.jobs import RewardJob, VerifyJob
from guerdon.scoring.pool import WorkerPool
from guerdon.scoring.protocol import Rewarded, RewardTask, Scored, VerifyTask, Warned
from guerdon.scoring.worker_process import Warnings
from guerdon.types import Score

__all__ = ["Answer", "RemoteWorker"]

Answer: TypeAlias = "Sequence[Scored | Rewarded | Warned] | GuerdonError"
"""What an actor sends: verdicts and warnings of the current task, or why it cannot run it."""

ANSWER_INTERVAL_S = 0.2
"""The interval in seconds at which an actor sends the verdicts of a long task."""


class RemoteWorker:
    """The actor: a local pool with one worker process, on its node.

    Args:
        folder: The driver's folder, against which relative paths of params are read.
        sys_path: The driver's import path.
        components: The rubric's components.
    """

    def __init__(self, folder: str, sys_path: Sequence[str], components: Sequence[Component]) -> None:
        self._folder = folder
        self._sys_path = sys_path
        self._components = components

    def start(self) -> GuerdonError | None:
        """Open the pool. Return why the node cannot run the components, if it cannot."""
        try:
            os.chdir(self._folder)
        except OSError as error:
            return InfrastructureError(
                f"the Ray node {socket.gethostname()} has no folder {self._folder}: {error.strerror}. Start the "
                "command in a folder that all nodes share."
            )
        sys.path[:] = [*self._sys_path, *(entry for entry in sys.path if entry not in self._sys_path)]
        try:
            for component in self._components:
                _check_version(component)
            self._pool = WorkerPool(self._components, 1)
        except GuerdonError as error:
            return error
        return None

    def run(self, task: VerifyTask | RewardTask, timeout_s: float) -> Iterator[Answer]:
        """Run a task. Yield its verdicts as they arrive, or the error of a component that cannot be built."""
        answers: queue.SimpleQueue[Scored | Rewarded | Warned | GuerdonError | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, args=(task, timeout_s, answers.put), daemon=True).start()
        batch: list[Scored | Rewarded | Warned] = []
        sent = time.monotonic()
        while (answer := _next(answers)) is not None:
            if isinstance(answer, GuerdonError):
                yield answer
                return
            batch += answer
            if batch and time.monotonic() - sent >= ANSWER_INTERVAL_S:
                yield batch
                batch, sent = [], time.monotonic()
        if batch:
            yield batch

    def close(self) -> None:
        """Let the worker release its resources."""
        self._pool.close()

    def _work(
        self,
        task: VerifyTask | RewardTask,
        timeout_s: float,
        put: Callable[[Scored | Rewarded | Warned | GuerdonError | None], None],
    ) -> None:
        warnings = Warnings(put)  # of the pool, which has heard the worker's
        logging.getLogger("guerdon").addHandler(warnings)
        try:
            if isinstance(task, RewardTask):
                reward = RewardJob(task.component, task, timeout_s, dedicated=False)
                self._pool.run([reward])
                assert reward.answer is not None
                put(reward.answer)
            else:
                self._verify(task, timeout_s, put)
        except GuerdonError as error:
            put(error)
        finally:
            logging.getLogger("guerdon").removeHandler(warnings)
        put(None)

    def _verify(self, task: VerifyTask, timeout_s: float, put: Callable[[Scored], None]) -> None:
        sent: set[int] = set()

        def send(index: int, score: Score | Sequence[Score], latency_ms: float) -> None:
            sent.add(index)
            put(Scored(index, score, latency_ms))

        job = VerifyJob(task.component, task.cases, timeout_s, arrived=send)
        self._pool.run([job])
        for index, result in enumerate(job.results):  # a case that lost its worker does not arrive
            if index not in sent:
                assert result is not None
                put(Scored(index, *result))


def _next(
    answers: queue.SimpleQueue[Scored | Rewarded | Warned | GuerdonError | None],
) -> list[Scored | Rewarded | Warned] | GuerdonError | None:
    """Return the next answer, an empty list if there is none for a while, or ``None`` at the end."""
    try:
        answer = answers.get(timeout=ANSWER_INTERVAL_S)
    except queue.Empty:
        return []
    return answer if answer is None or isinstance(answer, GuerdonError) else [answer]


def _check_version(component: Component) -> None:
    """Check that this node has the driver's version of a plugin.

    Raises:
        UsageError: It has another one.
        PluginNotFoundError: It has none.
    """
    plugin = component.plugin
    use = plugin.qualified_name if plugin.distribution not in ("file", "-") else plugin.target
    here = find_plugin(use, [component.kind], component.base_dir)
    if here.version != plugin.version:
        raise UsageError(
            f"{plugin} has version {here.version} on the Ray node {socket.gethostname()}. Install the same version on "
            "all nodes."
        )
