"""Workers on all nodes of a Ray cluster. Requires the extra ``ray``; nothing else imports Ray.

Each actor holds a local :class:`~guerdon.scoring.pool.WorkerPool` with one worker process. The actor enforces deadlines
on its own machine, by SIGKILL, as the local pool does: plugin code never runs in the actor itself. So scores, failures
and their order are those of the local pool.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from guerdon.errors import GuerdonError, InfrastructureError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.scoring.jobs import Job
from guerdon.scoring.protocol import Warned
from guerdon.scoring.ray_address import check_address, no_cluster
from guerdon.scoring.ray_worker import Answer, RemoteWorker
from guerdon.types import Failure, Score

logger = logging.getLogger(__name__)

__all__ = ["RayPool"]

_ACTOR_CLASS: Any = ray.remote(RemoteWorker)
"""Made once: each call makes another class, which Ray keeps as long as this process runs."""

START_TIMEOUT_S = 120.0
"""Seconds for the first worker of the cluster to start."""

MAX_LOSSES = 3
"""How many actors a task may lose before its remaining cases fail. A plugin's fault kills a worker, never an actor."""

QUEUED_TASKS = 2
"""Tasks that an actor has at a time. The second one hides the time that the first one's answer travels."""


class RayPool:
    """Workers on a Ray cluster for the components of one rubric. Usable from any thread; jobs take turns.

    A lost node costs no verdict: its unfinished cases are judged on other nodes. Nodes that join are used from the next
    batch on. The actors reserve no CPUs of Ray's, so that several rubrics and the processes of a launch never wait for
    each other.

    Args:
        components: The components that the workers can run; jobs refer to them by index.
        address: ``auto``, or the cluster's address, as :func:`ray.init` takes it.
        workers: How many workers of the cluster share the sync verifiers; by default one for each CPU.
        pools: How many pools use the cluster for one launch. Each has an equal part of the workers, at least one.

    Raises:
        InfrastructureError: There is no cluster at the address.
    """

    def __init__(
        self, components: Sequence[Component], address: str, workers: int | None = None, pools: int = 1
    ) -> None:
        _connect(address)
        self._components = list(components)
        self._limits = {
            index: component.member("max_workers")
            for index, component in enumerate(components)
            if component.kind in (Kind.VERIFIER, Kind.GROUP_REWARD)
        }
        self._wanted = workers
        self._pools = pools
        self._actors: dict[int | None, list[_Actor]] = {}
        self._failed_starts = 0
        self._lock = threading.Lock()
        self._closed = False

    @property
    def shared_workers(self) -> int:
        """Return how many workers share the sync verifiers."""
        if self._wanted is not None:
            return max(1, self._wanted // self._pools)
        return sum(self._shared_of(node) for node in _nodes())

    def _shared_of(self, node: dict[str, Any]) -> int:
        """Return how many shared workers of this pool a node gets."""
        return max(1, int(node["Resources"]["CPU"]) // self._pools)

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
            self._check_open()
            lanes: dict[int | None, deque[_Task]] = {}
            for job in jobs:
                lanes.setdefault(job.component if job.dedicated else None, deque()).append(_Task(job))
            if not lanes:
                return
            self._start_actors(lanes)
            try:
                while any(lanes.values()) or any(actor.tasks for actor in self._all_actors()):
                    self._send_jobs(lanes)
                    self._receive(lanes)
                    self._check_open()
            except BaseException:
                self._kill_actors()  # their remaining tasks are useless
                raise

    def close(self) -> None:
        """Stop the workers. Those with external resources release them first."""
        self._closed = True
        with self._lock:
            closing = [actor.handle.close.remote() for actor in self._all_actors() if actor.ready]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=15)
            self._kill_actors()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the worker pool is closed")

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
                [node["NodeID"] for node in nodes for _ in range(self._shared_of(node))]
                if lane is None
                else [node["NodeID"] for node in nodes]
            )
            wanted = self.shared_workers if lane is None else self.lane_workers(lane)
            for number in range(wanted):
                place = places[number % len(places)]
                share = sum(places[other % len(places)] == place for other in range(wanted))
                if sum(actor.node == place for actor in actors) < share:
                    actors.append(_Actor.start(place, self._components))

    def _send_jobs(self, lanes: dict[int | None, deque[_Task]]) -> None:
        for lane, tasks in lanes.items():
            for actor in sorted(self._actors[lane], key=lambda one: len(one.tasks)):
                if tasks and actor.ready and len(actor.tasks) < (QUEUED_TASKS if lane is None else 1):
                    actor.send(tasks.popleft())

    def _receive(self, lanes: dict[int | None, deque[_Task]]) -> None:
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
        handle = _ACTOR_CLASS.options(**options).remote(str(Path.cwd()), list(sys.path), components)
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
            answer: Answer = ray.get(next(self._answers[0]))
        except StopIteration:
            self._answers.popleft()
            self.tasks.popleft()
            return
        if isinstance(answer, GuerdonError):
            raise answer
        for message in answer:
            if isinstance(message, Warned):
                logger.warning("%s", message.text)
            else:
                self.tasks[0].job.receive(message)


def _connect(address: str) -> None:
    """Connect to a cluster, if this process is not connected already.

    Raises:
        UsageError: The address has another form, such as that of Ray's client server, behind which nodes cannot be
            chosen.
        InfrastructureError: There is no cluster at the address.
    """
    if ray.is_initialized():
        return
    check_address(address)
    try:
        ray.init(address=address, namespace="guerdon", log_to_driver=False, logging_level=logging.WARNING)
    except (ValueError, RuntimeError, OSError, OverflowError) as error:
        none_found = address == "auto" and isinstance(error, ConnectionError)
        # Ray's own reason names an option that guerdon does not have.
        raise no_cluster(address, "this machine is in none" if none_found else _reason(error)) from None


def _nodes() -> list[dict[str, Any]]:
    """Return the cluster's living nodes that have CPUs."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
