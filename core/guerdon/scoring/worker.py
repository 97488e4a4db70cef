"""The worker process: builds components and judges cases, one task at a time.

Started as ``python -m guerdon.scoring.worker SOCKET_FD LIFELINE_FD``. All plugin code runs here: the engine kills the
process at the deadline and starts another. Output that plugins print is discarded; warnings that they log reach the
user.
"""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import logging
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from functools import partial
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, TypeVar

from guerdon.data.json_values import to_json
from guerdon.deadline import Deadline
from guerdon.errors import GuerdonError, PluginContractError, one_line
from guerdon.plugins.columns import CallColumns, group_arguments
from guerdon.plugins.contracts import SETUP_TIMEOUT_S
from guerdon.plugins.signatures import is_async
from guerdon.scoring.convert import to_failure, to_score, to_scores
from guerdon.scoring.protocol import (
    MAX_CONCURRENT_CALLS,
    BuildFailed,
    Built,
    GroupItem,
    Hello,
    Item,
    Rewarded,
    RewardTask,
    Scored,
    SettingUp,
    VerifyTask,
    Waiting,
)
from guerdon.scoring.worker_process import OwnConnection, Warnings
from guerdon.types import Failure, Score


def main() -> None:
    connection = OwnConnection(int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    silence()
    logging.getLogger().addHandler(Warnings(connection.send))
    hello = connection.recv()
    assert isinstance(hello, Hello)
    sys.path[:] = hello.sys_path
    worker = _Worker(hello, connection)
    while (task := _receive(connection)) is not None:
        worker.do(task)
    worker.close()


def _receive(connection: Connection) -> VerifyTask | RewardTask | None:
    try:
        task: VerifyTask | RewardTask | None = connection.recv()
    except (EOFError, ConnectionError):
        return None
    return task


def die_with_parent(lifeline: int) -> None:
    """Make the kernel kill this process when the engine's end of the lifeline closes, even after kill -9.

    A waiting thread could not do this while a plugin holds the interpreter's lock.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def silence() -> None:
    """Discard the output of plugins, and leave Ctrl-C to the engine."""
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(devnull, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine handles Ctrl-C and closes the socket


_SIGN_S = 2.0
"""The interval in seconds at which the worker reports that it is alive while cases wait."""


T = TypeVar("T")


class _Worker:
    def __init__(self, hello: Hello, connection: Connection) -> None:
        self._components = hello.components
        self._connection = connection
        self._runner: Any = None
        self._built: dict[int, tuple[Callable[..., Any], CallColumns]] = {}

    def do(self, task: VerifyTask | RewardTask) -> None:
        try:
            built, columns = self._build(task.component)
        except Exception as error:  # a plugin's constructor may raise anything
            self._connection.send(
                BuildFailed(_own_error(error, str(self._components[task.component].plugin)))
            )
            return
        concurrent = isinstance(task, VerifyTask) and is_async(built)
        self._connection.send(Built(concurrent))
        if isinstance(task, RewardTask):
            self._connection.send(self._reward(built, columns, task))
        elif concurrent:
            self._run(self._verify_concurrently(built, columns, task))
        else:
            for index, case in enumerate(task.cases):
                started = time.perf_counter()
                score = self._verify(_call(built, columns, case), case)
                self._connection.send(Scored(index, score, _ms_since(started)))

    def close(self) -> None:
        """Let components release resources outside this process, such as containers and clients."""
        for index, (built, _) in self._built.items():
            if (close := self._components[index].member("aclose", of=built)) is not None:
                self._run(close())
        if self._runner is not None:
            self._runner.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the process's one event loop."""
        if self._runner is None:
            import asyncio  # late: most workers need no loop, and it is a fourth of their start

            self._runner = asyncio.Runner()
        result: T = self._runner.run(coroutine)
        return result

    def _build(self, index: int) -> tuple[Callable[..., Any], CallColumns]:
        if index not in self._built:
            component = self._components[index]
            built = component.build()
            if not callable(built):
                raise PluginContractError(
                    f"{component.plugin} gives a {type(built).__name__}, which cannot be called"
                )
            if component.member("setup", of=built) is not None:
                timeout_s = component.member("setup_timeout_s", SETUP_TIMEOUT_S, of=built)
                self._connection.send(SettingUp(float(timeout_s)))
                component.set_up(built, self._run)
            self._built[index] = built, CallColumns.of_built(component, built)
        return self._built[index]

    def _verify(self, call: Callable[[], Any], case: Item | GroupItem) -> Score | list[Score]:
        try:
            return _converted(call(), case)
        except BaseException as error:  # the plugin may raise SystemExit and KeyboardInterrupt
            return to_failure(error)

    async def _verify_concurrently(
        self, built: Callable[..., Any], columns: CallColumns, task: VerifyTask
    ) -> None:
        import asyncio

        slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        under_way: set[Deadline] = set()

        async def verify(index: int) -> None:
            case = task.cases[index]
            async with slots:
                started = time.perf_counter()
                score: Score | list[Score]
                deadline = Deadline(task.timeout_s)
                under_way.add(deadline)
                try:
                    async with deadline:
                        score = _converted(await _call(built, columns, case)(), case)
                except BaseException as error:  # the plugin may raise SystemExit and CancelledError
                    score = to_failure(error)
                    if deadline.expired:  # before that, the TimeoutError is the plugin's own
                        score = Score.failed(Failure.TIMEOUT, f"no verdict within {task.timeout_s:g} s")
                under_way.discard(deadline)
                self._connection.send(Scored(index, score, _ms_since(started)))

        signs = asyncio.create_task(self._give_signs(under_way))
        await asyncio.gather(*(verify(index) for index in range(len(task.cases))))
        signs.cancel()

    async def _give_signs(self, under_way: set[Deadline]) -> None:
        """Report regularly that cases wait, because the engine would take silence for a hang."""
        import asyncio

        while True:
            await asyncio.sleep(_SIGN_S)
            if any(deadline.paused for deadline in under_way):
                self._connection.send(Waiting())

    def _reward(self, built: Callable[..., Any], columns: CallColumns, task: RewardTask) -> Rewarded:
        metrics: defaultdict[str, list[float]] = defaultdict(list)
        extra: defaultdict[str, list[Any]] = defaultdict(list)
        whole: dict[str, Any] = {}
        started = time.perf_counter()
        arguments = {
            "prompts": task.prompts,
            "completions": task.completions,
            "completion_ids": task.completion_ids,
            "trainer_state": SimpleNamespace(global_step=task.step),
            "log_metric": lambda name, value: metrics[name].append(float(value)),
            "log_extra": lambda column, values: extra[column].extend(values),
            **columns.pick(task.columns),
        }
        if task.environments is not None:  # TRL's rewards read attributes of the environments
            arguments["environments"] = [SimpleNamespace(**state) for state in task.environments]
        if not columns.takes_all:
            accepted = inspect.signature(built).parameters
            arguments = {name: value for name, value in arguments.items() if name in accepted}
        try:
            returned = built(**arguments)
            if inspect.isawaitable(returned):
                returned = self._run(_await(returned))
            scores = to_scores(returned, len(task.completions))
            whole = to_json({name: values for name, values in extra.items() if len(values) == len(scores)})
        except BaseException as error:
            scores = [to_failure(error)] * len(task.completions)
        means = {name: sum(values) / len(values) for name, values in metrics.items()}
        return Rewarded(scores, _ms_since(started), means, whole)


def _call(built: Callable[..., Any], columns: CallColumns, case: Item | GroupItem) -> Callable[[], Any]:
    """Return the call of a verifier or a group reward on a case."""
    picked = columns.pick(case.columns)
    if isinstance(case, Item):
        return partial(built, case.completion, **picked)
    asked = group_arguments(
        built, completion_ids=[list(ids) for ids in case.completion_ids], met=list(case.met)
    )
    return partial(built, list(case.completions), **asked, **picked)


def _converted(returned: Any, case: Item | GroupItem) -> Score | list[Score]:
    if isinstance(case, Item):
        return to_score(returned)
    return to_scores(returned, len(case.completions))


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _own_error(error: Exception, plugin: str) -> Exception:
    """Return the error if the engine can unpickle it, else an error of guerdon with the same text."""
    if isinstance(error, GuerdonError):
        return error
    return PluginContractError(f"{plugin} cannot be built: {type(error).__name__}: {one_line(error)}")


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the engine stopped while an answer was being sent
        main()
