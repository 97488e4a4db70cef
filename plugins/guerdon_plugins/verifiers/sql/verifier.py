"""The verifier: a completion, a gold query and a row's database in, a score out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon import Failure, Score
from guerdon.data.references import placeholder_reason, plain
from guerdon.text import checked_tags, code_blocks, select_part
from guerdon_plugins.verifiers.sql.database import QueryError, Rows, opened, query

MAX_DATABASES = 32


class Sql:
    """Scores 1 for a query whose rows are those of the gold query, on SQLite. Queries only read.

    Rows have an order only if the gold query orders them; they count with their repetitions. Columns are compared by
    place, not by name. A query that reads no table, where the gold query reads one, is wrong. A gold query that fails,
    or that gives no rows, fails as a reference.

    A row's column ``setup`` holds the script that fills its database, or a list of scripts: then the rows must be the
    same in each database (test-suite accuracy, arXiv 2010.02840). Otherwise its column ``db_id`` names a file of
    ``databases``.

    Args:
        databases: The folder of SQLite files: ``<db_id>.sqlite``, or ``<db_id>/<db_id>.sqlite`` as in Spider and BIRD.
        max_rows: The most rows of a result.
        max_steps: The most steps of SQLite's virtual machine for a query.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
        base_dir: The folder that a relative ``databases`` starts from.

    Raises:
        ValueError: ``databases`` is not a folder, or a limit is below 1.
    """

    audit_kind = "sql"

    def __init__(
        self,
        databases: str | None = None,
        max_rows: int = 10_000,
        max_steps: int = 50_000_000,
        reasoning_tags: Sequence[str] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        if min(max_rows, max_steps) < 1:
            raise ValueError(f"max_rows is {max_rows} and max_steps {max_steps}; give numbers above 0")
        self._folder = None if databases is None else (base_dir or Path()) / databases
        if self._folder is not None and not self._folder.is_dir():
            raise ValueError(f"databases is {databases!r}, which is not a folder")
        self._max_rows = max_rows
        self._max_steps = max_steps
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str, reference: Any, setup: Any = None, db_id: str | None = None) -> Score:
        try:
            gold = _gold(reference)
            places = self._places(setup, db_id)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        answer = _query_of(completion, self._tags)
        outcomes: list[tuple[float, str, str]] = []
        filled = False
        for script, file in places:
            try:
                with opened(script, file, self._max_steps) as connection:
                    right = query(connection, gold, self._max_rows, self._max_steps)
                    filled = filled or bool(right.values)
                    outcomes.append(self._compare(connection, answer, right, _ordered(gold)))
            except QueryError as error:
                return Score.failed(Failure.REFERENCE, f"the gold query cannot be run: {error}")
        if not filled:
            return Score.failed(
                Failure.REFERENCE, "the gold query gives no rows, so every query without rows would be right"
            )
        value, outcome, explanation = min(outcomes)
        return Score(value, answer=answer[:1000], explanation=explanation, metadata={"outcome": outcome})

    def gold_completion(self, reference: Any) -> str | None:
        """Return a completion with the gold query, or ``None`` for a reference that cannot be read."""
        try:
            return f"```sql\n{_gold(reference)}\n```"
        except ValueError:
            return None

    def _compare(self, connection: Any, answer: str, right: Rows, ordered: bool) -> tuple[float, str, str]:
        if not answer:
            return 0.0, "no_query", "the answer holds no query"
        try:
            ours = query(connection, answer, self._max_rows, self._max_steps)
        except QueryError as error:
            return 0.0, "error", f"the query cannot be run: {str(error)[:300]}"
        if right.tables and not ours.tables:
            return 0.0, "no_table", "the query reads no table"
        if not _same(ours.values, right.values, ordered):
            return 0.0, "different", _difference(ours.values, right.values)
        return 1.0, "equal", ""

    def _places(self, setup: Any, db_id: str | None) -> list[tuple[str | None, Path | None]]:
        """Return the row's databases: scripts, or a file.

        Raises:
            ValueError: The row has none, or its file is missing.
        """
        value = plain(setup)
        if value is not None:
            scripts = value if isinstance(value, list | tuple) else [value]
            if (
                not scripts
                or len(scripts) > MAX_DATABASES
                or not all(isinstance(item, str) for item in scripts)
            ):
                raise ValueError(
                    f"setup is {value!r:.60}; give an SQL script, or a list of up to {MAX_DATABASES}"
                )
            return [(script, None) for script in scripts]
        if self._folder is None or not isinstance(db_id, str) or not re.fullmatch(r"[\w.-]+", db_id):
            raise ValueError(
                "the row has no 'setup' script, and no 'db_id' of a file in the folder 'databases'"
            )
        files = [self._folder / f"{db_id}.sqlite", self._folder / db_id / f"{db_id}.sqlite"]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise ValueError(f"there is no {files[0]} and no {files[1]}")
        return [(None, found)]


def _gold(reference: Any) -> str:
    value = plain(reference)
    reason = placeholder_reason(value)
    if reason is not None or not isinstance(value, str):
        raise ValueError(f"the reference {reason or f'is {value!r:.60}, not an SQL query'}")
    return value


def _query_of(completion: str, tags: Sequence[str]) -> str:
    answer = select_part(completion, "answer", tags)
    blocks = [block for block in code_blocks(answer) if block.language in ("", "sql", "sqlite")]
    text = blocks[-1].code if blocks and blocks[-1].closed else _PREFIX.sub("", _CODE.sub(r"\1", answer))
    return text.replace("\u00a0", " ").strip().rstrip("; \n")


_CODE = re.compile(r"\A\s*`([^`]*+)`\s*\Z")
_PREFIX = re.compile(r"\A\s*+(?:sql(?:ite)?(?:\s++query)?\s*+[:：]|sql[^\S\n]*+\n)\s*+", re.IGNORECASE)

_SHOWN = 200
"""The most characters of a row in an explanation."""

_QUOTED = re.compile(
    r"'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\"|`[^`]*+`|\[[^\]]*+\]|--[^\n]*+|/\*.*?\*/", re.DOTALL
)


def _ordered(gold: str) -> bool:
    """Return whether a query orders its rows: an ORDER BY outside of all brackets."""
    depth = 0
    outside = []
    for char in _QUOTED.sub(" ", gold):
        depth += (char == "(") - (char == ")")
        outside.append(char if depth == 0 else " ")
    return re.search(r"\border\s+by\b", "".join(outside), re.IGNORECASE) is not None


def _same(ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]], ordered: bool) -> bool:
    if len(ours) != len(theirs):
        return False
    first, second = ([tuple(map(_value, row)) for row in rows] for rows in (ours, theirs))
    return first == second if ordered else Counter(first) == Counter(second)


def _difference(ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]]) -> str:
    """Return how the rows of a query differ from those of the gold query: the first difference that tells most."""
    if len(ours) != len(theirs):
        return f"the query gives {_count(len(ours), 'row')}, the gold query {len(theirs)}"
    if ours and len(ours[0]) != len(theirs[0]):
        return f"the query gives {_count(len(ours[0]), 'column')}, the gold query {len(theirs[0])}"
    if _same(ours, theirs, ordered=False):
        return "the query gives the gold query's rows in another order"
    other = Counter(tuple(map(_value, row)) for row in theirs)
    for row in ours:
        key = tuple(map(_value, row))
        if not other[key]:
            return f"the gold query does not give the row {_shown(row)}"
        other[key] -= 1
    raise AssertionError("rows that differ have a row that the others lack")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(row: tuple[Any, ...]) -> str:
    text = repr(row)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _value(value: Any) -> Any:
    """Return a value for comparison: to nine digits, and a thousandth of large numbers.

    So 1 is 1.0, the order of a sum does not count, and a large whole number is exact.
    """
    if isinstance(value, float) and math.isfinite(value):
        digits = min(max(9, len(str(int(abs(value)))) + 3), 15)
        rounded = float(f"{value:.{digits}g}")
        return int(rounded) if rounded.is_integer() else rounded
    return value
