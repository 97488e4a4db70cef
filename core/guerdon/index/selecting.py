"""Select rollouts by filters: read the columns that the filters need, a chunk of lines at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from guerdon.index.columns import CHUNK, column_kind
from guerdon.index.filters import Filters
from guerdon.index.records import OUTCOMES, searchable
from guerdon.index.rows import Names
from guerdon.index.store import LINES

Numbers: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]


class Chunk:
    """Some consecutive lines of a stage.

    Args:
        db: The index.
        stage: The stage's number.
        number: The chunk's number in the stage.
    """

    def __init__(self, db: sqlite3.Connection, stage: int, number: int) -> None:
        self.stage = stage
        self.first = stage * LINES + number * CHUNK + 1
        """The id of the first line."""
        self._db = db
        self._number = number
        self._read: dict[str, Numbers] = {}

    @property
    def ids(self) -> Numbers:
        """Return the id of each line."""
        return np.arange(self.first, self.first + len(self["prompt"]))

    def __getitem__(self, name: str) -> Numbers:
        """Return a column's number of each line."""
        if name not in self._read:
            kind, missing = column_kind(name)
            row = self._db.execute(
                "select data from columns where stage = ? and chunk = ? and name = ?",
                [self.stage, self._number, name],
            ).fetchone()
            self._read[name] = (
                np.frombuffer(row[0], kind) if row else np.full(len(self["prompt"]), missing, kind)
            )
        return self._read[name]


Test: TypeAlias = Callable[[Chunk], Mask]
"""Returns which lines of a chunk pass."""


def select(
    db: sqlite3.Connection, names: Names, filters: Filters
) -> Iterator[tuple[Chunk, NDArray[np.intp]]]:
    """Yield the chunks that have rollouts which the filters let through, with the places of these in the chunk."""
    tests = [*_tests(db, names, filters)]
    for stage in stages_of(names, filters):
        chunks = db.execute(
            "select distinct chunk from columns where stage = ? order by chunk", [stage]
        ).fetchall()
        for (number,) in chunks:
            chunk = Chunk(db, stage, number)
            passed = chunk["prompt"] != 0
            for test in tests:
                if not passed.any():
                    break
                passed &= test(chunk)
            places = np.flatnonzero(passed)
            if len(places):
                yield chunk, places


def stages_of(names: Names, filters: Filters) -> list[int]:
    """Return the numbers of the stages that the filters let through."""
    return [number for name, number in names.stages.items() if filters.stage in ("", name)]


def _tests(db: sqlite3.Connection, names: Names, filters: Filters) -> Iterator[Test]:
    """Yield the test of each filter but the stage's; those of words last, because they cost the most."""
    if filters.prompt:
        yield _is("prompt", _prompt(db, filters.prompt))
    if filters.model:
        yield _is("model", names.models.get(filters.model))
    if filters.task:
        yield _is("task", names.tasks.get(filters.task))
    if filters.group is not None:
        yield _is("grp", filters.group)
    yield from _between("step", filters.step_min, filters.step_max)
    yield from _between("reward", filters.reward_min, filters.reward_max)
    yield from _between("length", filters.length_min, filters.length_max)
    if filters.unscored:
        yield lambda chunk: np.isnan(chunk["reward"])
    yield from _verdict_tests(names, filters)
    if filters.prompt_text:
        yield _prompt_words(db, filters.prompt_text)
    if filters.text:
        yield _words(db, filters.text)


def _none(chunk: Chunk) -> Mask:
    return np.zeros(len(chunk["prompt"]), bool)


def _is(column: str, number: int | None) -> Test:
    """Return the test that a column has a number; ``None`` is that of an unknown name."""
    return _none if number is None else lambda chunk: chunk[column] == number


def _between(column: str, least: float | None, most: float | None) -> Iterator[Test]:
    if least is not None:
        yield lambda chunk: chunk[column] >= least
    if most is not None:
        yield lambda chunk: chunk[column] <= most


def _verdict_tests(names: Names, filters: Filters) -> Iterator[Test]:
    codes = [
        code
        for code, name in enumerate(OUTCOMES)
        if (not filters.failure or name == f"failed: {filters.failure}")
        and (not filters.outcome or name.partition(":")[0] == filters.outcome)
    ]
    entry = names.entries.get(filters.entry)
    if filters.entry and entry is None:
        yield _none
    elif entry is not None:
        if filters.outcome or filters.failure:
            yield lambda chunk: np.isin(chunk[f"outcome_{entry}"], codes)
        yield from _between(f"value_{entry}", filters.value_min, filters.value_max)
    elif filters.outcome or filters.failure:
        bits = sum(1 << code for code in codes)
        yield lambda chunk: chunk["outcomes"] & bits != 0


def _prompt(db: sqlite3.Connection, digest: str) -> int | None:
    row = db.execute("select prompt from prompts where digest = ?", [bytes.fromhex(digest)]).fetchone()
    return row[0] if row else None


def _prompt_words(db: sqlite3.Connection, text: str) -> Test:
    (most,) = db.execute("select ifnull(max(prompt), 0) from prompts").fetchone()
    (joined,) = db.execute(
        "select group_concat(rowid) from prompt_texts where prompt_texts match ?", [phrase(text)]
    ).fetchone()
    found = np.zeros(most + 1, bool)
    found[_integers(joined)] = True
    return lambda chunk: found[chunk["prompt"]]


_SEARCHED_LINES = 16 * CHUNK
"""The lines of one search, which costs as much as some thousand lines by itself."""


def _words(db: sqlite3.Connection, text: str) -> Test:
    searched: dict[int, Mask] = {}

    def search(stage: int, first: int) -> Mask:
        """Return which lines from the first on have the words."""
        (joined,) = db.execute(
            # one string, because a million rows cost more than the search
            f"select group_concat(rowid - ?) from texts_{stage} where texts_{stage} match ? "
            "and rowid between ? and ?",
            [first, phrase(text), first, first + _SEARCHED_LINES - 1],
        ).fetchone()
        found = np.zeros(_SEARCHED_LINES, bool)
        found[_integers(joined)] = True
        return found

    def test(chunk: Chunk) -> Mask:
        place = (chunk.first - 1) % LINES % _SEARCHED_LINES
        first = chunk.first - place
        if first not in searched:
            searched.clear()  # chunks come in their order
            searched[first] = search(chunk.stage, first)
        return searched[first][place : place + len(chunk["prompt"])]

    return test


def _integers(joined: str | None) -> NDArray[np.int64]:
    """Return the integers in a text with commas between them."""
    return np.fromstring(joined or "", np.int64, sep=",")


def phrase(text: str) -> str:
    """Return words as a phrase of the full-text search."""
    plain = "".join(letter for letter in searchable(text) if letter.isprintable())
    return '"' + plain.replace('"', '""') + '"'
