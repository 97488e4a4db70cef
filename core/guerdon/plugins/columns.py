"""Pick the columns of a row that a verifier or a reward is called with, by its signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guerdon.plugins.discovery import Kind
from guerdon.plugins.signatures import ENGINE_ARGUMENTS, GROUP_ARGUMENTS, signature_of, takes_params

if TYPE_CHECKING:
    from guerdon.plugins.component import Component

FROM_ROLLOUT = frozenset({"prompt", "messages", "tool_calls", "environment", "environment_reward"})
"""What a verifier gets of the rollout, and not of the row, if a parameter has the name."""


@dataclass(frozen=True, slots=True)
class CallColumns:
    """The columns of a row that a verifier or reward is called with."""

    names: frozenset[str]
    required: frozenset[str]
    takes_all: bool
    reserved: frozenset[str] = field(default=frozenset(), compare=False)
    """For a plugin that takes all columns, the names of arguments that come from the engine or the params."""
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The values of optional columns that a row lacks."""

    @classmethod
    def of_built(cls, component: Component, built: Any) -> CallColumns:
        """Read the columns from the built plugin's signature."""
        called = built if inspect.isroutine(built) or isinstance(built, functools.partial) else built.__call__
        set_by_params = built.keywords if isinstance(built, functools.partial) else {}
        return cls._of(component.kind, signature_of(called), frozenset(set_by_params))

    @classmethod
    def of_loaded(cls, component: Component, loaded: Any) -> CallColumns:
        """Read the columns from the loaded plugin's signature. A factory does not show them, so it gets all."""
        if inspect.isclass(loaded):
            signature = signature_of(loaded.__call__)
            return cls._of(component.kind, signature, frozenset(list(signature.parameters)[:1]))  # drop self
        if takes_params(component.kind, loaded):
            return cls(frozenset(), frozenset(), takes_all=True)
        called = loaded if inspect.isroutine(loaded) else loaded.__call__
        return cls._of(component.kind, signature_of(called), frozenset(component.params))

    @classmethod
    def _of(cls, kind: Kind, signature: inspect.Signature, ignored: frozenset[str]) -> CallColumns:
        parameters = list(signature.parameters.values())
        # the completion, or the group's completions, is the first parameter, under any name
        if kind in (Kind.VERIFIER, Kind.GROUP_REWARD):
            first = next((p.name for p in parameters if p.name not in ignored), None)
            ignored = ignored | {first} if first is not None else ignored
        ignored |= ENGINE_ARGUMENTS[kind] - {"reference"}
        parameters = [p for p in parameters if p.name not in ignored]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        names = frozenset(p.name for p in named)
        return cls(
            names=names,
            required=frozenset(p.name for p in named if p.default is p.empty),
            takes_all=any(p.kind is p.VAR_KEYWORD for p in parameters),
            defaults={p.name: p.default for p in named if p.default is not p.empty},
            reserved=ignored | (FROM_ROLLOUT - names),  # a verifier gets these only by name
        )

    def pick(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a row provides."""
        if self.takes_all:
            return {name: value for name, value in columns.items() if name not in self.reserved}
        return {name: columns[name] for name in self.names if name in columns}


def group_arguments(built: Callable[..., Any], **known: Any) -> dict[str, Any]:
    """Return those of a group reward's arguments other than columns that its signature names."""
    parameters = signature_of(built).parameters
    return {name: known[name] for name in GROUP_ARGUMENTS if name in parameters}
