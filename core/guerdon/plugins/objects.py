"""Load an object of another library that a plugin's param names, for bridges to such libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guerdon.errors import PluginNotFoundError
from guerdon.plugins.discovery import SCORERS, find_plugin, load_plugin

__all__ = [
    "load_object",
]


def load_object(name: str, base_dir: Path | None = None) -> Any:
    """Import an object by its name, as ``use`` in a manifest imports one.

    Args:
        name: An import string ``package.module:name``, or a file ``./file.py:name``.
        base_dir: The folder that a file's relative path starts from; the current one by default.

    Raises:
        PluginNotFoundError: It is neither an import string nor a file that exists.
        PluginLoadError: It does not import.
    """
    if ":" not in name:
        raise PluginNotFoundError(f"'{name}' names no object. Write package.module:NAME or ./file.py:NAME.")
    return load_plugin(find_plugin(name, SCORERS, base_dir), base_dir)
