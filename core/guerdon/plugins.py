"""The plugin host: finds plugins by entry points, and loads one only when it is asked for.

Listing reads distribution metadata and imports nothing. A plugin that is broken is an error for whoever asks for it,
and for nobody else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from guerdon.errors import (
    DuplicatePluginError,
    MissingDependencyError,
    PluginLoadError,
    PluginNotFoundError,
    one_line,
)


class Kind(StrEnum):
    """The kinds of plugins; each has an entry-point group of its own."""

    VERIFIER = "verifier"
    REWARD = "reward"
    SOURCE = "source"
    STAGE = "stage"
    HOOKS = "hooks"
    COMMAND = "command"
    RECIPE = "recipe"

    @property
    def group(self) -> str:
        """The entry-point group, ``guerdon.verifiers`` and so on."""
        return "guerdon.hooks" if self is Kind.HOOKS else f"guerdon.{self.value}s"

    @property
    def noun(self) -> str:
        """What one plugin of the kind is called."""
        return "hooks plugin" if self is Kind.HOOKS else self.value


JUDGES: tuple[Kind, Kind] = (Kind.VERIFIER, Kind.REWARD)
"""The kinds that a rubric's entry may name."""


@dataclass(frozen=True, slots=True, order=True)
class Plugin:
    """Where a plugin comes from: what its entry point, import string or file says, before anything is imported."""

    kind: Kind | None
    """``None`` for an import string or a file that may hold a verifier or a reward: loading tells."""
    name: str
    distribution: str
    """The distribution that registers it; ``file`` for a file, ``-`` for a module of no distribution."""
    version: str
    """The distribution's version; for a file, or a module of no distribution, the start of its SHA-256."""
    target: str
    """``module:attribute``, or ``path.py:attribute``."""

    @property
    def qualified_name(self) -> str:
        return f"{self.distribution}/{self.name}"

    @property
    def identity(self) -> dict[str, str]:
        """What its results depend on. The folder of a file is no part of it: a project may be moved."""
        target = self.target.rpartition("/")[2]
        return {"use": self.qualified_name, "version": self.version, "target": target}

    def __str__(self) -> str:
        kind = "plugin" if self.kind is None else self.kind.value
        return f"{kind} '{self.name}' ({self.distribution} {self.version})"


def installed_plugins(*kinds: Kind) -> list[Plugin]:
    """Every plugin that an installed distribution registers, sorted; of all kinds unless some are named."""
    return sorted({plugin for kind in kinds or tuple(Kind) for plugin in _registered(kind)})


def _registered(kind: Kind) -> Iterator[Plugin]:
    for entry_point in metadata.entry_points(group=kind.group):
        distribution = entry_point.dist
        yield Plugin(
            kind=kind,
            name=entry_point.name,
            distribution=distribution.name if distribution else "-",
            version=distribution.version if distribution else "-",
            target=entry_point.value,
        )


def find_plugin(spec: str, kinds: Collection[Kind], base_dir: Path | None = None) -> Plugin:
    """The plugin that a manifest's ``use`` names.

    Args:
        spec: A name, ``distribution/name``, an import string ``package.module:attribute``, or a file
            ``path/to/file.py:attribute``.
        kinds: The kinds that fit at this place.
        base_dir: The folder that a file's relative path starts from; the current one by default.

    Raises:
        PluginNotFoundError: Nothing has that name.
        DuplicatePluginError: Several plugins have it.
    """
    target, colon, attribute = spec.rpartition(":")
    if colon and target.endswith(".py"):
        return _file_plugin(spec, Path(base_dir or Path.cwd(), target), attribute, kinds)
    if colon:
        return _module_plugin(target, attribute, kinds, base_dir)
    candidates = installed_plugins(*kinds)
    matches = [plugin for plugin in candidates if spec in (plugin.name, plugin.qualified_name)]
    if len(matches) == 1:
        return matches[0]
    wanted = "plugin" if len(kinds) > len(JUDGES) else " or ".join(kind.noun for kind in kinds)
    if not matches:
        names = [plugin.name for plugin in candidates] + [plugin.qualified_name for plugin in candidates]
        raise PluginNotFoundError(
            f"no {wanted} is named '{spec}'.{did_you_mean(spec, names)} Installed: "
            f"{', '.join(sorted({plugin.name for plugin in candidates})) or 'none'}. "
            "'guerdon plugins' lists them all; an import string (package.module:name) "
            "or a file (./file.py:name) works too."
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


def _file_plugin(spec: str, path: Path, attribute: str, kinds: Collection[Kind]) -> Plugin:
    if not path.is_file():
        raise PluginNotFoundError(f"'{spec}' names the file {path}, which does not exist.")
    return Plugin(_only(kinds), attribute, "file", _digest(path), f"{path.resolve()}:{attribute}")


def _module_plugin(module: str, attribute: str, kinds: Collection[Kind], base_dir: Path | None) -> Plugin:
    top_level = module.partition(".")[0]
    owners = metadata.packages_distributions().get(top_level, [])
    distribution = owners[0] if owners else "-"
    version = metadata.version(distribution) if owners else _module_digest(module, base_dir)
    return Plugin(_only(kinds), attribute, distribution, version, f"{module}:{attribute}")


def _module_digest(module: str, base_dir: Path | None) -> str:
    """The content of a module of no distribution, found without importing it; ``-`` if it is in no file."""
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
        base_dir: A folder to import modules from beside the installed ones, for files too: the manifest's.

    Raises:
        PluginLoadError: The import fails, for whatever reason.
    """
    module_name, _, attribute = plugin.target.rpartition(":")
    with import_errors_of(plugin):
        if base_dir is not None and str(base_dir) not in sys.path:
            sys.path.append(str(base_dir))
        if module_name.endswith(".py"):
            module = _import_file(Path(module_name))
        else:
            module = importlib.import_module(module_name)
        loaded = module
        for part in attribute.split("."):
            loaded = getattr(loaded, part)
        return loaded


@contextmanager
def import_errors_of(plugin: Plugin) -> Iterator[None]:
    """Say of whatever a plugin's import raises that it is that plugin's fault, and how to mend it.

    Raises:
        MissingDependencyError: A module is missing that an extra of the plugin's distribution brings.
        PluginLoadError: Anything else was raised.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name:
            extra = _extra_with(error.name, plugin.distribution)
            if extra is not None:
                raise MissingDependencyError(str(plugin), error.name, extra, plugin.distribution) from error
        raise PluginLoadError(
            f"{plugin} cannot be loaded from '{plugin.target}': {type(error).__name__}: {one_line(error)}. "
            f"Fix or uninstall it; other plugins are not affected."
        ) from error


def _extra_with(module: str, distribution: str) -> str | None:
    """The extra of a distribution that brings a module, by the distribution's own metadata."""
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    wanted = module.partition(".")[0].replace("_", "-").lower()
    for requirement in requirements:
        found = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w.-]+)['\"]", requirement)
        if found and found[1].replace("_", "-").lower() == wanted:
            return found[2]
    return None


def _import_file(path: Path) -> Any:
    # One module per file and process, so that two components of one file share its state and pickle.
    name = f"guerdon_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if name not in sys.modules:
        module_spec = importlib.util.spec_from_file_location(name, path)
        if module_spec is None or module_spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[name] = module
        try:
            module_spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def did_you_mean(word: str, candidates: Collection[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest spelling, or nothing."""
    close = get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
