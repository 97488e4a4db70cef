"""Where models may come from, and the dtypes to load them in. Imports neither torch nor transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE_PREFIX = "package:"
"""Marks a path as the folder of an installed Python package, which may carry a model's files."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
"""The dtypes that a model may be loaded in."""


def local_folder(base_dir: Path, path: str) -> Path | None:
    """Return the folder of a model's path if it is local, even if the folder is missing.

    The result is ``None`` for a package that is not installed.

    Args:
        base_dir: The folder that relative paths start from.
        path: A model's path, as a manifest has it.
    """
    if not path.startswith(PACKAGE_PREFIX):
        return base_dir / path
    try:
        spec = importlib.util.find_spec(path.removeprefix(PACKAGE_PREFIX))
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None
