"""Read a plugin's signature: which of its parameters the manifest sets, and which the engine gives.

A plugin is one of two things. It is a function that does the work itself, or a class (or factory function) that takes
the params and returns the object that does the work. A function does the work itself if one of its parameters is its
kind's first argument: ``completion`` for a verifier, ``completions`` for a reward, ``context`` for a stage.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from guerdon.plugins.discovery import Kind

FIRST_ARGUMENT = {
    Kind.VERIFIER: "completion",
    Kind.REWARD: "completions",
    Kind.GROUP_REWARD: "completions",
    Kind.STAGE: "context",
}
"""What a function that does the work of its kind gets first."""

GROUP_ARGUMENTS = ("completion_ids", "met")
"""What a group reward may ask for in addition to columns: each completion's tokens, and whether its needs are met."""

ENGINE_ARGUMENTS = {
    Kind.VERIFIER: frozenset({"completion", "reference"}),
    Kind.GROUP_REWARD: frozenset({"completions", "reference", *GROUP_ARGUMENTS}),
    # TRL's: https://huggingface.co/docs/trl/grpo_trainer, "Using a custom reward function".
    Kind.REWARD: frozenset(
        {
            "prompts",
            "completions",
            "completion_ids",
            "trainer_state",
            "log_extra",
            "log_metric",
            "environments",
        }
    ),
    Kind.STAGE: frozenset({"context"}),
}
"""The parameters that the engine sets."""


def signature_of(called: Any) -> inspect.Signature:
    """Return the signature with resolved annotations, or with the unresolved ones if they cannot be resolved."""
    own = getattr(called, "signature", None)
    if inspect.isclass(called) and inspect.ismethod(own):
        # A class with a ``signature`` method, such as a TRL dataclass, defines its params itself.
        result = own()
        assert isinstance(result, inspect.Signature)
        return result
    try:
        return inspect.signature(called, eval_str=True)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return inspect.signature(called)


def takes_params(kind: Kind, loaded: Any) -> bool:
    """Return whether the plugin is a class or factory that takes the params, and does not do the work itself."""
    if inspect.isclass(loaded):
        return True
    if kind is Kind.TOOL:  # a function is the tool, and its parameters are the model's to set
        return False
    first = FIRST_ARGUMENT.get(kind)
    if first is None:  # sources are always classes or factories
        return True
    if not inspect.isroutine(loaded):  # an instance that the module created
        return False
    parameters = signature_of(loaded).parameters
    catches_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return first not in parameters and not (kind is Kind.REWARD and catches_all)


def valid_params(kind: Kind, loaded: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters that a manifest may set, by name."""
    builds = takes_params(kind, loaded)
    if kind is Kind.TOOL and not builds:
        return {}
    engine = frozenset({"base_dir", "state_dir"}) if builds else ENGINE_ARGUMENTS.get(kind, frozenset())
    return {
        name: parameter
        for name, parameter in signature_of(loaded).parameters.items()
        if name not in engine and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def is_open_ended(kind: Kind, loaded: Any) -> bool:
    """Return whether a plugin takes params that its signature does not name."""
    parameters = signature_of(loaded).parameters.values()
    return takes_params(kind, loaded) and any(p.kind is p.VAR_KEYWORD for p in parameters)


def is_async(called: Any) -> bool:
    """Return whether a call returns a coroutine. For a class, this means a call of its instances."""
    if isinstance(called, functools.partial):
        called = called.func
    if inspect.isroutine(called):
        return inspect.iscoroutinefunction(called)
    return inspect.iscoroutinefunction(called.__call__)
