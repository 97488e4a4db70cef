"""Files of rows, JSONL or Parquet by their suffix, read and written a chunk at a time.

No file is held in memory, and an output appears whole at the end or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from guerdon.errors import DataError, InfrastructureError, MissingDependencyError, one_line

CHUNK_ROWS = 512
"""Rows that are read, judged and written at once: enough to keep every worker busy, little enough for progress."""

PARQUET = (".parquet", ".pq")

Located = tuple[str, dict[str, Any]]
"""A row, and where it stands: ``file.jsonl:3`` (lines from 1) or ``file.parquet[2]`` (rows from 0)."""

Write = Callable[[Sequence[Mapping[str, Any]]], None]


def read_rows(path: Path) -> Iterator[Located]:
    """The rows of a file.

    Raises:
        DataError: It cannot be read, or holds something that is no row.
        MissingDependencyError: It is Parquet, and pyarrow is not installed.
    """
    return _read_parquet(path) if path.suffix in PARQUET else _read_jsonl(path)


def count_rows(path: Path) -> int:
    """How many rows a file has; each of them is read, so that a broken one is known before any work is done.

    Raises:
        DataError: As :func:`read_rows`, or there are none, or the file can be read only once.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is no regular file, and rows are read twice. Write them to a file first.")
    count = sum(1 for _ in read_rows(path))
    if count == 0:
        raise DataError(f"{path} holds no rows.")
    return count


@contextmanager
def written_rows(path: Path | None, like: Path) -> Iterator[Write]:
    """Write rows to a file that appears whole, at the end; nothing appears if the work raises.

    Args:
        path: The file; nothing is written if it is ``None``.
        like: The file that the rows come from, each with ``reward`` and ``scores`` added: Parquet's schema is its.

    Raises:
        DataError: A row does not fit the format.
        InfrastructureError: The file cannot be written.
    """
    if path is None:
        yield lambda _rows: None
        return
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no regular file, and would be replaced by one. Name a file.")
    target = path.resolve()  # of a link, the file that it stands for
    partial = target.with_name(f".{target.name}.partial")
    file = _open_parquet(partial, like) if path.suffix in PARQUET else _open_jsonl(partial)
    try:
        with file as write:
            yield write
        partial.replace(target)
    except InfrastructureError:
        raise
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # where it could not even be opened, there is nothing to remove
            partial.unlink()


def _read_jsonl(path: Path) -> Iterator[Located]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path}:{number}", _row(f"{path}:{number}", line)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _row(where: str, text: bytes) -> dict[str, Any]:
    try:
        line = text.decode()
    except UnicodeDecodeError:
        raise DataError(
            f"{where}: is not UTF-8 text. Convert the file; a Parquet file's name ends in .parquet."
        ) from None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not valid JSON: {one_line(error)}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a row is a JSON object, not {line.strip()[:40]}.")
    return row


@contextmanager
def _open_jsonl(path: Path) -> Iterator[Write]:
    # A lone surrogate is written as the escape that JSON has for it.
    file: TextIO
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:

        def write(rows: Sequence[Mapping[str, Any]]) -> None:
            for row in rows:
                print(json.dumps(row, ensure_ascii=False, default=_as_json), file=file)

        yield write


def _as_json(value: Any) -> Any:
    """What Parquet has and JSON has not."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise DataError(
        f"a column holds a {type(value).__name__}, which JSON has no form for. Write to a file that ends in .parquet."
    )


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("a Parquet file", "pyarrow", "parquet") from error
    return pyarrow


def _read_parquet(path: Path) -> Iterator[Located]:
    pyarrow = _pyarrow()
    number = 0
    try:
        with path.open("rb") as raw, pyarrow.parquet.ParquetFile(raw) as file:
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                for row in batch.to_pylist():
                    yield f"{path}[{number}]", row
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as Parquet: {reason}") from None


@contextmanager
def _open_parquet(path: Path, like: Path) -> Iterator[Write]:
    pyarrow = _pyarrow()
    schema = _output_schema(like)
    with _fitting(like):  # an object without keys is a type of its own, which Parquet has no form for
        writer = pyarrow.parquet.ParquetWriter(path, schema)
    with writer:

        def write(rows: Sequence[Mapping[str, Any]]) -> None:
            flat = [{**row, "scores": json.dumps(row["scores"], ensure_ascii=True)} for row in rows]
            with _fitting(like):
                writer.write_table(pyarrow.Table.from_pylist(flat, schema=schema))

        yield write


def _output_schema(like: Path) -> Any:
    """The input's schema with the two new columns; a verdict's evidence has no fixed shape, so it is JSON text."""
    pyarrow = _pyarrow()
    if like.suffix in PARQUET:
        schema = pyarrow.parquet.read_schema(like)
    else:
        schema = pyarrow.schema([])
        rows = (row for _, row in read_rows(like))
        while chunk := list(islice(rows, CHUNK_ROWS)):
            with _fitting(like):
                found = pyarrow.Table.from_pylist(chunk).schema
                schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
    kept = [field for field in schema if field.name not in ("reward", "scores")]
    return pyarrow.schema([*kept, ("reward", pyarrow.float64()), ("scores", pyarrow.string())])


@contextmanager
def _fitting(like: Path) -> Iterator[None]:
    """What pyarrow says of values that it has no form for, as an error in the data."""
    try:
        yield
    except (_pyarrow().ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataError(
            f"{like} has a column that Parquet has no form for, such as values of different types, objects "
            f"without keys or integers of more than 64 bits: {one_line(error).rstrip('.')}. "
            "Write to a file that ends in .jsonl."
        ) from None
