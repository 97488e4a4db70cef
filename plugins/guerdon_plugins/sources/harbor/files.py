"""Read the files of a task folder."""

from __future__ import annotations

from pathlib import Path

from guerdon.errors import DataError


def text_of(path: Path) -> str:
    """Return a file's text.

    Raises:
        DataError: It does not exist, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name} is not text, and a row's files are. Put it into the image") from None


def texts_of(folder: Path, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the texts of a folder's files, by path, in order.

    Args:
        folder: The folder.
        without: The names of its entries that are left out.

    Raises:
        DataError: A file is not text.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    inside = {path.relative_to(folder): path for path in paths}
    return {str(name): text_of(path) for name, path in inside.items() if name.parts[0] not in without}
