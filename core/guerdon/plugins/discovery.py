"""Find plugins by their entry points, and load each only when it is requested.

Listing reads distribution metadata and imports nothing. A broken plugin is an error only for callers that request it.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from guerdon.errors import (
    DuplicatePluginError,
    MissingDependencyError,
    PluginLoadError,
    PluginNotFoundError,
)
from guerdon.plugins.boundary import boundary
from guerdon.plugins.extras import extra_with
from guerdon.plugins.local_modules import import_file, import_from
from guerdon.plugins.spelling import did_you_mean

if TYPE_CHECKING:
    from importlib import metadata


class Kind(StrEnum):
    """The kinds of plugins; each has an entry-point group of its own."""

    VERIFIER = "verifier"
    REWARD = "reward"
    GROUP_REWARD = "group_reward"
    SOURCE = "source"
    STAGE = "stage"
    HOOKS = "hooks"
    COMMAND = "command"
    RECIPE = "recipe"
    TOOL = "tool"
    ENVIRONMENT = "environment"

    @property
    def group(self) -> str:
        """Return the entry-point group, such as ``guerdon.verifiers``."""
        return "guerdon.hooks" if self is Kind.HOOKS else f"guerdon.{self.value}s"

    @property
    def noun(self) -> str:
        """Return the noun for one plugin of the kind."""
        return "hooks plugin" if self is Kind.HOOKS else self.value.replace("_", " ")


STAGE_SOURCE = "stage"
"""The built-in source, which is not a plugin: another stage's data set."""

_MAX_DEFINED = 10
"""The most names of a module that a message lists."""

SCORERS: tuple[Kind, ...] = (Kind.VERIFIER, Kind.REWARD, Kind.GROUP_REWARD)
"""The kinds that a rubric's entry may name."""

_BY_NAME = {Kind.RECIPE, Kind.COMMAND}
"""The kinds that have only names: they have no import strings and no files."""

_OTHER_FORMS = "; an import string (package.module:name) or a file (./file.py:name) works too"


@dataclass(frozen=True, slots=True, order=True)
class Plugin:
    """Where a plugin comes from, as its entry point, import string or file says. Nothing is imported."""

    kind: Kind | None
    """``None`` for an import string or a file that may hold a verifier or a reward; loading determines it."""
    name: str
    distribution: str
    """The distribution that registers the plugin; ``file`` for a file, ``-`` for a module outside all distributions."""
    version: str
    """The distribution's version. For a file, or a module outside all distributions, the start of its SHA-256."""
    target: str
    """``module:attribute``, or ``path.py:attribute``."""

    @property
    def qualified_name(self) -> str:
        return f"{self.distribution}/{self.name}"

    @property
    def identity(self) -> dict[str, str]:
        """Return the parts that results depend on. A file's folder is not one of them, so a project may be moved."""
        target = self.target.rpartition("/")[2]
        return {"use": self.qualified_name, "version": self.version, "target": target}

    @property
    def origin(self) -> str:
        """Return the origin for messages: a distribution and its version, a file's name, or a module."""
        place = self.target.rpartition(":")[0]
        if self.distribution == "file":
            return Path(place).name
        return place if self.distribution == "-" else f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        kind = "plugin" if self.kind is None else self.kind.noun
        return f"{kind} '{self.name}' ({self.origin})"


def installed_plugins(*kinds: Kind) -> list[Plugin]:
    """Return every plugin that an installed distribution registers, sorted.

    Args:
        *kinds: The kinds to return; by default all.
    """
    return [plugin for plugin in _installed(_places()) if not kinds or plugin.kind in kinds]


Places: TypeAlias = tuple[tuple[str, int], ...]
"""The folders of ``sys.path``, each with its modification time. They determine what is installed."""


