"""Tools and environments: the model's calls run in processes that can be killed, many at a time.

A ``Toolbox`` starts one ``Session`` for each rollout, calls tools, and asks the environments for their rewards and
final states. ``take_turns`` is the loop of a rollout with many turns.
"""

from guerdon.tools.entries import MAX_OUTPUT, TOOL_TIMEOUT_S, ToolEntry
from guerdon.tools.toolbox import Session, Toolbox
from guerdon.tools.turns import Conversation, Dialect, Generate, Limits, take_turns, with_observation

__all__ = [
    "MAX_OUTPUT",
    "TOOL_TIMEOUT_S",
    "Conversation",
    "Dialect",
    "Generate",
    "Limits",
    "Session",
    "ToolEntry",
    "Toolbox",
    "take_turns",
    "with_observation",
]
