"""From a plugin and its params to something that can be called: signatures, checks of params, columns.

A plugin is a function that does the work itself, or a class (or a factory function) that takes the params and gives the
object that does it. A function does the work itself if one of its parameters is its kind's first argument:
``completion`` for a verifier, ``completions`` for a reward, ``context`` for a stage.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from guerdon.errors import ParamsError, PluginContractError
from guerdon.plugins.boundary import boundary, settled
from guerdon.plugins.contracts import OPTIONAL, optional, wrong_members, wrong_shape
from guerdon.plugins.discovery import SCORERS, Kind, Plugin, did_you_mean, import_errors_of, load_plugin

MAX_LISTED = 25
"""Params that an error message lists."""

_FIRST_ARGUMENT = {Kind.VERIFIER: "completion", Kind.REWARD: "completions", Kind.STAGE: "context"}

_ENGINE_ARGUMENTS = {
    Kind.VERIFIER: frozenset({"completion", "reference"}),
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


@dataclass(frozen=True, slots=True)
class Component:
    """A plugin that a manifest selected, with its params; cheap to send to another process."""

    plugin: Plugin
    kind: Kind
    params: Mapping[str, Any] = field(default_factory=dict)
    base_dir: Path | None = None
    """The manifest's folder, for import strings and for plugins that take ``base_dir``."""
    state_dir: Path | None = None
    """A folder that survives kills, for rewards that take ``state_dir``; not there before it is first used."""
    content: str = ""
    """What stands behind params that name it only by its place; another content is scored anew."""

    def build(self) -> Any:
        """The callable (verifier, reward), iterable (source), or object with ``run`` (stage).

        Raises:
            PluginLoadError: The plugin does not import.
            ParamsError: The params do not fit, or the plugin refuses them.
            PluginContractError: Its constructor raises anything else.
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
        """What the plugin names: a function, a class or an object.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        return load_plugin(self.plugin, self.base_dir)

    @property
    def columns(self) -> CallColumns:
        """The columns that a verifier or reward is called with.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        return CallColumns.of_loaded(self, self.loaded)

    @property
    def is_function(self) -> bool:
        """Whether the plugin does its work itself, so that its params and its columns share one signature.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        return not _takes_params(self.kind, self.loaded)

    def member(self, name: str, default: Any = None, *, of: Any = None) -> Any:
        """Return an optional member of the plugin, or the default where it has none.

        Args:
            name: One that :data:`guerdon.plugins.contracts.OPTIONAL` lists for the kind.
            default: What to return where the plugin has no such member.
            of: What the plugin built, where the member may belong to that; else to what was loaded.
        """
        return optional(self.kind, self.loaded if of is None else of, name, default)

    def set_up(self, built: Any, run: Callable[[Any], Any] = settled) -> None:
        """Let the plugin load what is heavy, if it has a ``setup``.

        Args:
            built: What :meth:`build` gave.
            run: Runs what an async ``setup`` returns, in the event loop of the plugin's later calls.

        Raises:
            InfrastructureError: Something outside is missing or down.
            PluginContractError: It raised anything else.
        """
        own = self.member("setup", of=built) if "setup" in OPTIONAL[self.kind] else None
        if own is None:
            return
        with boundary(f"the setup of {self.plugin} raised", outside=OSError):
            returned = own()
            if inspect.isawaitable(returned):
                run(_wait_for(returned))

    def problems(self) -> list[ParamProblem]:
        """Return what is wrong with the plugin's shape, with its optional members and with the params.

        Raises:
            PluginLoadError: The plugin does not import.
        """
        loaded = self.loaded
        shape = wrong_shape(self.kind, loaded)
        broken = [shape] if shape else wrong_members(self.kind, loaded)
        found = [ParamProblem(None, f"{self.plugin} {problem}") for problem in broken]
        return found if shape else [*found, *find_problems(self, loaded)[1]]

    def check(self, built: Any, **known: Any) -> None:
        """Call the plugin's own preflight, if it has one, with those of the known values that it names.

        Args:
            built: What :meth:`build` gave.
            **known: Values, by the names of the parameters that may ask for them.

        Raises:
            InfrastructureError: Something outside is missing or down.
            ParamsError: The plugin refuses its params.
            PluginContractError: It raised anything else, or asks for what nobody knows.
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
    """One thing that is wrong with a component."""

    param: str | None
    """The parameter at fault; ``None`` for one that is missing, and for what no parameter is at fault for."""
    message: str


def load_component(plugin: Plugin, params: Mapping[str, Any], base_dir: Path | None) -> Component:
    """Load a plugin, to know its kind, and pair it with params; the params are not checked yet.

    Raises:
        PluginLoadError: The plugin does not import.
        PluginContractError: It is nothing that its kind can be.
    """
    loaded = load_plugin(plugin, base_dir)
    if callable(loaded):
        with import_errors_of(plugin):  # a class may import a library to say its params
            signature_of(loaded)
    kind = plugin.kind or kind_of(loaded)
    if plugin.kind is None and kind not in SCORERS:
        raise PluginContractError(
            f"{plugin} from '{plugin.target}' is neither a verifier (a parameter named 'completion') nor a reward "
            "(a parameter named 'completions', as in TRL). Rename its first parameter, or use an entry point."
        )
    assert kind is not None
    return Component(plugin, kind, params, base_dir)


def kind_of(loaded: Any) -> Kind | None:
    """The kind that a plugin's own shape tells, for one that no entry point registers."""
    if inspect.isclass(loaded) and hasattr(loaded, "run"):
        return Kind.STAGE
    if inspect.isclass(loaded) and hasattr(loaded, "__iter__"):
        return Kind.SOURCE
    called = loaded.__call__ if inspect.isclass(loaded) else loaded
    parameters = signature_of(called).parameters if callable(called) else {}
    return next((kind for kind, argument in _FIRST_ARGUMENT.items() if argument in parameters), None)


