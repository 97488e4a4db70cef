"""Workers on all nodes of a Ray cluster. Requires the extra ``ray``; nothing else imports Ray.

Each actor holds a local :class:`~guerdon.scoring.pool.WorkerPool` with one worker process. The actor enforces deadlines
on its own machine, by SIGKILL, as the local pool does: plugin code never runs in the actor itself. Scores, failures and
their order are thus those of the local pool.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from guerdon.errors import GuerdonError, InfrastructureError, UsageError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.scoring.pool import Job, RewardJob, VerifyJob, WorkerPool
from guerdon.scoring.protocol import Rewarded, RewardTask, Scored, VerifyTask
from guerdon.types import Failure, Score

__all__ = ["RayPool"]

_Answer: TypeAlias = "Sequence[Scored | Rewarded] | GuerdonError"
"""What an actor sends: verdicts of the current task, or why it cannot run it."""

START_TIMEOUT_S = 120.0
"""Seconds for the first worker of the cluster to start."""

CONNECT_TIMEOUT_S = 10.0
"""Seconds for the cluster's address to accept a connection."""

MAX_LOSSES = 3
"""How many actors a task may lose before its remaining cases fail. A plugin's fault kills a worker, never an actor."""

QUEUED_TASKS = 2
"""Tasks that an actor has at a time. The second one hides the time that the first one's answer travels."""

ANSWER_INTERVAL_S = 0.2
"""The interval in seconds at which an actor sends the verdicts of a long task."""


