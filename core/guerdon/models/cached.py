"""Models that are converted once and cached."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["cached_model"]


def cached_model(kind: str, name: str, convert: Callable[[Path], None]) -> Path:
    """Return the folder of a converted model.

    Args:
        kind: The kind of the conversion, a folder of the cache.
        name: The model's folder, whose name tells its content.
        convert: Writes the model into a folder, if it is not cached.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guerdon" / kind
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
    try:
        convert(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
