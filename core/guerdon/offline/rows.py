"""The input rows of commands: files, standard input or pipes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guerdon.errors import DataError
from guerdon.files import (
    CHUNK_ROWS,
    Format,
    Located,
    format_of,
    read_rows,
    readable_format,
    written_rows,
)

__all__ = ["CHUNK_ROWS", "InputRows", "count_rows", "opened_input", "read_rows", "written_rows"]

STDIN = "-"


@dataclass(frozen=True, slots=True)
class InputRows:
    """Rows that can be read more than once."""

    path: Path
    kind: Format
    name: str
    """The name in errors and tables."""

    def read(self) -> Iterator[Located]:
        """Return the rows.

        Raises:
            DataError: They cannot be read.
        """
        return read_rows(self.path, like=self.kind, name=self.name)

    def count(self) -> int:
        """Return the number of rows. All rows are read, so that a broken one is reported before any work.

        Raises:
            DataError: They cannot be read, or there are none.
        """
        count = sum(1 for _ in self.read())
        if count == 0:
            raise DataError(f"{self.name} holds no rows.")
        return count


@contextmanager
def opened_input(path: Path) -> Iterator[InputRows]:
    """Yield the rows of a file. ``-`` is standard input, which must be JSONL, as must a pipe.

    Raises:
        DataError: The file's name implies no format.
    """
    piped = str(path) == STDIN
    if not piped and not (path.exists() and not path.is_file() and not path.is_dir()):
        yield InputRows(path, readable_format(path), str(path))
        return
    with tempfile.TemporaryDirectory(prefix="guerdon-") as folder:
        copy = Path(folder, "rows.jsonl")  # rows are read twice, and a pipe can be read only once
        try:
            with copy.open("wb") as file, sys.stdin.buffer if piped else path.open("rb") as pipe:
                shutil.copyfileobj(pipe, file)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
        yield InputRows(copy, format_of(copy), "standard input" if piped else str(path))


def count_rows(path: Path) -> int:
    """Return the number of rows in a file.

    Raises:
        DataError: They cannot be read, there are none, or they can be read only once.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is not a regular file, and rows are read twice. Write them to a file first.")
    return InputRows(path, readable_format(path), str(path)).count()
