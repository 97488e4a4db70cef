"""Compute digests of content that a manifest refers to by path: modules that plugin files import, and local models."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from guerdon.models.adapters import base_of, is_adapter
from guerdon.plugins.discovery import Plugin
from guerdon.run.files import read_json, write_json

_OWN = ("guerdon", "guerdon_plugins", "guerdon_sandbox")

_MODEL_FILES = {".safetensors", ".bin", ".gguf", ".json", ".model", ".txt", ".jinja", ".py"}
_NO_MODEL_FILES = {"training_args.bin"}

_PARSING_TRIES = 1000


def local_modules(plugin: Plugin, base_dir: Path | None) -> dict[str, str]:
    """Return the digests of the uninstalled modules that a plugin's code imports.

    They are found by parsing ``import`` statements, including those inside functions. Imports by a computed name are
    not found.

    Args:
        plugin: The plugin. If it is installed in editable mode, its own module counts too.
        base_dir: The manifest's folder, from which modules are imported too.

    Returns:
        The digests by the module's path, relative to ``base_dir`` if it is inside it.
    """
    if plugin.distribution in _OWN:
        return {}
    folders = _folders(base_dir)
    target = plugin.target.rpartition(":")[0]
    is_file = target.endswith(".py")
    start = [Path(target)] if is_file else list(_resolve(target, folders))
    known = plugin.distribution in ("file", "-")  # the digest of its own content is its version
    found: dict[Path, None] = {}
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in found and not _is_installed(path):
            found[path] = None
            waiting += _imported(path, folders)
    modules = [path for path in found if not (known and path in start[-1:])]
    return {_name(path, base_dir): _digest(path) for path in sorted(modules)}


def _folders(base_dir: Path | None) -> list[Path]:
    places = [*([base_dir] if base_dir else []), *(Path(entry or ".") for entry in sys.path)]
    return [place for place in dict.fromkeys(place.resolve() for place in places) if place.is_dir()]


_INSTALLED = tuple(
    Path(path).resolve()
    for path in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


def _is_installed(path: Path) -> bool:
    resolved = path.resolve()
    return "site-packages" in resolved.parts or any(resolved.is_relative_to(root) for root in _INSTALLED)


def _resolve(module: str, folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of a module and of its parent packages."""
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names or parts[0] in _OWN:
        return
    for folder in folders:
        top = folder / parts[0]
        if top.with_name(f"{parts[0]}.py").is_file() or top.is_dir():
            for count in range(1, len(parts) + 1):
                yield from _file_of(folder.joinpath(*parts[:count]))
            return


def _file_of(place: Path) -> Iterator[Path]:
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            yield path
            return


def _imported(path: Path, folders: Sequence[Path]) -> Iterator[Path]:
    try:
        tree = _parsed(path.read_bytes())
    except (SyntaxError, ValueError, OSError):  # the import reports the error
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _resolve(alias.name, folders)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if node.level:
                package = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                yield from _file_of(package)
                for name in names:
                    yield from _file_of(package / name)
            elif node.module:
                yield from _resolve(node.module, folders)
                for name in names:
                    yield from _resolve(f"{node.module}.{name}", folders)


def _parsed(source: bytes) -> ast.Module:
    """Return a module's syntax tree.

    Before 3.11.8 and 3.12.2, CPython raises SystemError where another thread builds a tree at the same time
    (gh-106905). A lock does not help: every traceback that is formatted builds trees.
    """
    for _ in range(_PARSING_TRIES):
        with contextlib.suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)


def _name(path: Path, base_dir: Path | None) -> str:
    if base_dir is not None and path.resolve().is_relative_to(base_dir.resolve()):
        return str(path.resolve().relative_to(base_dir.resolve()))
    return "/".join(path.parts[-2:])


def is_model_folder(path: Path) -> bool:
    """Return whether a folder holds a model."""
    if not path.is_dir():
        return False
    return (path / "config.json").is_file() or is_adapter(path) or any(path.glob("*.gguf"))


class ModelDigests:
    """Computes digests of local models' files and caches those of unchanged files, because models are large.

    Args:
        memory: The JSON file of the cache, or ``None`` for no cache.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        known = read_json(memory) if memory is not None else None
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}

    def of(self, folder: Path) -> dict[str, str]:
        """Return the digests of the files that a model is loaded from, by file name; of adapters, the base's too."""
        own = {
            path.name: self._digest(path)
            for path in sorted(folder.iterdir())
            if path.is_file() and path.suffix in _MODEL_FILES and path.name not in _NO_MODEL_FILES
        }
        if is_adapter(folder) and (base := Path(base_of(folder)).expanduser()).is_dir():
            own |= {f"base/{name}": digest for name, digest in self.of(base).items()}
        return own

    def save(self) -> None:
        """Write the cache."""
        if self._memory is not None and self._known:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._memory, self._known)

    def _digest(self, path: Path) -> str:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._known.get(str(path.resolve()))
        if isinstance(known, list) and known[:3] == stamp:
            return str(known[3])
        digest = _digest(path)
        self._known[str(path.resolve())] = [*stamp, digest]
        return digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
