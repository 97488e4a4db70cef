"""Open compressed files, and replace output files atomically."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from guerdon.errors import InfrastructureError, library_of

READ_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""The errors of reading a file that is missing, truncated or of another format."""


def open_bytes(path: Path, mode: Literal["rb", "wb"], compression: str) -> BinaryIO:
    """Open a file for its decompressed bytes.

    Raises:
        OSError: It cannot be opened.
        MissingDependencyError: It is compressed by zstd, and pyarrow is not installed.
    """
    match compression:
        case ".gz":
            return cast(BinaryIO, gzip.open(path, mode))
        case ".bz2":
            return cast(BinaryIO, bz2.open(path, mode))
        case ".xz":
            return cast(BinaryIO, lzma.open(path, mode))
        case ".zst":
            return _open_zstd(path, mode)
    return path.open(mode)


def _open_zstd(path: Path, mode: Literal["rb", "wb"]) -> BinaryIO:
    with library_of(f"{path.name}, which is compressed by zstd,", extra="parquet"):
        import pyarrow
    opened: Any
    if mode == "rb":
        opened = io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    else:
        opened = pyarrow.output_stream(str(path), compression="zstd")
    return cast(BinaryIO, opened)


@contextmanager
def replaced(path: Path, fix: str = "") -> Iterator[Path]:
    """Yield the name of a temporary file, which replaces ``path`` when the block ends.

    ``path`` is therefore always complete, even after a power cut. If the block raises, ``path`` does not change.

    Args:
        path: The file.
        fix: The fix to suggest if the file cannot be written, as a sentence.

    Raises:
        InfrastructureError: The file cannot be written.
    """
    target = path.resolve()  # the target, if it is a link
    partial = target.with_name(f".{target.name}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    except InfrastructureError:
        raise
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error.strerror or error}. {fix}".rstrip()
        ) from error
    finally:
        with suppress(OSError):  # the temporary file may not exist
            partial.unlink()
