"""The conformance kits for tools and environments."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

from guerdon.plugins.contracts import wrong_members, wrong_shape
from guerdon.plugins.discovery import Kind
from guerdon.testing.base import Conformance, broken
from guerdon.testing.cases import HOSTILE
from guerdon.tools import Session, Toolbox, ToolEntry
from guerdon.types import ToolCall

Call = tuple[str, Mapping[str, Any]]
"""A tool's name, and the arguments."""

_HOSTILE_VALUES: Sequence[Any] = [
    *HOSTILE.values(),
    None,
    True,
    -1,
    10**30,
    1e308,
    [],
    {},
    [[[]]],
    {"a": {"b": None}},
]


class _ToolKit(Conformance):
    """Checks of tools and environments alike."""

    row: ClassVar[Mapping[str, Any]] = {}
    """The data row of the rollouts."""
    timeout_s: ClassVar[float] = 10.0
    """Seconds for one call."""

    def test_shape(self) -> None:
        """The model can read every tool: a docstring, type hints, and a line for each parameter."""
        component = self.component()
        shape = wrong_shape(component.kind, component.loaded)
        problems = [shape] if shape else wrong_members(component.kind, component.loaded)
        if problems:
            raise broken(
                f"it {problems[0]}",
                why="the chat template shows the model a JSON schema, which is made from hints and docstring.",
                fix="write the docstring in Google's style, with 'Args:'.",
            )

    @classmethod
    def entry(cls, timeout_s: float | None = None) -> ToolEntry:
        """Return the plugin as a manifest's entry."""
        component = cls.component()
        return ToolEntry(component.plugin.name, component, timeout_s=timeout_s or cls.timeout_s)

    @classmethod
    def name(cls) -> str:
        return cls.component().plugin.name

    @classmethod
    def played(
        cls, toolbox: Toolbox, *episodes: Sequence[Call], seeds: Sequence[int] | None = None
    ) -> list[Session]:
        """Play episodes side by side, one call of each at a time, and return their sessions."""
        sessions = toolbox.open([cls.row] * len(episodes), seeds or [0] * len(episodes))
        for number in range(max(map(len, episodes), default=0)):
            asked = [
                (session, [_written(*episode[number])])
                for session, episode in zip(sessions, episodes, strict=True)
                if number < len(episode)
            ]
            toolbox.call(asked)
        toolbox.finish(sessions)
        return sessions

    @classmethod
    def hostile_calls(cls) -> list[Call]:
        """Return calls with hostile values of each argument."""
        calls: list[Call] = []
        for name, stub in cls.entry().stubs().items():
            parameters = list(stub.__signature__.parameters)  # type: ignore[attr-defined]
            calls += [(name, dict.fromkeys(parameters, value)) for value in _HOSTILE_VALUES]
            calls.append((name, {"no_such_argument": 1}))
        return calls

    @classmethod
    def measure(cls, sessions: Sequence[Session], seconds: float) -> None:
        count = sum(len(session.calls) for session in sessions)
        cls.throughput = f"{cls.plugin}: {count / seconds:,.0f} calls/s"


class ToolConformance(_ToolKit):
    """Checks of the engine's requirements of a tool.

    ```python
    from guerdon.testing import ToolConformance


    class TestWeather(ToolConformance):
        plugin = "weather"
        calls = (({"city": "Rome"}, "sunny"), ({"city": "Oslo"}, "rain"))
    ```
    """

    kinds = (Kind.TOOL,)
    calls: ClassVar[Sequence[tuple[Mapping[str, Any], str]]] = ()
    """Arguments, each with the text that the model must read."""
    repeatable: ClassVar[bool] = True
    """Whether the same arguments give the same text. ``False`` for a tool that asks the world."""

    def test_calls(self) -> None:
        """The calls of the kit give their results."""
        if not self.calls:
            raise SkipTest("the kit names no calls")
        started = time.perf_counter()
        with Toolbox([self.entry()]) as toolbox:
            sessions = self.played(toolbox, [(self.name(), arguments) for arguments, _ in self.calls])
            self.measure(sessions, time.perf_counter() - started)
        for (arguments, expected), call in zip(self.calls, sessions[0].calls, strict=True):
            if call.result != expected:
                raise broken(
                    f"for {arguments!r:.80} the model reads {call.result!r:.80}, not {expected!r:.80}.",
                    why="these are the results that you promise.",
                    fix="correct the tool, or the kit's calls.",
                )

    def test_repeatable(self) -> None:
        """The same arguments give the same text, in any order and in another process."""
        if not self.repeatable or not self.calls:
            raise SkipTest("repeatable is False" if not self.repeatable else "the kit names no calls")
        calls = [(self.name(), arguments) for arguments, _ in self.calls]
        with Toolbox([self.entry()]) as toolbox, Toolbox([self.entry()]) as other:
            first = self.played(toolbox, calls)[0].calls
            again = self.played(toolbox, calls)[0].calls
            elsewhere = self.played(other, calls[::-1], seeds=[1])[0].calls[::-1]
        for where, calls_again in (("again", again), ("in another process and order", elsewhere)):
            _compare(first, calls_again, where)

    def test_hostile_arguments(self) -> None:
        """Any arguments get a text in time. No argument ends the process."""
        with Toolbox([self.entry()]) as toolbox:
            sessions = self.played(toolbox, *([call] for call in self.hostile_calls()))
        for call in (call for session in sessions for call in session.calls):
            if call.failure in ("timeout", "crash"):
                raise broken(
                    f"for {call.arguments!r:.80} it ends in a {call.failure}.",
                    why="a model writes any arguments, and each loss costs a process and the deadline's seconds.",
                    fix="check the arguments, bound the work, and raise an error with a text for the model.",
                )


