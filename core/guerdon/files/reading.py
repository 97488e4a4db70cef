"""Read rows, each with the place that it comes from."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from guerdon.errors import DataError, library_of, one_line
from guerdon.files.formats import Format, readable_format
from guerdon.files.streams import READ_ERRORS, open_bytes

CHUNK_ROWS = 512
"""Rows that are read, judged and written at once: enough to use every worker, few enough to show progress."""

Located: TypeAlias = tuple[str, dict[str, Any]]
"""A row, and its place: ``file.jsonl:3`` (lines from 1) or ``file.parquet[2]`` (rows from 0)."""


def read_rows(
    path: Path, *, like: Format | None = None, name: str | None = None, surrogates: bool = True
) -> Iterator[Located]:
    """Return the rows of a file, in order.

    Text is UTF-8, with or without a byte order mark. A CSV's or TSV's values are texts. A line of a text file is a row
    with the column ``text``.

    Args:
        path: The file.
        like: Its format; by default the one that its name implies.
        name: What errors call the file; by default its path.
        surrogates: Whether rows may hold lone surrogates, which can be written only as escapes.

    Raises:
        DataError: It cannot be read, or holds something that is not a row.
        MissingDependencyError: Its format needs pyarrow, which is not installed.
    """
    kind = like or readable_format(path)
    for where, row in _READERS[kind.name](_Source(path, name or str(path), kind.compression)):
        if not surrogates and _has_surrogate(row):
            raise DataError(f"{where}: half of an escaped character (\\ud800 to \\udfff) is alone.")
        yield where, row


class _Source:
    """A file to read."""

    def __init__(self, path: Path, name: str, compression: str) -> None:
        self.path = path
        self.name = name
        self.compression = compression

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines with their numbers, counted from 1."""
        try:
            with open_bytes(self.path, "rb", self.compression) as file:
                for number, line in enumerate(file, start=1):
                    yield number, self._decoded(line, number)
        except READ_ERRORS as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: BaseException) -> DataError:
        """Return the error that says why the file cannot be read."""
        reason = getattr(error, "strerror", None) or one_line(error)
        return DataError(f"{self.name} cannot be read: {str(reason).rstrip('.')}.")

    def _decoded(self, line: bytes, number: int) -> str:
        try:
            return line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.name}:{number}: is not UTF-8: byte {error.start + 1} of the line is {line[error.start]:#04x}. "
                "Convert the file, for instance with iconv; the name of a Parquet file ends in .parquet, of a "
                "compressed one in .gz, .bz2, .xz or .zst."
            ) from error


def _read_jsonl(source: _Source) -> Iterator[Located]:
    for number, line in source.lines():
        if line.strip():
            where = f"{source.name}:{number}"
            try:
                value = _parsed(line.strip(), source.name, number)
            except DataError as error:
                if number > 1 or line.lstrip().startswith("{"):
                    raise
                raise DataError(
                    f"{error} JSONL has an object on each line; the name of a CSV file ends in .csv."
                ) from error
            yield where, _object(value, where)


def _read_json(source: _Source) -> Iterator[Located]:
    values = _parsed("".join(line for _, line in source.lines()), source.name, 1)
    if not isinstance(values, list):
        raise DataError(
            f"{source.name}: it holds {_kind(values)}, not a list of objects. Is it JSONL? Then name it so."
        )
    for index, value in enumerate(values):
        yield f"{source.name}[{index}]", _object(value, f"{source.name}[{index}]")


def _read_text(source: _Source) -> Iterator[Located]:
    for number, line in source.lines():
        if line.strip():
            yield f"{source.name}:{number}", {"text": line.rstrip("\r\n")}


def _read_csv(source: _Source, delimiter: str = ",") -> Iterator[Located]:
    csv.field_size_limit(2**31 - 1)  # a row's test cases may exceed the default of 128 KiB
    reader = csv.reader((line for _, line in source.lines()), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise DataError(f"{source.name}:1: a column's name is twice in the header: {', '.join(header)}.")
        for values in reader:
            if values:
                where = f"{source.name}:{reader.line_num}"
                if len(values) != len(header):
                    raise DataError(
                        f"{where}: {len(values)} values for {len(header)} columns. Is a quote missing?"
                    )
                yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise DataError(f"{source.name}:{reader.line_num}: is not valid CSV: {error}.") from error


def _read_tsv(source: _Source) -> Iterator[Located]:
    return _read_csv(source, "\t")


def pyarrow_with_parquet() -> Any:
    """Return pyarrow.

    Raises:
        MissingDependencyError: It is not installed.
    """
    with library_of("a Parquet file", extra="parquet"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow


def _read_parquet(source: _Source) -> Iterator[Located]:
    pyarrow = pyarrow_with_parquet()
    number = 0
    try:
        with open_bytes(source.path, "rb", source.compression) as raw:
            seekable = io.BytesIO(raw.read()) if source.compression else raw
            with pyarrow.parquet.ParquetFile(seekable) as file:
                for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                    for row in batch.to_pylist():
                        yield f"{source.name}[{number}]", row
                        number += 1
    except (pyarrow.ArrowException, *READ_ERRORS) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"{source.name} cannot be read as Parquet: {reason}") from error


_READERS = {
    "jsonl": _read_jsonl,
    "json": _read_json,
    "csv": _read_csv,
    "tsv": _read_tsv,
    "text": _read_text,
    "parquet": _read_parquet,
}


def _parsed(text: str, name: str, first_line: int) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise DataError(
            f"{name}:{first_line}: {constant} is not a JSON value. Write null, or leave the row out."
        )

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{name}:{line}: is not valid JSON: {error.msg} at column {error.colno}.") from error
    except DataError:
        raise
    except RecursionError:
        raise DataError(f"{name}:{first_line}: is nested too deeply to be read as JSON.") from None
    except ValueError as error:  # a number with too many digits
        raise DataError(f"{name}:{first_line}: is not valid JSON: {one_line(error)}.") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row is a JSON object, not {_kind(value)}.")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


_SURROGATE = re.compile("[\ud800-\udfff]")
"""Lone surrogates: Python reads them from JSON's escapes and cannot encode them."""


def _has_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() and _SURROGATE.search(value) is not None
    if isinstance(value, Mapping):
        return any(map(_has_surrogate, value)) or any(map(_has_surrogate, value.values()))
    return isinstance(value, list) and any(map(_has_surrogate, value))
