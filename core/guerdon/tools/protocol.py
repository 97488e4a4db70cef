"""The messages between the toolbox and its processes.

The toolbox sends pickled tasks. The processes answer in JSON, because they run code on arguments that a model wrote,
and unpickling an answer could run code in the trainer.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guerdon.plugins.component import Component

SPAWN, KILL = b"S", b"K"
"""The commands: start a process for the two descriptors that come along; kill the process group of a number."""

PID = struct.Struct("!q")

MAX_STATE = 100_000
"""The most characters of an environment's state, as JSON text."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message to the process that starts the others."""

    sys_path: Sequence[str]
    components: Sequence[Component]
    """Tasks refer to them by index."""


@dataclass(frozen=True, slots=True)
class Task:
    """Work for one process: call a tool, begin a rollout in an environment, or end it."""

    component: int
    action: Literal["call", "reset", "finish"]
    arguments: Any
    """Of a call: the model's arguments; of ``reset``: the row."""
    method: str | None
    """The environment's method; ``None`` for a tool."""
    seed: int
    """The seed of Python's and numpy's global random numbers during the task."""
    max_output: int
    earlier_calls: Sequence[Any] | None = None
    """The arguments of the rollout's earlier calls of the tool, for a tool that asks for them."""
