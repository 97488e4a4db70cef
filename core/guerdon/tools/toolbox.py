"""The tools and environments of a stage, and the sessions of its rollouts."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Literal, Self

from guerdon.data.references import plain_columns
from guerdon.errors import DataError, PluginLoadError, UsageError
from guerdon.plugins.discovery import Kind
from guerdon.plugins.tool_shape import remembers
from guerdon.tools.entries import ToolEntry
from guerdon.tools.processes import ForkServer, Process
from guerdon.tools.protocol import Task
from guerdon.tools.scheduling import SESSION, SHARED, Job, Lane, Scheduler
from guerdon.types import ToolCall

MAX_WORKERS = 16
"""The most processes that share the tools which set no ``max_workers``."""


@dataclass(slots=True)
class Session:
    """One rollout's tools, and what happened to them."""

    row: Mapping[str, Any]
    seed: int
    """The seed of random numbers in its tools and its environment."""
    lane: Lane
    tools: Mapping[str, int]
    """The entry of each tool that the model may call, by name."""
    environment: int | None
    """The entry of its environment."""
    observation: str | None = None
    """The text that the environment adds to the prompt."""
    calls: list[ToolCall] = field(default_factory=list)
    turn: int = 0
    """The number of turns that called tools."""
    broken: str | None = None
    """Why the environment was lost."""
    state: Mapping[str, Any] | None = None
    reward: float | None = None


