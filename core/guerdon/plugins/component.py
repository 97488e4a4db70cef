"""Pair a plugin with its params: read its signature, check its params, and pick its columns.

A plugin is one of two things. It is a function that does the work itself, or a class (or factory function) that takes
the params and returns the object that does the work. A function does the work itself if one of its parameters is its
kind's first argument: ``completion`` for a verifier, ``completions`` for a reward, ``context`` for a stage.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from guerdon.errors import ParamsError, PluginContractError, PluginNotFoundError
from guerdon.plugins.boundary import boundary, settled
from guerdon.plugins.contracts import OPTIONAL, optional, wrong_kind, wrong_members, wrong_shape
from guerdon.plugins.discovery import (
    SCORERS,
    Kind,
    Plugin,
    did_you_mean,
    find_plugin,
    find_plugins,
    import_errors_of,
    load_plugin,
)
from guerdon.plugins.wording import reasons_of

MAX_LISTED = 25
"""The most params that an error message lists."""

_FIRST_ARGUMENT = {
    Kind.VERIFIER: "completion",
    Kind.REWARD: "completions",
    Kind.GROUP_REWARD: "completions",
    Kind.STAGE: "context",
}

GROUP_ARGUMENTS = ("completion_ids", "met")
"""What a group reward may ask for by name beside columns: each completion's tokens, and whether its needs are met."""

_OBJECT = re.compile(r"(?:[^\s:]+\.py|[A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_][\w.]*")
"""An import string, or a file with a name in it."""