def _takes_params(kind: Kind, loaded: Any) -> bool:
    """Whether the plugin is a class or a factory that takes the params, or does the work itself."""
    if inspect.isclass(loaded):
        return True
    first = _FIRST_ARGUMENT.get(kind)
    if first is None:  # sources are classes or factories, always
        return True
    if not inspect.isroutine(loaded):  # a callable object, made by its module
        return False
    parameters = signature_of(loaded).parameters
    catches_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return first not in parameters and not (kind is Kind.REWARD and catches_all)


def signature_of(called: Any) -> inspect.Signature:
    """The signature with its annotations resolved, or as they stand where they cannot be."""
    own = getattr(called, "signature", None)
    if inspect.isclass(called) and inspect.ismethod(own):
        # A class whose params are many and known elsewhere (a dataclass of TRL's) says them itself.
        result = own()
        assert isinstance(result, inspect.Signature)
        return result
    try:
        return inspect.signature(called, eval_str=True)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return inspect.signature(called)


def valid_params(kind: Kind, loaded: Any) -> dict[str, inspect.Parameter]:
    """The parameters that a manifest may set, by name."""
    takes_params = _takes_params(kind, loaded)
    engine = (
        frozenset({"base_dir", "state_dir"}) if takes_params else _ENGINE_ARGUMENTS.get(kind, frozenset())
    )
    return {
        name: parameter
        for name, parameter in signature_of(loaded).parameters.items()
        if name not in engine and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def is_open_ended(kind: Kind, loaded: Any) -> bool:
    """Whether a plugin takes params that its signature does not name."""
    parameters = signature_of(loaded).parameters.values()
    return _takes_params(kind, loaded) and any(p.kind is p.VAR_KEYWORD for p in parameters)


def find_problems(component: Component, loaded: Any) -> tuple[dict[str, Any], list[ParamProblem]]:
    """The params as the annotations read them, and everything that is wrong with them."""
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
            reason = "; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())
            choices = [choice for detail in error.errors() for choice in _choices(detail)]
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            problems.append(
                ParamProblem(name, f"param '{name}' of {component.plugin} is {value!r}:{hint} {reason}.")
            )
    if takes_params:  # what a function is not given as a param, it is given as a column
        problems += [
            ParamProblem(None, f"{component.plugin} needs the param '{name}'.")
            for name, parameter in known.items()
            if parameter.default is parameter.empty and name not in component.params
        ]
    return checked, problems


def _choices(detail: Any) -> list[str]:
    """Return the values that a choice has, of an error that says that a value is none of them."""
    if detail["type"] != "literal_error":
        return []
    return re.findall(r"'([^']*)'", detail["ctx"]["expected"])


def _valid(name: str, known: Collection[str]) -> str:
    """The valid params; of very many, the nearest."""
    if len(known) <= MAX_LISTED:
        return f"Valid: {', '.join(known) or 'none'}."
    near = get_close_matches(name, known, n=5, cutoff=0.4)
    return f"Near: {', '.join(near) or 'none'}; 'guerdon plugins show' lists all {len(known)}."


def check_params(component: Component, loaded: Any) -> dict[str, Any]:
    """The params as the annotations read them.

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
            adapter = TypeAdapter(annotation)  # a type that brings its own configuration
        except Exception:  # an annotation that is no type pydantic knows checks nothing
            return value
    try:
        text = json.dumps(value, allow_nan=True)
    except TypeError:
        return adapter.validate_python(value)
    # JSON's strict reading is what a manifest means: 1 is a float, ["a"] is a tuple, and "1" is no number.
    return adapter.validate_json(text, strict=True)


@dataclass(frozen=True, slots=True)
class CallColumns:
    """Which of a row's columns a verifier or reward is called with."""

    names: frozenset[str]
    required: frozenset[str]
    takes_all: bool
    reserved: frozenset[str] = field(default=frozenset(), compare=False)
    """What a plugin that takes all columns is not given as one: the names of what the engine and the params give it."""
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What the names that are not required have where a row has no such column."""

    @classmethod
    def of_built(cls, component: Component, built: Any) -> CallColumns:
        """Read them off what the plugin built."""
        called = built if inspect.isroutine(built) or isinstance(built, functools.partial) else built.__call__
        set_by_params = built.keywords if isinstance(built, functools.partial) else {}
        return cls._of(component.kind, signature_of(called), frozenset(set_by_params))

    @classmethod
    def of_loaded(cls, component: Component, loaded: Any) -> CallColumns:
        """Read them off the plugin before anything is built; a factory does not tell, and gets all."""
        if inspect.isclass(loaded):
            signature = signature_of(loaded.__call__)
            return cls._of(component.kind, signature, frozenset(list(signature.parameters)[:1]))  # self
        if _takes_params(component.kind, loaded):
            return cls(frozenset(), frozenset(), takes_all=True)
        called = loaded if inspect.isroutine(loaded) else loaded.__call__
        return cls._of(component.kind, signature_of(called), frozenset(component.params))

    @classmethod
    def _of(cls, kind: Kind, signature: inspect.Signature, ignored: frozenset[str]) -> CallColumns:
        parameters = list(signature.parameters.values())
        if kind is Kind.VERIFIER:  # the completion comes first, whatever a class calls it
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
            reserved=ignored | ({"prompt"} - names),  # a verifier's prompt is a column only where it is named
        )

    def pick(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that a row gives."""
        if self.takes_all:
            return {name: value for name, value in columns.items() if name not in self.reserved}
        return {name: columns[name] for name in self.names if name in columns}


def is_async(called: Any) -> bool:
    """Whether calling it (or, for a class, its instances) gives a coroutine."""
    if isinstance(called, functools.partial):
        called = called.func
    if inspect.isroutine(called):
        return inspect.iscoroutinefunction(called)
    return inspect.iscoroutinefunction(called.__call__)
