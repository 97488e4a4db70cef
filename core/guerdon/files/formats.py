"""Determine a file's format and compression from its name."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import NamedTuple

from guerdon.errors import DataError

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The format for each suffix, in lower case."""

PARQUET = "parquet"
"""The only format that is not text."""

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes of compressions, which may follow a format's suffix."""


class Format(NamedTuple):
    """A file's format and compression."""

    name: str
    """One of the values of ``FORMATS``."""
    compression: str
    """One of ``COMPRESSIONS``, or empty."""


def format_of(path: str | PurePath) -> Format:
    """Return a file's format and compression from its suffixes.

    Raises:
        DataError: The name has no suffix of a format.
    """
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    if not suffixes or suffixes[-1] not in FORMATS:
        raise DataError(
            f"'{path}' does not say what it holds: a file's name must end in {', '.join(FORMATS)}, "
            f"perhaps followed by {', '.join(COMPRESSIONS)}."
        )
    return Format(FORMATS[suffixes[-1]], compression)


def readable_format(path: Path) -> Format:
    """Return the format of an input file.

    Raises:
        DataError: There is no such file, it is a directory, or its name has no suffix of a format.
    """
    try:
        return format_of(path)
    except DataError:
        if path.exists() and not path.is_dir():
            raise
    reason = "Is a directory" if path.is_dir() else "No such file or directory"
    raise DataError(f"{path} cannot be read: {reason}.")