_ENGINE_ARGUMENTS = {
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


FROM_ROLLOUT = frozenset({"prompt", "messages", "tool_calls", "environment", "environment_reward"})
"""What a verifier gets of the rollout, and not of the row, if a parameter has the name."""


@dataclass(frozen=True, slots=True)
class Component:
    """A plugin that a manifest selected, with its params. It is cheap to send to another process."""

    plugin: Plugin
    kind: Kind
    params: Mapping[str, Any] = field(default_factory=dict)
    base_dir: Path | None = None
    """The manifest's folder, for import strings and for plugins that take ``base_dir``."""
    state_dir: Path | None = None
    """A folder that survives kills, for rewards that take ``state_dir``. It is created at its first use."""
    content: str = ""
    """Digest of the data that path-like params point to. Part of the cache key, so scores are recomputed when that data
    changes."""

    def build(self) -> Any:
        """Return the callable (verifier, reward), the iterable (source), or the object with ``run`` (stage).

        Raises:
            PluginLoadError: The plugin does not import.
            ParamsError: The params do not fit, or the plugin refuses them.
            PluginContractError: Its constructor raises another exception.
        """
        loaded = self.loaded
        params = check_params(self, loaded)
        if not _takes_params(self.kind, loaded):
            return functools.partial(loaded, **params) if params else loaded
        for name, folder in (("base_dir", self.base_dir), ("state_dir", self.state_dir)):
            if folder is not None and name in signature_of(loaded).parameters:
                params[name] = folder
        with boundary(
            f"{self.plugin} cannot be built:", blames_params=(TypeError, ValueError), params_of=self.plugin
        ):
            return loaded(**params)

    @property
    def loaded(self) -> Any:
        """Return the object that the plugin's target names: a function, a class or an instance.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        return load_plugin(self.plugin, self.base_dir)

    @property
    def named_objects(self) -> dict[str, dict[str, str]]:
        """Return the identities of objects that params name by import string or file, by param.

        The results depend on them: a bridge calls another library's code.
        """
        found = {}
        for name, value in self.params.items():
            if isinstance(value, str) and _OBJECT.fullmatch(value):
                with suppress(PluginNotFoundError):
                    plugin = find_plugin(value, SCORERS, self.base_dir)
                    if plugin.version != "-":  # there is such a file or module
                        found[name] = plugin.identity
        return found

    @property
    def columns(self) -> CallColumns:
        """Return the columns that a verifier or reward is called with.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        return CallColumns.of_loaded(self, self.loaded)

    @property
    def is_function(self) -> bool:
        """Return whether the plugin does its work itself, so that its params and its columns share one signature.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        return not _takes_params(self.kind, self.loaded)

    @property
    def requires_needs(self) -> bool:
        """Return whether the plugin counts only where other entries scored their full value."""
        return self.kind is Kind.GROUP_REWARD and bool(self.member("requires_needs", False))

    def member(self, name: str, default: Any = None, *, of: Any = None) -> Any:
        """Return an optional member of the plugin, or the default where it has none.

        Args:
            name: One that :data:`guerdon.plugins.contracts.OPTIONAL` lists for the kind.
            default: What to return where the plugin has no such member.
            of: The built plugin, if the member belongs to it; by default the loaded object.
        """
        return optional(self.kind, self.loaded if of is None else of, name, default)

    def set_up(self, built: Any, run: Callable[[Any], Any] = settled) -> None:
        """Call the plugin's ``setup``, if it has one.

        Args:
            built: The result of :meth:`build`.
            run: Runs the awaitable of an async ``setup``, in the event loop of the plugin's later calls.

        Raises:
            InfrastructureError: An external service or file is missing or down.
            PluginContractError: ``setup`` raised another exception.
        """
        own = self.member("setup", of=built) if "setup" in OPTIONAL[self.kind] else None
        if own is None:
            return
        with boundary(f"the setup of {self.plugin} raised", outside=OSError):
            returned = own()
            if inspect.isawaitable(returned):
                run(_wait_for(returned))

    def problems(self) -> list[ParamProblem]:
        """Return the mistakes in the plugin's shape, its optional members and its params.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        loaded = self.loaded
        shape = wrong_shape(self.kind, loaded)
        broken = [shape] if shape else wrong_members(self.kind, loaded)
        found = [ParamProblem(None, f"{self.plugin} {problem}") for problem in broken]
        return found if shape else [*found, *find_problems(self, loaded)[1]]

    def check(self, built: Any, **known: Any) -> None:
        """Call the plugin's own preflight, if it has one, with the known values that its signature names.

        Args:
            built: The result of :meth:`build`.
            **known: Values, by the names of the parameters that may ask for them.

        Raises:
            InfrastructureError: An external service or file is missing or down.
            ParamsError: The plugin refuses its params.
            PluginContractError: The preflight raised another exception, or has a parameter with an unknown name.
        """
        own = self.member("preflight", of=built)
        if own is None:
            return
        with boundary(
            f"the preflight of {self.plugin} raised",
            outside=OSError,
            blames_params=(ValueError,),
            params_of=self.plugin,
        ):
            asked = inspect.signature(own).parameters
            settled(own(**{name: value for name, value in known.items() if name in asked}))


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


@dataclass(frozen=True, slots=True)
class ParamProblem:
    """One mistake in a component."""

    param: str | None
    """The wrong parameter. ``None`` if a parameter is missing, or if the mistake is not in a parameter."""
    message: str


def load_component(plugin: Plugin, params: Mapping[str, Any], base_dir: Path | None) -> Component:
    """Load a plugin to determine its kind, and pair it with params. The params are not checked yet.

    Raises:
        PluginLoadError: The plugin does not import.
        PluginContractError: The loaded object does not fit its kind.
    """
    loaded = load_plugin(plugin, base_dir)
    if callable(loaded):
        with import_errors_of(plugin):  # a class may import a library to build its signature
            signature_of(loaded)
    kind = plugin.kind or kind_of(loaded)
    if plugin.kind is None and kind not in SCORERS:
        raise PluginContractError(
            f"{plugin} from '{plugin.target}' is neither a verifier (a parameter named 'completion') nor a reward "
            "(a parameter named 'completions', as in TRL; a group reward has guerdon_kind = 'group_reward' too). "
            "Rename its first parameter, or use an entry point."
        )
    assert kind is not None
    return Component(plugin, kind, params, base_dir)


def load_scorer(use: str, params: Mapping[str, Any], base_dir: Path | None) -> Component:
    """Find and load the scorer that ``use`` names. If several kinds have the name, the params choose.

    Raises:
        PluginNotFoundError: Nothing has that name.
        DuplicatePluginError: Several distributions have it.
        PluginLoadError: The plugin does not import.
        PluginContractError: The loaded object does not fit its kind.
    """
    components = [load_component(plugin, params, base_dir) for plugin in find_plugins(use, SCORERS, base_dir)]
    return min(components, key=lambda component: len(component.problems()) if len(components) > 1 else 0)


def kind_of(loaded: Any) -> Kind | None:
    """Return the kind that a plugin's signature implies, for a plugin without an entry point.

    Raises:
        PluginContractError: Its ``guerdon_kind`` has another value than ``"group_reward"``, or a misspelt name.
    """
    if problem := wrong_kind(loaded):
        raise PluginContractError(f"'{getattr(loaded, '__name__', type(loaded).__name__)}' {problem}")
    if getattr(loaded, "guerdon_kind", None) == Kind.GROUP_REWARD.value:
        return Kind.GROUP_REWARD
    if inspect.isclass(loaded) and hasattr(loaded, "run"):
        return Kind.STAGE
    if inspect.isclass(loaded) and hasattr(loaded, "__iter__"):
        return Kind.SOURCE
    if inspect.isclass(loaded) and hasattr(loaded, "reset"):
        return Kind.ENVIRONMENT
    if inspect.isclass(loaded) and hasattr(loaded, "first_of"):
        return Kind.VERIFIER
    called = loaded.__call__ if inspect.isclass(loaded) else loaded
    parameters = signature_of(called).parameters if callable(called) else {}
    return next((kind for kind, argument in _FIRST_ARGUMENT.items() if argument in parameters), None)


def _takes_params(kind: Kind, loaded: Any) -> bool:
    """Return whether the plugin is a class or factory that takes the params, and does not do the work itself."""
    if inspect.isclass(loaded):
        return True
    if kind is Kind.TOOL:  # a function is the tool, and its parameters are the model's to set
        return False
    first = _FIRST_ARGUMENT.get(kind)
    if first is None:  # sources are always classes or factories
        return True
    if not inspect.isroutine(loaded):  # an instance that the module created
        return False
    parameters = signature_of(loaded).parameters
    catches_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return first not in parameters and not (kind is Kind.REWARD and catches_all)


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


def valid_params(kind: Kind, loaded: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters that a manifest may set, by name."""
    takes_params = _takes_params(kind, loaded)
    if kind is Kind.TOOL and not takes_params:
        return {}
    engine = (
        frozenset({"base_dir", "state_dir"}) if takes_params else _ENGINE_ARGUMENTS.get(kind, frozenset())
    )
    return {
        name: parameter
        for name, parameter in signature_of(loaded).parameters.items()
        if name not in engine and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def is_open_ended(kind: Kind, loaded: Any) -> bool:
    """Return whether a plugin takes params that its signature does not name."""
    parameters = signature_of(loaded).parameters.values()
    return _takes_params(kind, loaded) and any(p.kind is p.VAR_KEYWORD for p in parameters)


def find_problems(component: Component, loaded: Any) -> tuple[dict[str, Any], list[ParamProblem]]:
    """Return the params as their annotations read them, and all mistakes in them."""
    known = valid_params(component.kind, loaded)
    takes_params = _takes_params(component.kind, loaded)
    open_ended = is_open_ended(component.kind, loaded)
    checked: dict[str, Any] = {}
    problems: list[ParamProblem] = []
    for name, value in component.params.items():
        if name not in known:
            if open_ended:
                checked[name] = value
                continue
            problems.append(
                ParamProblem(
                    name,
                    f"unknown param '{name}' of {component.plugin}.{did_you_mean(name, known)} {_valid(name, known)}",
                )
            )
            continue
        try:
            checked[name] = _read(known[name].annotation, value)
        except ValidationError as error:
            reason = reasons_of(error.errors())
            choices = [choice for detail in error.errors() for choice in _choices(detail)]
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            problems.append(
                ParamProblem(name, f"param '{name}' of {component.plugin} is {value!r}:{hint} {reason}.")
            )
    if takes_params:  # the parameters of a function that are not params are columns
        problems += [
            ParamProblem(None, f"{component.plugin} needs the param '{name}'.")
            for name, parameter in known.items()
            if parameter.default is parameter.empty and name not in component.params
        ]
    return checked, problems


def _choices(detail: Any) -> list[str]:
    """Return the allowed values that an error of a choice lists."""
    if detail["type"] != "literal_error":
        return []
    return re.findall(r"'([^']*)'", detail["ctx"]["expected"])


def _valid(name: str, known: Collection[str]) -> str:
    """Return the valid params as text; of very many, the nearest ones."""
    if len(known) <= MAX_LISTED:
        return f"Valid: {', '.join(known) or 'none'}."
    near = get_close_matches(name, known, n=5, cutoff=0.4)
    return f"Near: {', '.join(near) or 'none'}; 'guerdon plugins show' lists all {len(known)}."


def check_params(component: Component, loaded: Any) -> dict[str, Any]:
    """Return the params as their annotations read them.

    Raises:
        ParamsError: Some are unknown, missing or ill-typed.
    """
    checked, problems = find_problems(component, loaded)
    if problems:
        raise ParamsError(" ".join(problem.message for problem in problems))
    return checked


def _read(annotation: Any, value: Any) -> Any:
    if annotation is inspect.Parameter.empty or annotation is Any:
        return value
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, NameError, TypeError):
        try:
            adapter = TypeAdapter(annotation)  # a type with a pydantic configuration of its own
        except Exception:  # a type that pydantic does not know is not checked
            return value
    try:
        text = json.dumps(value, allow_nan=True)
    except TypeError:
        return adapter.validate_python(value)
    # JSON's strict mode fits manifests: 1 is a float, ["a"] is a tuple, and "1" is not a number.
    return adapter.validate_json(text, strict=True)


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
        if _takes_params(component.kind, loaded):
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
        ignored |= _ENGINE_ARGUMENTS[kind] - {"reference"}
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
    """Return those of a group reward's arguments beside columns that its signature names."""
    parameters = signature_of(built).parameters
    return {name: known[name] for name in GROUP_ARGUMENTS if name in parameters}


def is_async(called: Any) -> bool:
    """Return whether a call returns a coroutine. For a class, this means a call of its instances."""
    if isinstance(called, functools.partial):
        called = called.func
    if inspect.isroutine(called):
        return inspect.iscoroutinefunction(called)
    return inspect.iscoroutinefunction(called.__call__)
