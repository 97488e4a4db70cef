"""``files``: rows from JSONL, JSON, CSV and Parquet files."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from guerdon.errors import DataError, MissingDependencyError
from guerdon_plugins.rows import RowShape

_Records = Iterator[tuple[str, Mapping[str, Any]]]


class Files:
    """Reads the rows of one or more files, in the order of their names.

    JSONL (an object a line; ``.jsonl``, ``.ndjson``), JSON (a list of objects), CSV (a header line, all values are
    strings) and Parquet (with the extra ``parquet``), told by the suffix. Text is UTF-8.

    Args:
        path: A file or a glob pattern (``data/**/*.jsonl``), or a list of them, relative to the manifest's folder.
        columns: New names for columns: ``{prompt: question, reference: answer}`` reads the column ``question`` as
            ``prompt``. Other columns keep theirs.
        template: The prompt's text, with columns in braces: ``"Question: {prompt}"``.
        system: A system message before the prompt, which makes the prompt a conversation.
        chat: Whether the prompt becomes a conversation's user message, for models with a chat template.
        base_dir: The folder that relative paths start from; given by the engine.

    Raises:
        ValueError: A path has a suffix that none of the formats has.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        columns: Mapping[str, str] | None = None,
        template: str | None = None,
        system: str | None = None,
        chat: bool = False,
        base_dir: Path | None = None,
    ) -> None:
        self._patterns = [path] if isinstance(path, str) else list(path)
        for pattern in self._patterns:
            if Path(pattern).suffix not in _READERS:
                raise ValueError(f"path is '{pattern}'; a file's name must end in {', '.join(_READERS)}")
        self._shape = RowShape(columns or {}, template, system, chat)
        self._base_dir = base_dir or Path.cwd()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for path in self._paths():
            count = 0
            for where, record in _READERS[path.suffix](path):
                yield self._shape(record, where)
                count += 1
            if count == 0:
                raise DataError(f"{path}: the file has no rows.")

    def fingerprint(self) -> list[str]:
        """The files' SHA-256 checksums, so that a run notices when they change."""
        return [_checksum(path) for path in self._paths()]

    def _paths(self) -> list[Path]:
        found: list[Path] = []
        for pattern in self._patterns:
            path = (self._base_dir / Path(pattern).expanduser()).absolute()
            root = Path(path.anchor)
            matches = [path] if path.exists() else sorted(root.glob(str(path.relative_to(root))))
            if not matches:
                raise DataError(
                    f"no file matches '{pattern}' in {self._base_dir}. Check the source's 'path'."
                )
            found += matches
        return found


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """A text file's lines with their numbers, from 1."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}:{number}: byte {error.start + 1} of the line ({line[error.start]:#04x}) is not UTF-8. "
                        "Convert the file, for instance with iconv."
                    ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _read_jsonl(path: Path) -> _Records:
    for number, line in _lines(path):
        if line.strip():
            yield f"{path}:{number}", _object(_parse(line, path, number), f"{path}:{number}")


def _read_json(path: Path) -> _Records:
    values = _parse("".join(line for _, line in _lines(path)), path, 1)
    if not isinstance(values, list):
        raise DataError(
            f"{path}: it holds {_kind(values)}, not a list of objects. Is it JSONL? Then name it so."
        )
    for index, value in enumerate(values):
        yield f"{path}[{index}]", _object(value, f"{path}[{index}]")


def _read_csv(path: Path) -> _Records:
    csv.field_size_limit(2**31 - 1)  # a row's test cases may well exceed the default of 128 KiB
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise DataError(f"{path}:1: a column's name stands twice in the header: {', '.join(header)}.")
        for values in reader:
            if not values:
                continue
            where = f"{path}:{reader.line_num}"
            if len(values) != len(header):
                raise DataError(
                    f"{where}: {len(values)} values for {len(header)} columns. Is a quote missing?"
                )
            yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: this is no CSV: {error}.") from error


def _read_parquet(path: Path) -> _Records:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("source 'files' with a Parquet file", "pyarrow", "parquet") from error
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            for record in batch.to_pylist():
                yield f"{path}[{number}]", record
                number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


_READERS: dict[str, Callable[[Path], _Records]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


_SURROGATE = re.compile("[\ud800-\udfff]")
"""Python reads them from JSON's escapes and can write them nowhere."""


def _parse(text: str, path: Path, first_line: int) -> Any:
    def no_number(name: str) -> NoReturn:
        raise DataError(f"{path}:{first_line}: {name} is no JSON value. Write null, or leave the row out.")

    try:
        value = json.loads(text.rstrip(), parse_constant=no_number)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{path}:{line}: this is no JSON: {error.msg} at column {error.colno}.") from error
    except DataError:
        raise
    except (RecursionError, ValueError) as error:  # nested too deeply; a number with too many digits
        raise DataError(f"{path}:{first_line}: the JSON cannot be read: {error}.") from error
    if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise DataError(
            f"{path}:{first_line}: half of an escaped character (\\ud800 to \\udfff) stands alone."
        )
    return value


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row is {_kind(value)}, not an object with columns.")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