def _places() -> Places:
    found = []
    for folder in sys.path:
        with suppress(OSError):
            found.append((folder, Path(folder).stat().st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=1)
def _installed(places: Places) -> Sequence[Plugin]:
    """Return all plugins, sorted.

    The scan reads each distribution's entry points once, and parses the metadata of those that register a plugin only.
    """
    from importlib import metadata  # late: a worker loads a plugin that is found, and needs none of it

    del places
    registered = metadata.entry_points()
    owners: dict[int, tuple[str, str]] = {}
    found = set()
    for kind in Kind:
        for entry_point in registered.select(group=kind.group):
            distribution = entry_point.dist
            if id(distribution) not in owners:  # each access of a name or a version parses the metadata again
                owners[id(distribution)] = _name_and_version(distribution)
            name, version = owners[id(distribution)]
            found.add(Plugin(kind, entry_point.name, name, version, entry_point.value))
    return sorted(found)


def _name_and_version(distribution: metadata.Distribution | None) -> tuple[str, str]:
    if distribution is None:
        return "-", "-"
    parsed = distribution.metadata
    return parsed["Name"], parsed["Version"]


def find_plugins(spec: str, kinds: Collection[Kind], base_dir: Path | None = None) -> list[Plugin]:
    """Return the plugins that a manifest's ``use`` names: one, or one of each kind of one distribution.

    ``judge`` is a verifier and a group reward. ``guerdon.plugins.component.load_scorer`` picks the one that the params
    fit.

    Args:
        spec: As for :func:`find_plugin`.
        kinds: The kinds that fit at this place.
        base_dir: The folder that a file's relative path starts from; the current one by default.

    Raises:
        PluginNotFoundError: Nothing has that name.
        DuplicatePluginError: Several distributions have it.
    """
    first = find_plugin(spec, kinds, base_dir)
    others = installed_plugins(Kind.GROUP_REWARD) if first.kind in SCORERS and ":" not in spec else []
    return [
        first,
        *(
            other
            for other in others
            if Kind.GROUP_REWARD in kinds and other != first and other.qualified_name == first.qualified_name
        ),
    ]


def find_plugin(spec: str, kinds: Collection[Kind], base_dir: Path | None = None) -> Plugin:
    """Return the plugin that a manifest's ``use`` names.

    Args:
        spec: A name, ``distribution/name``, an import string ``package.module:attribute``, or a file
            ``path/to/file.py:attribute``.
        kinds: The kinds that fit at this place.
        base_dir: The folder that a file's relative path starts from; the current one by default.

    If a scorer and a group reward of one distribution have the name, this is the scorer; ``find_plugins`` has both.

    Raises:
        PluginNotFoundError: Nothing has that name.
        DuplicatePluginError: Several plugins have it.
    """
    target, colon, attribute = spec.rpartition(":")
    if colon and target.endswith(".py"):
        return _file_plugin(spec, Path(base_dir or Path.cwd(), target), attribute, kinds)
    if spec.endswith(".py"):
        raise PluginNotFoundError(f"'{spec}' is a file, of which one name is used. Write {spec}:NAME.")
    if colon and not all(part.isidentifier() for part in target.split(".")):
        raise PluginNotFoundError(
            f"'{spec}' names no plugin: '{target}' is neither a Python file nor a module. Write ./file.py:NAME or "
            "package.module:NAME."
        )
    if colon:
        return _module_plugin(target, attribute, kinds, base_dir)
    return _installed_plugin(spec, kinds)


def _installed_plugin(spec: str, kinds: Collection[Kind]) -> Plugin:
    candidates = installed_plugins(*kinds)
    matches = [plugin for plugin in candidates if spec in (plugin.name, plugin.qualified_name)]
    alone = {plugin.distribution for plugin in matches if plugin.kind is not Kind.GROUP_REWARD}
    # A group reward may share its name with another scorer of its distribution, which then comes first.
    matches = [
        plugin
        for plugin in matches
        if plugin.kind is not Kind.GROUP_REWARD or plugin.distribution not in alone
    ]
    if len(matches) == 1:
        return matches[0]
    # "reward" means both kinds of rewards
    nouns = [kind.noun for kind in kinds if kind is not Kind.GROUP_REWARD or Kind.REWARD not in kinds]
    wanted = "plugin" if len(kinds) > len(SCORERS) else " or ".join(nouns)
    if not matches:
        names = {plugin.name for plugin in candidates} | (
            {STAGE_SOURCE} if tuple(kinds) == (Kind.SOURCE,) else set()
        )
        raise PluginNotFoundError(
            f"no {wanted} is named '{spec}'{_hint(spec, candidates)} Installed: "
            f"{', '.join(sorted(names)) or 'none'}. "
            f"'guerdon plugins' lists them all{_OTHER_FORMS if set(kinds) - _BY_NAME else ''}."
        )
    owners = ", ".join(
        f"{plugin.qualified_name} ({plugin.kind}, version {plugin.version})" for plugin in matches
    )
    raise DuplicatePluginError(
        f"several plugins are named '{spec}': {owners}. Write the qualified name of the one that is meant, "
        f"such as '{matches[0].qualified_name}'"
        + (
            ", or uninstall the other."
            if len({m.qualified_name for m in matches}) > 1
            else "; where one distribution has both kinds, its import string."
        )
    )


def _hint(spec: str, candidates: Sequence[Plugin]) -> str:
    """Return what else has the name, else the nearest spelling."""
    others = [plugin for plugin in installed_plugins() if spec in (plugin.name, plugin.qualified_name)]
    if others:
        return f", which is {' and '.join(map(str, others))}."
    return "." + did_you_mean(
        spec, [name for plugin in candidates for name in (plugin.name, plugin.qualified_name)]
    )


def _file_plugin(spec: str, path: Path, attribute: str, kinds: Collection[Kind]) -> Plugin:
    if not path.is_file():
        raise PluginNotFoundError(f"'{spec}' names the file {path}, which does not exist.")
    return Plugin(_only(kinds), attribute, "file", _digest(path), f"{path.resolve()}:{attribute}")


def _module_plugin(module: str, attribute: str, kinds: Collection[Kind], base_dir: Path | None) -> Plugin:
    top_level = module.partition(".")[0]
    distribution, version = _owner(top_level, _places()) or ("-", _module_digest(module, base_dir))
    return Plugin(_only(kinds), attribute, distribution, version, f"{module}:{attribute}")


@cache
def _owner(top_level: str, places: Places) -> tuple[str, str] | None:
    """Return the name and the version of the distribution that installs a top-level module.

    The standard library's function reads all modules, which takes a second where torch is installed.
    """
    from importlib import metadata

    del places
    recorded = re.compile(rf"^{re.escape(top_level)}(/|\.[^/,]*\b(py|so|pyc)\b)", re.MULTILINE)
    for distribution in metadata.distributions():
        declared = (distribution.read_text("top_level.txt") or "").split()
        if declared:
            found = top_level in declared
        else:
            found = recorded.search(distribution.read_text("RECORD") or "") is not None
        if found:
            return distribution.name, distribution.version
    return None


def _module_digest(module: str, base_dir: Path | None) -> str:
    """Return the digest of a module outside all distributions, without importing it; ``-`` if it has no file."""
    folders: list[str | Path] = [*([base_dir] if base_dir else []), *sys.path]
    for folder in folders:
        place = Path(folder, *module.split("."))
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if path.is_file():
                return _digest(path)
    return "-"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _only(kinds: Collection[Kind]) -> Kind | None:
    return next(iter(kinds)) if len(kinds) == 1 else None


def load_plugin(plugin: Plugin, base_dir: Path | None = None) -> Any:
    """Import what a plugin's target names.

    Args:
        plugin: The plugin to import.
        base_dir: A folder to import modules from in addition to the installed ones, for files too: the manifest's.

    Raises:
        PluginLoadError: The import fails.
    """
    place, _, attribute = plugin.target.rpartition(":")
    with import_errors_of(plugin):
        if base_dir is not None:
            import_from(base_dir)
        module = import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    loaded = module
    for part in attribute.split("."):
        if not hasattr(loaded, part):
            raise PluginLoadError(_lacks(plugin, loaded, part))
        loaded = getattr(loaded, part)
    return loaded


def _lacks(plugin: Plugin, holder: Any, name: str) -> str:
    own = getattr(holder, "__name__", None)
    public = {key: value for key, value in vars(holder).items() if key[0] != "_" and callable(value)}
    # a package may define nothing itself, and give the names of its modules
    defined = [key for key, value in public.items() if getattr(value, "__module__", own) == own] or [*public]
    place = plugin.target.rpartition(":")[0]
    return (
        f"{place} defines no '{name}'.{did_you_mean(name, defined) or did_you_mean(name, dir(holder))} "
        f"It defines: {', '.join(defined[:_MAX_DEFINED]) or 'nothing to call'}."
    )


@contextmanager
def import_errors_of(plugin: Plugin) -> Iterator[None]:
    """Raise any exception of a plugin's import as an error that names the plugin and the fix.

    Raises:
        MissingDependencyError: A module is missing that an extra of the plugin's distribution brings.
        PluginLoadError: Anything else was raised.
    """
    try:
        with boundary(
            f"{plugin} cannot be loaded from '{plugin.target}':",
            PluginLoadError,
            fix="Fix or uninstall it; other plugins are not affected.",
        ):
            yield
    except PluginLoadError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            extra = extra_with(cause.name, plugin.distribution)
            if extra is not None:
                raise MissingDependencyError(str(plugin), cause.name, extra, plugin.distribution) from cause
        raise