class RayPool:
    """Workers on a Ray cluster for the components of one rubric. Usable from any thread; jobs take turns.

    A lost node costs no verdict: its unfinished cases are judged on other nodes. Nodes that join are used from the next
    batch on. The actors reserve no CPUs of Ray's, so that several rubrics and the processes of a launch never wait for
    each other.

    Args:
        components: The components that the workers can run; jobs refer to them by index.
        address: ``auto``, or the cluster's address, as :func:`ray.init` takes it.
        workers: How many workers share the sync verifiers; by default one for each CPU of the cluster, divided by the
            number of processes of the launch.

    Raises:
        InfrastructureError: There is no cluster at the address.
    """

    def __init__(self, components: Sequence[Component], address: str, workers: int | None = None) -> None:
        _connect(address)
        self._components = list(components)
        self._limits = {
            index: component.member("max_workers")
            for index, component in enumerate(components)
            if component.kind in (Kind.VERIFIER, Kind.GROUP_REWARD)
        }
        self._wanted = workers
        self._actors: dict[int | None, list[_Actor]] = {}
        self._failed_starts = 0
        self._lock = threading.Lock()
        self._closed = False

    @property
    def shared_workers(self) -> int:
        """Return how many workers share the sync verifiers."""
        return self._wanted or sum(_shared_of(node) for node in _nodes())

    def lane_workers(self, component: int) -> int:
        """Return how many workers a dedicated component has: its own limit, else one on each node."""
        if component not in self._limits:
            return 1
        limit: int | None = self._limits[component]
        return limit if limit is not None else len(_nodes())

    def run(self, jobs: Iterable[Job]) -> None:
        """Run the jobs. Afterwards each job holds all its results.

        Raises:
            PluginLoadError, ParamsError, PluginContractError: A component cannot be built.
            InfrastructureError: The cluster gives no worker.
        """
        with self._lock:
            if self._closed:
                raise ValueError("the worker pool is closed")
            lanes: dict[int | None, deque[_Task]] = {}
            for job in jobs:
                lanes.setdefault(job.component if job.dedicated else None, deque()).append(_Task(job))
            if not lanes:
                return
            self._start_actors(lanes)
            try:
                while any(lanes.values()) or any(actor.tasks for actor in self._all_actors()):
                    self._hand_out(lanes)
                    self._take_in(lanes)
            except BaseException:
                self._kill_actors()  # their remaining tasks are useless
                raise

    def close(self) -> None:
        """Stop the workers. Those with external resources release them first."""
        with self._lock:
            self._closed = True
            closing = [actor.handle.close.remote() for actor in self._all_actors() if actor.ready]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=15)
            self._kill_actors()

    def _all_actors(self) -> Iterator[_Actor]:
        return (actor for actors in self._actors.values() for actor in actors)

    def _kill_actors(self) -> None:
        for actor in self._all_actors():
            ray.kill(actor.handle)
        self._actors.clear()

    def _start_actors(self, lanes: Iterable[int | None]) -> None:
        """Start the actors that are missing: on new nodes, and instead of lost ones."""
        nodes = _nodes()
        alive = {node["NodeID"] for node in nodes}
        for lane in lanes:
            # A lost actor with tasks is kept until its error arrives, which puts the tasks back.
            actors = [actor for actor in self._actors.get(lane, []) if actor.node in alive or actor.tasks]
            self._actors[lane] = actors
            places = (
                [node["NodeID"] for node in nodes for _ in range(_shared_of(node))]
                if lane is None
                else [node["NodeID"] for node in nodes]
            )
            wanted = self.shared_workers if lane is None else self.lane_workers(lane)
            for number in range(wanted):
                place = places[number % len(places)]
                share = sum(places[other % len(places)] == place for other in range(wanted))
                if sum(actor.node == place for actor in actors) < share:
                    actors.append(_Actor.start(place, self._components))

    def _hand_out(self, lanes: dict[int | None, deque[_Task]]) -> None:
        for lane, tasks in lanes.items():
            for actor in sorted(self._actors[lane], key=lambda one: len(one.tasks)):
                if tasks and actor.ready and len(actor.tasks) < (QUEUED_TASKS if lane is None else 1):
                    actor.send(tasks.popleft())

    def _take_in(self, lanes: dict[int | None, deque[_Task]]) -> None:
        """Wait for an answer or a started actor, and receive it."""
        waiting = {actor.awaited: (lane, actor) for lane in lanes for actor in self._actors[lane]}
        # An actor that is ready and has no task awaits nothing.
        waiting.pop(None, None)
        if not waiting:
            raise InfrastructureError(
                "the Ray cluster has no node with CPUs left. Look at `ray status`, then run the command again."
            )
        started = any(actor.ready for actor in self._all_actors())
        ready, _ = ray.wait(list(waiting), timeout=None if started else START_TIMEOUT_S, fetch_local=False)
        if not ready:
            raise InfrastructureError(
                f"no worker started on the Ray cluster within {START_TIMEOUT_S:g} s. Look at `ray status`: guerdon "
                "must be installed on its nodes, in the same version."
            )
        lane, actor = waiting[ready[0]]
        try:
            actor.receive()
        except ray.exceptions.RayError as error:
            self._lost(lane, actor, lanes, error)

    def _lost(
        self,
        lane: int | None,
        actor: _Actor,
        lanes: dict[int | None, deque[_Task]],
        error: ray.exceptions.RayError,
    ) -> None:
        """Put the tasks of a lost actor back, and start another one."""
        self._actors[lane].remove(actor)
        ray.kill(actor.handle)  # it may live, and be out of reach for a moment
        self._failed_starts = 0 if actor.ready else self._failed_starts + 1
        if self._failed_starts > MAX_LOSSES:
            raise InfrastructureError(f"workers on the Ray cluster do not start: {_reason(error)}") from None
        for task in reversed(actor.tasks):
            task.lose(_reason(error))
            if not task.job.done:
                lanes[lane].appendleft(task)
        self._start_actors(lanes)


@dataclass(slots=True)
class _Task:
    """A job, and how many actors it has lost."""

    job: Job
    losses: int = 0

    def lose(self, reason: str) -> None:
        if self.job.done:  # all its verdicts arrived before the actor said that it has no more
            return
        self.losses += 1
        self.job.interrupt()
        if self.losses >= MAX_LOSSES:
            score = Score.failed(Failure.INFRASTRUCTURE, f"{self.losses} nodes were lost: {reason}")
            while not self.job.done:
                self.job.lose(score, 0.0, concurrent=False)


