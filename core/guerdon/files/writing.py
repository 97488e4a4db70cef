"""Write rows in the format that the output's name implies."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeAlias

from guerdon.errors import DataError, UsageError, one_line
from guerdon.files.formats import PARQUET, Format, format_of
from guerdon.files.reading import CHUNK_ROWS, Located, pyarrow_with_parquet, read_rows
from guerdon.files.streams import open_bytes, replaced

Write: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], None]
"""Write the next rows to the output."""

ADDED = ("reward", "scores")
"""The columns that scoring adds to each row."""


@contextmanager
def written_rows(path: Path | None, like: Path, like_format: Format | None = None) -> Iterator[Write]:
    """Yield a function that writes rows. The file appears, complete, when the block ends.

    If the block raises, no file appears.

    Args:
        path: The file, whose suffix implies the format. If ``None``, nothing is written.
        like: The input file. Each row is one of its rows with ``reward`` and ``scores`` added, so a table's columns are
            known before the first row is written.
        like_format: The input's format; by default the one that its name implies.

    Raises:
        DataError: A row does not fit the format.
        InfrastructureError: The file cannot be written.
        UsageError: The file is the input.
    """
    if path is None:
        yield lambda _rows: None
        return
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file, and would be replaced by one. Name a file.")
    if path.exists() and like.exists() and path.samefile(like):
        raise UsageError(f"{path} is the input itself, which would be replaced. Name another file with -o.")
    kind = format_of(path)
    rows = _Input(like, like_format or format_of(like))
    with replaced(path) as partial, _OPENERS[kind.name](partial, rows, kind.compression) as write:
        yield write


class _Input:
    """The input file. For Parquet output, its schema is reused with `reward` and `scores` appended."""

    def __init__(self, path: Path, kind: Format) -> None:
        self.path = path
        self.kind = kind

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        rows: Iterator[Located] = read_rows(self.path, like=self.kind)
        while chunk := [row for _, row in islice(rows, CHUNK_ROWS)]:
            yield chunk


@contextmanager
def _open_text(path: Path, compression: str) -> Iterator[TextIO]:
    # A lone surrogate is written as the escape that JSON has for it.
    with (
        open_bytes(path, "wb", compression) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextmanager
def _open_jsonl(path: Path, like: _Input, compression: str) -> Iterator[Write]:
    del like
    with _open_text(path, compression) as file:
        yield lambda rows: file.writelines(f"{json_text(row)}\n" for row in rows)


@contextmanager
def _open_json(path: Path, like: _Input, compression: str) -> Iterator[Write]:
    del like
    openings = iter(["[\n"])

    def write(rows: Sequence[Mapping[str, Any]]) -> None:
        file.writelines(next(openings, ",\n") + json_text(row) for row in rows)

    with _open_text(path, compression) as file:
        yield write
        file.write(next(openings, "\n") + "]\n")


@contextmanager
def _open_csv(path: Path, like: _Input, compression: str, delimiter: str = ",") -> Iterator[Write]:
    names = {name: None for chunk in like.chunks() for row in chunk for name in row}
    header = [*(name for name in names if name not in ADDED), *ADDED]
    with _open_text(path, compression) as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        yield lambda rows: writer.writerows([_cell(row.get(name)) for name in header] for row in rows)


def _open_tsv(path: Path, like: _Input, compression: str) -> AbstractContextManager[Write]:
    return _open_csv(path, like, compression, "\t")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value)


def _refuse_text(path: Path, like: _Input, compression: str) -> NoReturn:
    del like, compression
    raise UsageError(
        f"{path.name.removesuffix('.partial')[1:]} is text, which has no columns. Write to a .jsonl file."
    )


def json_text(value: Any) -> str:
    """Return a row or a value as one line of JSON. NaN and infinities become null.

    Raises:
        DataError: It holds something that has no JSON form.
    """
    try:
        return json.dumps(value, ensure_ascii=False, default=_as_json, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_as_json)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_json(value: Any) -> Any:
    """Convert a value that Parquet supports and JSON does not."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise DataError(
        f"a column holds a {type(value).__name__}, which JSON has no form for. Write to a file that ends in .parquet."
    )


@contextmanager
def _open_parquet(path: Path, like: _Input, compression: str) -> Iterator[Write]:
    if compression:
        raise UsageError(
            f"Parquet is compressed by itself. Write to a file that ends in .parquet, not {compression}."
        )
    pyarrow = pyarrow_with_parquet()
    schema = _output_schema(like)
    with _fitting(like.path):  # Parquet has no form for a struct type without fields
        writer = pyarrow.parquet.ParquetWriter(path, schema)
    with writer:

        def write(rows: Sequence[Mapping[str, Any]]) -> None:
            flat = [{**row, "scores": json.dumps(row["scores"], ensure_ascii=True)} for row in rows]
            with _fitting(like.path):
                writer.write_table(pyarrow.Table.from_pylist(flat, schema=schema))

        yield write


_OPENERS: dict[str, Callable[[Path, _Input, str], AbstractContextManager[Write]]] = {
    "jsonl": _open_jsonl,
    "json": _open_json,
    "csv": _open_csv,
    "tsv": _open_tsv,
    "text": _refuse_text,
    PARQUET: _open_parquet,
}


def _output_schema(like: _Input) -> Any:
    """Return the input's schema with the new columns.

    Scores are JSON text, because their metadata has no fixed shape.
    """
    pyarrow = pyarrow_with_parquet()
    if like.kind == Format(PARQUET, ""):
        schema = pyarrow.parquet.read_schema(like.path)
    else:
        schema = pyarrow.schema([])
        for chunk in like.chunks():
            with _fitting(like.path):
                found = pyarrow.Table.from_pylist(chunk).schema
                schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
    kept = [field for field in schema if field.name not in ADDED]
    return pyarrow.schema([*kept, ("reward", pyarrow.float64()), ("scores", pyarrow.string())])


@contextmanager
def _fitting(like: Path) -> Iterator[None]:
    """Raise pyarrow's conversion errors as errors in the data."""
    try:
        yield
    except (pyarrow_with_parquet().ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataError(
            f"{like} has a column that Parquet has no form for, such as values of different types, objects "
            f"without keys or integers of more than 64 bits: {one_line(error).rstrip('.')}. "
            "Write to a file that ends in .jsonl."
        ) from None