class Toolbox:
    """Calls tools for many rollouts at a time. Use it as a context manager, or close it.

    Args:
        entries: The tools and environments; the names of the tools of one row must differ.
        seed: The seed from which the sessions' seeds are made.
        workers: How many processes share the tools; by default four for each usable CPU, at most 16.
    """

    def __init__(self, entries: Sequence[ToolEntry], seed: int = 0, workers: int | None = None) -> None:
        self.entries = list(entries)
        self._seed = seed
        self._stubs = [entry.stubs() for entry in entries]
        self._server = ForkServer([entry.component for entry in entries])
        shared = workers or min(MAX_WORKERS, 4 * len(os.sched_getaffinity(0)))
        self._limits: dict[Lane, int] = {SHARED: shared}
        self._lanes: dict[int, Lane] = {}
        for index, entry in enumerate(entries):
            copies = None if entry.is_environment else entry.component.member("max_workers")
            if copies is not None:
                self._lanes[index] = ("tool", index)
                self._limits[self._lanes[index]] = copies
        self._remembering = {
            index
            for index, entry in enumerate(entries)
            if not entry.is_environment and remembers(entry.component.loaded)
        }
        self._scheduler = Scheduler(self._server, self._limits)
        self._numbers = itertools.count()

    @property
    def stubs(self) -> list[Callable[..., Any]]:
        """Return a function for each tool, whose signature and docstring show the tool to the model."""
        return [stub for stubs in self._stubs for stub in stubs.values()]

    def stubs_of(self, session: Session) -> list[Callable[..., Any]]:
        """Return the functions of the tools that a session's model may call."""
        return [self._stubs[index][name] for name, index in session.tools.items()]

    def open(self, rows: Sequence[Mapping[str, Any]], keys: Sequence[Any]) -> list[Session]:
        """Begin rollouts: choose their tools by their rows, and reset their environments.

        Args:
            rows: The data row of each rollout.
            keys: What makes a rollout's seed, such as its step and its position; a resumed run gives the same.

        Raises:
            DataError: A row is offered two environments, or two tools of one name.
            PluginLoadError: A plugin cannot be built.
        """
        sessions = [self._session(row, key) for row, key in zip(rows, keys, strict=True)]
        for session, job in self._of_environments(sessions, "reset"):
            if session.broken is None:
                assert job.answer is not None
                session.observation = job.answer["text"]
        return sessions

    def call(
        self, asked: Sequence[tuple[Session, Sequence[Mapping[str, Any]]]]
    ) -> list[list[dict[str, str]]]:
        """Call tools for one turn of several rollouts, concurrently. Return the tools' messages for each rollout.

        Args:
            asked: Sessions, each with the ``tool_calls`` of the model's message.

        Raises:
            PluginLoadError: A plugin cannot be built.
        """
        planned: list[tuple[Session, list[_Planned]]] = []
        for session, calls in asked:
            planned.append((session, []))
            for call in calls:
                before = planned[-1][1]
                planned[-1][1].append(self._plan(session, call, before))
        self._scheduler.run(one.job for _, calls in planned for one in calls if one.job is not None)
        messages = []
        for session, prepared in planned:
            messages.append([self._settle(session, one) for one in prepared])
            session.turn += 1
        return messages

    def finish(self, sessions: Sequence[Session]) -> None:
        """End rollouts: ask their environments for rewards and states, and free them for other rollouts.

        Raises:
            PluginLoadError: A plugin cannot be built.
        """
        for session, job in self._of_environments([s for s in sessions if s.broken is None], "finish"):
            if session.broken is None:
                assert job.answer is not None
                session.reward, session.state = job.answer["reward"], job.answer["state"]
        for session in sessions:
            process = self._scheduler.take(session.lane)
            if process is None or session.environment is None:
                continue
            if session.broken is None:
                self._scheduler.give(_idle_lane(session.environment), process)
            else:
                process.kill()

    def close(self) -> None:
        """End all processes."""
        self._scheduler.close()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _session(self, row: Mapping[str, Any], key: Any) -> Session:
        columns = plain_columns(row)
        tools: dict[str, int] = {}
        environment = None
        for index, entry in enumerate(self.entries):
            if not entry.applies_to(columns):
                continue
            if entry.is_environment and environment is not None:
                raise DataError(
                    f"a row is offered the environments '{self.entries[environment].name}' and '{entry.name}', and a "
                    "rollout has one. Narrow a 'when'."
                )
            environment = index if entry.is_environment else environment
            if repeated := tools.keys() & self._stubs[index].keys():
                raise DataError(
                    f"a row is offered two tools named '{min(repeated)}'. Give one another 'name', or narrow a 'when'."
                )
            tools |= dict.fromkeys(self._stubs[index], index)
        lane = (SESSION, next(self._numbers))
        seed = _seed_of(self._seed, key)
        return Session(columns, seed, lane, tools, environment)

    def _of_environments(
        self, sessions: Sequence[Session], action: Literal["reset", "finish"]
    ) -> list[tuple[Session, Job]]:
        """Run an action in the sessions' environments. A failure breaks its session."""
        jobs = []
        for session in sessions:
            if session.environment is None:
                continue
            entry = self.entries[session.environment]
            if action == "reset" and (process := self._idle(session.environment)) is not None:
                self._scheduler.give(session.lane, process)
            arguments = session.row if action == "reset" else None
            task = Task(session.environment, action, arguments, None, session.seed, entry.max_output)
            jobs.append((session, Job(session.lane, task, entry.deadline_s)))
        self._scheduler.run(job for _, job in jobs)
        what = "reset()" if action == "reset" else "get_reward() or state()"
        for session, job in jobs:
            assert session.environment is not None
            entry = self.entries[session.environment]
            if job.answer is None:
                session.broken = f"environment '{entry.name}': {_why(job.lost, entry, what)}"
            elif "build_error" in job.answer:
                session.broken = self._unbuilt(entry, job.answer)
            elif "error" in job.answer:
                session.broken = f"environment '{entry.name}': {what} raised: {job.answer['error']}"
        return jobs

    def _idle(self, environment: int) -> Process | None:
        return self._scheduler.take(_idle_lane(environment))

    def _unbuilt(self, entry: ToolEntry, answer: Mapping[str, Any]) -> str:
        """Return the failure of a constructor that something outside stopped.

        Raises:
            PluginLoadError: The plugin itself is at fault.
        """
        reason = f"{entry.component.plugin} cannot be built: {answer['build_error']}"
        if not answer["infrastructure"]:
            raise PluginLoadError(reason)
        return reason

    def _plan(self, session: Session, call: Mapping[str, Any], before: Sequence[_Planned]) -> _Planned:
        function = call.get("function", call)
        function = function if isinstance(function, Mapping) else {}
        name, arguments = str(function.get("name", "")), function.get("arguments")
        index = session.tools.get(name)
        if session.broken is not None or index is None:
            return _Planned(name, arguments, call.get("id"))
        entry = self.entries[index]
        method = name if entry.is_environment else None
        lane = session.lane if entry.is_environment else self._lanes.get(index, SHARED)
        seed = _seed_of(session.seed, len(session.calls) + len(before))
        earlier = None
        if index in self._remembering:
            earlier = [one.arguments for one in session.calls if one.name == name and one.failure is None]
            earlier += [one.arguments for one in before if one.name == name]
        task = Task(index, "call", arguments, method, seed, entry.max_output, earlier)
        return _Planned(name, arguments, call.get("id"), Job(lane, task, entry.deadline_s))

    def _settle(self, session: Session, planned: _Planned) -> dict[str, str]:
        text, failure = self._outcome(session, planned)
        session.calls.append(
            ToolCall(
                name=planned.name,
                arguments=planned.arguments,
                result=text,
                failure=failure,
                turn=session.turn,
                latency_ms=planned.job.latency_ms if planned.job is not None else 0.0,
            )
        )
        message = {"role": "tool", "name": planned.name, "content": text}
        return message if planned.identity is None else {**message, "tool_call_id": planned.identity}

    def _outcome(self, session: Session, planned: _Planned) -> tuple[str, str | None]:
        """Return the text that the model reads, and the failure."""
        job = planned.job
        if session.broken is not None:
            return _error("the environment is broken"), "broken"
        if job is None:
            return _error(f"Tool {planned.name} not found."), "unknown"
        entry = self.entries[job.task.component]
        answer = job.answer
        if answer is None:
            reason = _why(job.lost, entry, f"{planned.name}()")
            if entry.is_environment:
                session.broken = f"environment '{entry.name}': {reason}"
            return _error(reason), job.lost
        if "build_error" in answer:
            reason = self._unbuilt(entry, answer)
            return _error(reason), "error"
        if "error" not in answer:
            return str(answer["text"]), None
        if answer["kind"] == "infrastructure" and entry.is_environment:
            session.broken = f"environment '{entry.name}': {planned.name}() raised: {answer['error']}"
        return _error(answer["error"]), "arguments" if answer["kind"] == "arguments" else "error"


