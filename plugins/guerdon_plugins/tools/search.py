"""Search in a local corpus by BM25 (Robertson and Zaragoza 2009), with the library bm25s."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.errors import DataError, MissingDependencyError
from guerdon.files import format_of, read_rows

_PASSAGE_CHARACTERS = 1_000
"""The most characters of one passage that the model reads."""


class Search:
    """Searches a corpus of passages by words.

    Args:
        corpus: A file of passages (JSONL, CSV, text…), or a list of them, relative to the manifest's folder.
        text: The column that holds a passage.
        title: A column to show above each passage.
        results: The most passages of an answer.
        base_dir: The folder that relative paths start from; given by the engine.

    Raises:
        ValueError: ``results`` is below 1, or a path's suffix is not that of a format.
    """

    max_workers = 4
    timeout_s = 10.0

    def __init__(
        self,
        corpus: str | Sequence[str],
        text: str = "text",
        title: str | None = None,
        results: int = 3,
        base_dir: Path | None = None,
    ) -> None:
        if results < 1:
            raise ValueError(f"results is {results}: give 1 or more.")
        names = [corpus] if isinstance(corpus, str) else list(corpus)
        for name in names:
            format_of(name)
        self._paths = [(base_dir or Path.cwd()) / name for name in names]
        self._text = text
        self._title = title
        self._results = results

    def preflight(self) -> None:
        """Check that the library is installed and the corpus can be read."""
        _library()
        self._read()

    def fingerprint(self) -> list[str]:
        """Return the files' SHA-256 checksums, so that a run detects changes."""
        return [hashlib.sha256(self._found(path).read_bytes()).hexdigest() for path in self._paths]

    def setup(self) -> None:
        """Read the corpus and build the index."""
        library = _library()
        self._passages = self._read()
        self._index = library.BM25()
        words = [f"{title} {text}" for title, text in self._passages]
        self._index.index(library.tokenize(words, show_progress=False), show_progress=False)

    def __call__(self, query: str) -> str:
        """Search the corpus for passages.

        Args:
            query: Words to search for.
        """
        if not isinstance(query, str):
            raise TypeError("the query is not text")
        tokens = _library().tokenize([query[:1_000]], show_progress=False)
        count = min(self._results, len(self._passages))
        found, scores = self._index.retrieve(tokens, k=count, show_progress=False)
        shown = [
            self._shown(number, int(place))
            for number, (place, score) in enumerate(zip(found[0], scores[0], strict=True), start=1)
            if score > 0
        ]
        return "\n\n".join(shown) or "nothing found"

    def _shown(self, number: int, place: int) -> str:
        title, text = self._passages[place]
        return (
            f"[{number}] {title}\n{text[:_PASSAGE_CHARACTERS]}"
            if title
            else f"[{number}] {text[:_PASSAGE_CHARACTERS]}"
        )

    def _read(self) -> list[tuple[str, str]]:
        passages = []
        for path in self._paths:
            for where, row in read_rows(self._found(path)):
                if not isinstance(row.get(self._text), str):
                    raise DataError(
                        f"{where}: has no text in the column '{self._text}', only {', '.join(row) or 'nothing'}. "
                        "Name the column of the passages by the param 'text'."
                    )
                passages.append((str(row.get(self._title, "")) if self._title else "", row[self._text]))
        if not passages:
            raise DataError(f"{', '.join(map(str, self._paths))}: the corpus has no passages.")
        return passages

    def _found(self, path: Path) -> Path:
        if not path.is_file():
            raise DataError(f"the corpus {path} is not a file. Check the tool's param 'corpus'.")
        return path


def _library() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise MissingDependencyError("the tool 'search'", "bm25s", "tools") from error
    return bm25s
