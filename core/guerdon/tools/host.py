"""A process that runs tools and at most one instance of each environment, one task after the other."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import pydantic  # noqa: F401  # reads the params of components; once, before the server forks

from guerdon.data.json_values import to_json, to_number
from guerdon.errors import GuerdonError, InfrastructureError, one_line
from guerdon.plugins.boundary import describe
from guerdon.plugins.component import Component
from guerdon.plugins.contracts import SETUP_TIMEOUT_S
from guerdon.plugins.tool_shape import EARLIER_CALLS
from guerdon.tools.protocol import MAX_STATE, Task
from guerdon.tools.state import public_attributes


def serve(connection: Connection, components: Sequence[Component]) -> None:
    """Answer tasks until the toolbox closes the connection."""
    with asyncio.Runner() as runner:
        host = _Host(connection, components, runner)
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                host.send(host.do(connection.recv()))
        host.close()


class _Host:
    def __init__(
        self, connection: Connection, components: Sequence[Component], runner: asyncio.Runner
    ) -> None:
        self._connection = connection
        self._components = components
        self._runner = runner
        self._built: dict[int, Any] = {}

    def send(self, answer: Mapping[str, Any]) -> None:
        self._connection.send_bytes(json.dumps(answer).encode())

    def do(self, task: Task) -> dict[str, Any]:
        try:
            built = self._build(task.component)
        except BaseException as error:  # a plugin's constructor may raise anything
            text = one_line(error) if isinstance(error, GuerdonError) else describe(error)
            return {"build_error": text, "infrastructure": _is_outside(error)}
        self.send({"built": True})
        _seed(task.seed)
        try:
            match task.action:
                case "call":
                    return self._call(built, task)
                case "reset":
                    return {"text": self._reset(built, task)}
                case "finish":
                    return self._finish(built, task)
        except BaseException as error:  # tools may raise SystemExit and KeyboardInterrupt
            kind = "infrastructure" if _is_outside(error) else "error"
            return {"error": cut(_text_of(error), task.max_output), "kind": kind}

    def close(self) -> None:
        """Let plugins release what they have opened outside this process."""
        for index, built in self._built.items():
            if (close := self._components[index].member("aclose", of=built)) is not None:
                with contextlib.suppress(Exception):
                    self._settle(close())

    def _build(self, index: int) -> Any:
        if index not in self._built:
            component = self._components[index]
            built = component.build()
            if component.member("setup", of=built) is not None:
                timeout_s = component.member("setup_timeout_s", SETUP_TIMEOUT_S, of=built)
                self.send({"setup_timeout_s": float(timeout_s)})
                component.set_up(built, self._runner.run)
            self._built[index] = built
        return self._built[index]

    def _call(self, built: Any, task: Task) -> dict[str, Any]:
        function = built if task.method is None else getattr(built, task.method)
        if not isinstance(task.arguments, Mapping):
            return {"error": "the arguments are not an object of names and values", "kind": "arguments"}
        arguments = dict(task.arguments)
        if task.earlier_calls is not None:
            arguments.pop(EARLIER_CALLS, None)
            arguments[EARLIER_CALLS] = task.earlier_calls
        if (misfit := _misfit(function, arguments)) is not None:
            return {"error": cut(misfit, task.max_output), "kind": "arguments"}
        return {"text": cut(_result_text(self._settle(function(**arguments))), task.max_output)}

    def _reset(self, built: Any, task: Task) -> str | None:
        observation = self._settle(_accepting(built.reset)(**task.arguments))
        return None if observation is None else _tokenizable(_result_text(observation))

    def _finish(self, built: Any, task: Task) -> dict[str, Any]:
        component = self._components[task.component]
        get_reward = component.member("get_reward", of=built)
        reward = None if get_reward is None else _finite(self._settle(get_reward()))
        state = component.member("state", of=built)
        shown = public_attributes(built) if state is None else to_json(self._settle(state()))
        if not isinstance(shown, dict):
            raise TypeError(f"state() returned a {type(shown).__name__}; it must return a dict")
        if len(json.dumps(shown)) > MAX_STATE:
            raise ValueError(f"the state has more than {MAX_STATE:,} characters. Return less from state().")
        return {"reward": reward, "state": shown}

    def _settle(self, returned: Any) -> Any:
        if not inspect.isawaitable(returned):
            return returned

        async def wait() -> Any:
            return await returned

        return self._runner.run(wait())


def _misfit(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str | None:
    """Return Python's own words for arguments that a function does not take, or ``None`` if it takes them."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        try:
            function(**arguments)
        except TypeError as error:
            return str(error)
    return None


def cut(text: str, limit: int) -> str:
    """Return a text with at most ``limit`` characters, and a note of what is missing."""
    if len(text) > limit:
        text = f"{text[:limit]}\n[{len(text) - limit} more characters were cut]"
    return _tokenizable(text)


def _tokenizable(text: str) -> str:
    """Return a text in which lone surrogates, which no tokenizer reads, are replaced."""
    return text.encode("utf-8", "replace").decode()


def _result_text(result: Any) -> str:
    """Return a result as TRL shows it to the model: its text. A list of content blocks is the text in it."""
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError("the tool gives a generator, which has no text. Return the text instead of 'yield'")
    if isinstance(result, list) and result and all(isinstance(b, dict) and "type" in b for b in result):
        if any(block["type"] != "text" for block in result):
            raise ValueError("the result has content other than text, which is not supported")
        return "".join(str(block.get("text", "")) for block in result)
    return str(result)


def _text_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # the error's class comes from a plugin
        return type(error).__name__


def _is_outside(error: BaseException) -> bool:
    return isinstance(error, InfrastructureError | ConnectionError)


def _finite(reward: Any) -> float:
    number = to_number(reward)
    if number is None or not math.isfinite(float(number)):
        raise ValueError(f"get_reward() returned {reward!r:.80}; it must return a finite number")
    return float(number)


def _accepting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that ignores the arguments that another does not take."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return function
    return lambda **arguments: function(**{k: v for k, v in arguments.items() if k in parameters})


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