class _Actor:
    """The pool's side of one actor."""

    def __init__(self, node: str, handle: Any) -> None:
        self.node = node
        self.handle = handle
        self.ready = False
        self.tasks: deque[_Task] = deque()
        self._answers: deque[ray.ObjectRefGenerator] = deque()
        self._started: ray.ObjectRef[GuerdonError | None] | None = handle.start.remote()

    @classmethod
    def start(cls, node: str, components: Sequence[Component]) -> _Actor:
        options = {
            "num_cpus": 0,
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        handle = (
            ray.remote(_RemoteWorker).options(**options).remote(str(Path.cwd()), list(sys.path), components)
        )
        return cls(node, handle)

    @property
    def awaited(self) -> Any:
        """Return what `ray.wait` takes: the actor's start, its next answer, or ``None``."""
        if self._started is not None:
            return self._started
        return self._answers[0] if self._answers else None

    def send(self, task: _Task) -> None:
        self.tasks.append(task)
        self._answers.append(self.handle.run.remote(task.job.task(), task.job.timeout_s))

    def receive(self) -> None:
        """Receive what is awaited.

        Raises:
            RayError: The actor is lost.
            GuerdonError: The node cannot run a component.
        """
        if self._started is not None:
            refusal = ray.get(self._started)
            if refusal is not None:
                raise refusal
            self._started, self.ready = None, True
            return
        try:
            answer: _Answer = ray.get(next(self._answers[0]))
        except StopIteration:
            self._answers.popleft()
            self.tasks.popleft()
            return
        if isinstance(answer, GuerdonError):
            raise answer
        for message in answer:
            self.tasks[0].job.receive(message)


class _RemoteWorker:
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

    def run(self, task: VerifyTask | RewardTask, timeout_s: float) -> Iterator[_Answer]:
        """Run a task. Yield its verdicts as they arrive, or the error of a component that cannot be built."""
        answers: queue.SimpleQueue[Scored | Rewarded | GuerdonError | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, args=(task, timeout_s, answers.put), daemon=True).start()
        batch: list[Scored | Rewarded] = []
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
        put: Callable[[Scored | Rewarded | GuerdonError | None], None],
    ) -> None:
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
    answers: queue.SimpleQueue[Scored | Rewarded | GuerdonError | None],
) -> list[Scored | Rewarded] | GuerdonError | None:
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


def _connect(address: str) -> None:
    """Connect to a cluster, if this process is not connected already.

    Raises:
        UsageError: The address is that of Ray's client server, behind which nodes cannot be chosen.
        InfrastructureError: There is no cluster at the address.
    """
    if ray.is_initialized():
        return
    if "://" in address:
        raise UsageError(
            f"the Ray address '{address}' has a scheme. Write auto, or HOST:PORT as `ray start` prints it."
        )
    try:
        if address != "auto":  # Ray itself waits for minutes for an address where nothing listens
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        ray.init(address=address, namespace="guerdon", log_to_driver=False, logging_level=logging.WARNING)
    except (ValueError, RuntimeError, OSError, OverflowError) as error:
        none_found = address == "auto" and isinstance(error, ConnectionError)
        # Ray's own reason names an option that guerdon does not have.
        reason = "this machine is in none" if none_found else _reason(error).rstrip(".")
        raise InfrastructureError(
            f"there is no Ray cluster at '{address}': {reason}. Start one with `ray start --head`, or name its address."
        ) from None


def _nodes() -> list[dict[str, Any]]:
    """Return the cluster's living nodes that have CPUs."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _shared_of(node: dict[str, Any]) -> int:
    """Return how many shared workers of this process a node gets."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return max(1, int(node["Resources"]["CPU"]) // processes)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
