"""``openenv``: a session on a server of OpenEnv, which keeps the state and gives the reward."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal

from guerdon.errors import InfrastructureError, library_of

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_OF_THE_SERVER = frozenset({"CAPACITY_REACHED", "FACTORY_ERROR", "SESSION_ERROR"})
"""The codes of errors that no action causes."""


class OpenEnv:
    """Gives the model an environment of OpenEnv, behind a server: each rollout has a session of its own.

    The model calls ``step`` with an action. A row may have ``reset``, the arguments of the server's reset, such as
    ``{seed: 7}``. The first observation, and the fields of an action, are appended to the prompt.

    Args:
        server: The server's address, ``http://localhost:8000``.
        reward: The rollout's reward: the sum of the steps' rewards, or the last one.
        describe: Whether the prompt gets the JSON Schema of an action.
        limit_s: Seconds for one request.

    Raises:
        MissingDependencyError: The package websockets is not installed.
        ValueError: A param is out of range.
    """

    timeout_s = 120.0

    def __init__(
        self,
        server: str,
        reward: Literal["sum", "last"] = "sum",
        describe: bool = True,
        limit_s: float = 60.0,
    ) -> None:
        with library_of("environment 'openenv'", extra="openenv"):
            import websockets.sync.client  # noqa: F401
        if not server.startswith(("http://", "https://")):
            raise ValueError(f"server is {server!r}; give an address such as http://localhost:8000")
        if not 0 < limit_s < math.inf:
            raise ValueError(f"limit_s is {limit_s}; give seconds above 0")
        self._server = server.rstrip("/")
        self._socket = "ws" + self._server.removeprefix("http") + "/ws"
        self._sums = reward == "sum"
        self._describes = describe
        self._limit_s = limit_s
        self._session = ExitStack()  # closes the connection
        self._connection: ClientConnection | None = None
        self._rewards: list[float] = []
        self._steps = 0
        self._done = False

    def preflight(self) -> None:
        """Raise if no server of OpenEnv answers at the address."""
        self._action_schema()

    def reset(self, **row: Any) -> str:
        """Begin an episode, and return the first observation."""
        arguments = row.get("reset") or {}
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        if not isinstance(arguments, Mapping):
            raise ValueError(f"the row's reset is a {type(arguments).__name__}; give arguments by name")
        self._rewards, self._steps, self._done = [], 0, False
        shown = self._observe({"type": "reset", "data": dict(arguments)})
        if not self._describes:
            return shown
        return f"{shown}\n\nAn action has these fields: {json.dumps(self._action_schema())}".strip()

    def step(self, action: dict[str, Any]) -> str:
        """Take an action in the environment, and return what is observed.

        Args:
            action: The action's fields by name.
        """
        if not isinstance(action, dict):
            raise TypeError("the action is not an object of names and values")
        if self._done:
            raise ValueError("the episode has ended")
        self._steps += 1
        return self._observe({"type": "step", "data": action})

    def get_reward(self) -> float:
        """Return the sum of the steps' rewards, or the last one; 0 if no step gave one."""
        if self._sums:
            return math.fsum(self._rewards)
        return self._rewards[-1] if self._rewards else 0.0

    def state(self) -> dict[str, Any]:
        """Return the number of steps, whether the episode has ended, its rewards, and the server's state."""
        own = self._ask({"type": "state"})
        return {"steps": self._steps, "done": self._done, "rewards": self._rewards, "state": own}

    async def aclose(self) -> None:
        """End the session."""
        self._disconnect()

    def _observe(self, message: Mapping[str, Any]) -> str:
        data = self._ask(message)
        reward, self._done = data.get("reward"), bool(data.get("done", False))
        if reward is not None:
            if isinstance(reward, str | dict | list) or not math.isfinite(float(reward)):
                raise InfrastructureError(
                    f"{self._server} gives the reward {str(reward)[:60]!r}, which is not a number"
                )
            self._rewards.append(float(reward))
        shown = _text(data.get("observation"))
        return f"{shown}\n[the episode has ended]".strip() if self._done else shown

    def _ask(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the data of the server's answer.

        Raises:
            ValueError: The server refuses the action. The model reads why.
            InfrastructureError: The server is down, late or full, or does not speak OpenEnv's protocol.
        """
        from websockets.exceptions import ConnectionClosed, WebSocketException

        try:
            if message["type"] == "reset":
                self._connect()
            if self._connection is None:
                raise InfrastructureError(f"the session on {self._server} was lost")
            with suppress(ConnectionClosed):  # a server without room says so before it closes
                self._connection.send(json.dumps(message))
            answer = json.loads(self._connection.recv(timeout=self._limit_s))
        except (OSError, WebSocketException, ValueError) as error:
            self._disconnect()
            if isinstance(error, InfrastructureError):
                raise
            what = (
                f"does not answer within {self._limit_s:g} s"
                if isinstance(error, TimeoutError)
                else "is lost"
            )
            raise InfrastructureError(f"the session on {self._server} {what}: {error}") from error
        data = answer.get("data") if isinstance(answer, Mapping) else None
        if not isinstance(data, Mapping):
            raise InfrastructureError(
                f"{self._server} answers {str(answer)[:200]}, which is not OpenEnv's protocol"
            )
        if answer.get("type") != "error":
            return data
        why = f"{data.get('message', 'an error')} ({data.get('code')}){_details(data.get('errors'))}"
        if data.get("code") in _OF_THE_SERVER or message["type"] != "step":
            self._disconnect()
            raise InfrastructureError(
                f"{self._server} refuses: {why}. Its max_concurrent_envs limits the sessions."
            )
        raise ValueError(why)

    def _connect(self) -> None:
        """Open a session. The reset begins one that is open already again."""
        from websockets.sync.client import connect

        if self._connection is None:
            self._connection = self._session.enter_context(
                connect(self._socket, open_timeout=self._limit_s, max_size=None)
            )

    def _disconnect(self) -> None:
        self._connection = None
        self._session.close()

    def _action_schema(self) -> Mapping[str, Any]:
        """Return the JSON Schema of an action's fields.

        Raises:
            InfrastructureError: The server does not answer as OpenEnv's do.
        """
        try:
            with urllib.request.urlopen(f"{self._server}/schema", timeout=self._limit_s) as response:
                fields: Mapping[str, Any] = json.loads(response.read())["action"].get("properties", {})
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InfrastructureError(
                f"no server of OpenEnv answers at {self._server}: {error}. Start it or correct the param 'server'."
            ) from error
        return {name: field for name, field in fields.items() if name != "metadata"}


def _details(errors: Any) -> str:
    """Return the places and reasons of a refused action, as pydantic lists them."""
    if not isinstance(errors, list):
        return ""
    known = [error for error in errors if isinstance(error, Mapping)]
    return "".join(f"; {'.'.join(map(str, one.get('loc', ())))}: {one.get('msg')}" for one in known)


def _text(observation: Any) -> str:
    """Return an observation as the model reads it: its only text, otherwise its fields as JSON."""
    if not isinstance(observation, Mapping):
        return "" if observation is None else str(observation)
    fields = {
        name: value for name, value in observation.items() if name not in ("done", "reward", "metadata")
    }
    values = list(fields.values())
    return (
        values[0]
        if len(values) == 1 and isinstance(values[0], str)
        else json.dumps(fields, ensure_ascii=False)
    )