_NO_EPISODE = "no call was tried: give the kit's 'episode' and 'reward' in a test file"
_GIVE_A_ROW = "give a row that has them, as the kit's 'row', or as the one line of --cases FILE"


class EnvironmentConformance(_ToolKit):
    """Checks of the engine's requirements of an environment.

    ```python
    from guerdon.testing import EnvironmentConformance


    class TestMaze(EnvironmentConformance):
        plugin = "maze"
        row = {"size": 3}
        episode = (("move", {"direction": "north"}), ("look", {}))
        reward = 1.0
    ```
    """

    kinds = (Kind.ENVIRONMENT,)
    episode: ClassVar[Sequence[Call]] = ()
    """Calls, in order, by method and arguments."""
    reward: ClassVar[float | None] = None
    """The value of ``get_reward`` after the episode; ``None`` if it is not checked."""

    @classmethod
    def played(
        cls, toolbox: Toolbox, *episodes: Sequence[Call], seeds: Sequence[int] | None = None
    ) -> list[Session]:
        """Play episodes as other kits do.

        Raises:
            SkipTest: The kit's row lacks a column that ``reset`` needs, or ``reset`` takes any columns, and fails
                without a row.
        """
        parameters = list(inspect.signature(cls.component().loaded.reset).parameters.values())[1:]
        lacking = [
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.name not in cls.row
        ]
        if lacking:
            raise SkipTest(f"reset() needs the columns {', '.join(map(repr, lacking))}: {_GIVE_A_ROW}")
        sessions = super().played(toolbox, *episodes, seeds=seeds)
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        if takes_any and not cls.row and all(session.broken is not None for session in sessions):
            raise SkipTest(f"without a row, {str(sessions[0].broken).rstrip('.')}: {_GIVE_A_ROW}")
        return sessions

    def test_episode(self) -> None:
        """An episode runs from reset to its end: nothing breaks, and the reward is as expected."""
        started = time.perf_counter()
        with Toolbox([self.entry()]) as toolbox:
            sessions = self.played(toolbox, self.episode)
            self.measure(sessions, time.perf_counter() - started)
        (session,) = sessions
        if session.broken is not None:
            raise broken(
                session.broken,
                why="a broken environment makes every score of its rollout fail.",
                fix="raise only errors that the model may read, from the tools; return JSON from state().",
            )
        self._need_episode()
        if self.reward is not None and session.reward != self.reward:
            raise broken(
                f"its reward after the episode is {session.reward}, not {self.reward}.",
                why="this is the reward that you promise.",
                fix="correct get_reward(), or the kit's episode.",
            )

    def test_reset_clears(self) -> None:
        """After a reset, an instance is as new: the same episode gives the same again."""
        with Toolbox([self.entry()]) as toolbox:
            first = self.played(toolbox, self.episode)[0]
            again = self.played(toolbox, self.episode)[0]
        _compare_sessions(first, again, "after a reset of the same instance")
        self._need_episode()

    def test_isolated(self) -> None:
        """Two instances do not disturb each other."""
        with Toolbox([self.entry()]) as toolbox:
            alone = self.played(toolbox, self.episode)[0]
            for session in self.played(toolbox, self.episode, self.episode, seeds=[0, 0]):
                _compare_sessions(alone, session, "next to another instance")
        self._need_episode()

    def test_seeded(self) -> None:
        """The same seed gives the same episode in another process."""
        with Toolbox([self.entry()]) as toolbox, Toolbox([self.entry()]) as other:
            first = self.played(toolbox, self.episode, seeds=[7])[0]
            again = self.played(other, self.episode, seeds=[7])[0]
        _compare_sessions(first, again, "in another process")
        self._need_episode()

    def _need_episode(self) -> None:
        """Skip a check that found no fault and made no call, because it shows too little to pass."""
        if not self.episode:
            raise SkipTest(f"reset() works, and {_NO_EPISODE}")

    def test_hostile_calls(self) -> None:
        """Any arguments of any method get a text in time, and break nothing."""
        with Toolbox([self.entry()]) as toolbox:
            calls = self.hostile_calls()
            sessions = self.played(toolbox, *([call] for call in calls))
        for call, session in zip(calls, sessions, strict=True):
            if session.broken is not None:
                raise broken(
                    f"after {call[0]}({call[1]!r:.80}): {str(session.broken).rstrip('.')}.",
                    why="a model writes any arguments, and would escape a bad reward by breaking its environment.",
                    fix="check the arguments, bound the work, and raise an error with a text for the model.",
                )


def _written(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": dict(arguments)}}


def _compare(first: Sequence[ToolCall], again: Sequence[ToolCall], where: str) -> None:
    for before, now in zip(first, again, strict=True):
        if (before.result, before.failure) != (now.result, now.failure):
            raise broken(
                f"{before.name}({before.arguments!r:.60}) gives {before.result!r:.60}, and {where} {now.result!r:.60}.",
                why="a resumed run must find the same, and rollouts of a group must not change each other's.",
                fix="keep no state between calls, and draw with Python's random numbers, which are seeded.",
            )


def _compare_sessions(first: Session, again: Session, where: str) -> None:
    _compare(first.calls, again.calls, where)
    for what, before, now in (
        ("observation", first.observation, again.observation),
        ("reward", first.reward, again.reward),
        ("state", first.state, again.state),
    ):
        if before != now:
            raise broken(
                f"its {what} is {before!r:.60}, and {where} {now!r:.60}.",
                why="instances are reused, and a rollout must not depend on the one before it or next to it.",
                fix="set everything in reset(), keep nothing on the class or the module, and no times in the state.",
            )
