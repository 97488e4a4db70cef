"""The tools and environments that a manifest selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from guerdon.data.columns import matches
from guerdon.plugins.component import Component
from guerdon.plugins.contracts import NOT_TOOLS
from guerdon.plugins.discovery import Kind
from guerdon.plugins.tool_shape import environment_stubs, tool_stub

__all__ = ["MAX_OUTPUT", "TOOL_TIMEOUT_S", "ToolEntry"]

TOOL_TIMEOUT_S = 30.0
"""Seconds for one call of a tool whose plugin and manifest set no deadline."""

MAX_OUTPUT = 4_000
"""The most characters of a result that the model reads, if the manifest sets no other number."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """One tool or environment of a stage."""

    name: str
    component: Component
    when: Mapping[str, Any] = field(default_factory=dict)
    """The rows that it is offered to, by column: each must equal the value, or be one of a list's. All, if empty."""
    timeout_s: float | None = None
    """The deadline of one call; by default the plugin's ``timeout_s``, else 30 s."""
    max_output: int = MAX_OUTPUT
    """The most characters of a result that the model reads."""

    @property
    def is_environment(self) -> bool:
        return self.component.kind is Kind.ENVIRONMENT

    @property
    def deadline_s(self) -> float:
        """Return the seconds of one call."""
        return self.timeout_s or float(self.component.member("timeout_s", TOOL_TIMEOUT_S))

    def applies_to(self, columns: Mapping[str, Any]) -> bool:
        """Return whether the model may use it in a rollout of a row with these columns."""
        return matches(self.when, columns)

    def stubs(self) -> dict[str, Callable[..., Any]]:
        """Return a function for each tool, by the name that the model calls, which shows its schema.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        loaded = self.component.loaded
        if self.is_environment:
            return environment_stubs(loaded, NOT_TOOLS)
        return {self.name: tool_stub(self.name, loaded)}
