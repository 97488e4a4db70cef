"""Pair a plugin with its params, and build it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guerdon.errors import PluginContractError, PluginNotFoundError
from guerdon.plugins.boundary import boundary, settled
from guerdon.plugins.columns import CallColumns
from guerdon.plugins.contracts import OPTIONAL, optional, wrong_kind, wrong_members, wrong_shape
from guerdon.plugins.discovery import (
    SCORERS,
    Kind,
    Plugin,
    find_plugin,
    find_plugins,
    import_errors_of,
    load_plugin,
)
from guerdon.plugins.params import ParamProblem, check_params, find_problems
from guerdon.plugins.signatures import FIRST_ARGUMENT, signature_of, takes_params

_OBJECT = re.compile(r"(?:[^\s:]+\.py|[A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_][\w.]*")
"""An import string, or a file with a name in it."""


SHAPES = (
    "Of classes, 'run' makes a stage, '__iter__' a source, and 'reset' an environment, which is listed under "
    "'environments'."
)
"""What makes a class without an entry point a plugin of another kind than a scorer."""


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
        if not takes_params(self.kind, loaded):
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
        return not takes_params(self.kind, self.loaded)

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
            f"Rename its first parameter, or use an entry point. {SHAPES}"
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
    return next((kind for kind, argument in FIRST_ARGUMENT.items() if argument in parameters), None)
