"""Import plugin files and the modules next to them, without adding a folder to ``sys.path``.

A folder on ``sys.path`` would make its subfolders importable: a folder ``wandb`` would replace the library. An edited
file is imported again, in the same process too, together with the modules of its folder.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "guerdon_file_"

_known: dict[str, tuple[Path, str]] = {}
"""The modules imported from such folders, by name: their files and the imported content."""


class _Uncached(SourceFileLoader):
    """Compiles the file itself: Python takes a cached one for current after an edit in the same second."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError(f"{path!r} is never cached")


class _FolderFinder:
    """Finds the modules of one folder, after all installed ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:
            return None
        spec = PathFinder.find_spec(name, [str(self.folder)])
        if spec is None or not spec.has_location or spec.origin is None:
            return None
        _known[name] = Path(spec.origin), _digest(Path(spec.origin))
        spec.loader = _Uncached(name, spec.origin)
        return spec


def import_from(folder: Path) -> None:
    """Make the modules of a folder importable, for this call's importer and later for the modules that it imported."""
    folder = folder.resolve()
    _forget_changed(folder)
    finders = [finder for finder in sys.meta_path if isinstance(finder, _FolderFinder)]
    if finders and finders[0].folder == folder:
        return
    for finder in finders:
        if finder.folder == folder:
            sys.meta_path.remove(finder)
        _forget_hidden(finder.folder, folder)
    after_installed = next(
        (place for place, finder in enumerate(sys.meta_path) if isinstance(finder, _FolderFinder)),
        len(sys.meta_path),
    )
    sys.meta_path.insert(after_installed, _FolderFinder(folder))


def import_file(path: Path) -> ModuleType:
    """Import a Python file as a separate module. Files with the same content share one module."""
    content = path.read_bytes()
    digest = hashlib.sha256(os.fsencode(path) + b"\0" + content).hexdigest()[:12]
    name = f"{_PREFIX}{digest}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    _known[name] = path.resolve(), hashlib.sha256(content).hexdigest()
    return module


def _forget_changed(folder: Path) -> None:
    """Forget all modules of a folder if one of them changed, because the others may hold its old objects."""
    if not _known:
        return
    packages = {name for name, (file, _) in _known.items() if file.name == "__init__.py"}
    for name in list(sys.modules) if packages else ():
        if name not in _known and name.partition(".")[0] in packages:
            file = getattr(sys.modules[name], "__file__", None)
            if isinstance(file, str):
                _known[name] = Path(file), _digest(Path(file))
    local = {name: noted for name, noted in _known.items() if _is_in(noted[0], folder)}
    if any(_digest(file) != content for file, content in local.values()):
        _drop(local)
        importlib.invalidate_caches()


def _forget_hidden(folder: Path, new: Path) -> None:
    """Forget the modules of a folder that would shadow modules of the same name in a new folder."""
    tops = {name: name.partition(".")[0] for name, (file, _) in _known.items() if _is_in(file, folder)}
    _drop(
        name
        for name, top in tops.items()
        if (new / f"{top}.py").exists() or (new / top / "__init__.py").exists()
    )


def _is_in(file: Path, folder: Path) -> bool:
    # Every load of a plugin asks this of every file, and `is_relative_to` is slow.
    return str(file).startswith(f"{folder}{os.sep}")


def _drop(names: Iterable[str]) -> None:
    for name in list(names):
        del _known[name]
        sys.modules.pop(name, None)


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
