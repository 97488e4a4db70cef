"""``files``: rows from JSONL, JSON, CSV, TSV, text and Parquet files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from guerdon.errors import DataError
from guerdon.files import format_of, read_rows
from guerdon_plugins.shared.difficulty import Bands
from guerdon_plugins.shared.rows import RowShape


class Files:
    """Reads the rows of one or more files, in the order of their names.

    The suffix, in any case, determines the format: JSONL (an object a line; ``.jsonl``, ``.ndjson``), JSON (a list of
    objects), CSV and TSV (a header line, all values are strings), text (``.txt``: each line is the column ``text``) and
    Parquet (with the extra ``parquet``). A second suffix, ``.gz``, ``.bz2``, ``.xz`` or ``.zst``, determines the
    compression. Text is UTF-8.

    Args:
        path: A file or a glob pattern (``data/**/*.jsonl``), or a list of them, relative to the manifest's folder.
        columns: New names for columns: ``{prompt: question, reference: reward_model.ground_truth}`` reads the column
            ``question`` as ``prompt``, and a key of the column ``reward_model`` as ``reference``. Other columns keep
            their names.
        template: The prompt's text, with columns in braces: ``"Question: {prompt}"``. Of a conversation, it replaces
            the last message, which must be the user's.
        system: A system message before the prompt, which makes the prompt a conversation.
        chat: Whether the prompt becomes a conversation's user message, for models with a chat template.
        difficulty: The bands of pass rates to draw rows from, by the column ``pass_rate`` that ``guerdon profile``
            writes: ``[{from: 0.1, to: 0.5, weight: 2}, {from: 0.5, to: 0.9, weight: 1}]``. Both ends are inside, and a
            row belongs to the first band that it is in. Rows outside are left out. With weights, which are shares of
            the rows, a band that is small for its share is repeated.
        base_dir: The folder that relative paths start from; given by the engine.

    Raises:
        ValueError: A path's suffix is not that of a format, or the bands contradict themselves.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        columns: Mapping[str, str] | None = None,
        template: str | None = None,
        system: str | None = None,
        chat: bool = False,
        difficulty: Sequence[Mapping[Literal["from", "to", "weight"], float]] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        self._patterns = [path] if isinstance(path, str) else list(path)
        for pattern in self._patterns:
            format_of(pattern)
        self._shape = RowShape(columns or {}, template, system, chat)
        self._bands = None if difficulty is None else Bands.of(difficulty)
        self._base_dir = base_dir or Path.cwd()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._bands is None:
            yield from (row for _, row in self._rows())
        else:
            yield from self._bands.drawn(self._rows)

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in self._paths():
            count = 0
            for where, record in read_rows(path, surrogates=False):
                yield where, self._shape(record, where)
                count += 1
            if count == 0:
                raise DataError(f"{path}: the file has no rows.")

    def fingerprint(self) -> list[str]:
        """Return the files' SHA-256 checksums, so that a run detects changes."""
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