@dataclass(slots=True)
class _Planned:
    """A call of the model, and the job that makes it; without one, the call cannot be made."""

    name: str
    arguments: Any
    identity: Any
    job: Job | None = None


def _seed_of(*parts: Any) -> int:
    return Random(repr(parts)).getrandbits(60)


def _idle_lane(environment: int) -> Lane:
    return "idle", environment


def _error(text: str) -> str:
    """Return the text of a failed call, as TRL writes it."""
    return str({"error": text})


def _why(lost: str | None, entry: ToolEntry, what: str) -> str:
    if lost == "timeout":
        return f"{what} gave no answer within {entry.deadline_s:g} s"
    return f"{what} ended its process"


def check_names(entries: Sequence[ToolEntry]) -> None:
    """Check that two entries that are offered to the same rows have no tool of one name.

    Raises:
        UsageError: Two have one.
    """
    always = [entry for entry in entries if not entry.when]
    counted = Counter(name for entry in always for name in entry.stubs())
    for name, count in counted.items():
        if count > 1:
            raise UsageError(f"two tools are named '{name}'. Give one another 'name'.")
    environments = [entry.name for entry in always if entry.component.kind is Kind.ENVIRONMENT]
    if len(environments) > 1:
        raise UsageError(
            f"the environments {', '.join(environments)} are offered to every row, and a rollout has one. "
            "Give each a 'when'."
        )
