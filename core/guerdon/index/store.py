"""Store the index of one run in a SQLite file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from guerdon.errors import InfrastructureError
from guerdon.options.libraries import cache_folder
from guerdon.run.log import ROLLOUTS

Answer = TypeVar("Answer")

VERSION = 4
"""The version of the schema. An index of another version is built again."""

LINES = 2**40
"""More lines than a stage's rollouts have: a rollout's id is the stage's number times this, plus its line."""

SCORED = "scored"
"""The stage that the rows of a file of scored completions belong to."""

SCHEMA = f"""
create table files(
    name text primary key, stage integer unique, offset integer not null, seen integer not null,
    lines integer not null, unreadable integer not null, tail blob not null
);
create table events(place integer primary key, line text not null, progress integer not null);
create table metrics(
    stage text, name text, step integer, value real, primary key(stage, name, step)
) without rowid;
create table names(name integer primary key, kind text, text text, unique(kind, text));
create table prompts(prompt integer primary key, digest blob unique, text text);
create virtual table prompt_texts using fts5(text, content='');
create table rollouts(
    id integer primary key, step integer, grp integer, model integer, prompt integer, task integer,
    reward real, advantage real, length integer, latency real, place integer not null, bytes integer not null
);
create index by_step on rollouts(step, grp);
create index by_prompt on rollouts(prompt);
create table columns(stage integer, chunk integer, name text, data blob, primary key(stage, chunk, name));
create table sums(
    stage integer, step integer, model integer, task integer, entry integer,
    count integer, scored integer, total real,
    primary key(stage, step, model, task, entry)
) without rowid;
create table outcomes(
    stage integer, entry integer, outcome integer, count integer, primary key(stage, entry, outcome)
) without rowid;
create table latencies(
    stage integer, entry integer, bucket integer, count integer, primary key(stage, entry, bucket)
) without rowid;
pragma user_version = {VERSION};
"""

_CACHE_KIB = 32 * 1024
_BUSY_S = 30.0


class RunIndex:
    """The index of the run in a folder, or of a file of scored completions.

    Args:
        run: The run's folder, or the file.
        folder: The folder of the index's file; by default the user's cache.

    Raises:
        InfrastructureError: The index cannot be written.
    """

    def __init__(self, run: Path, folder: Path | None = None) -> None:
        self.run = run.resolve()
        digest = hashlib.sha256(os.fsencode(self.run)).hexdigest()[:20]
        self.path = (folder or cache_folder() / "index") / f"{digest}.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._unwritable(error) from None

    def rollouts(self, stage: str) -> Path:
        """Return the log of a stage's rollouts."""
        return self.run if self.run.is_file() else self.run / "stages" / stage / ROLLOUTS

    def read(self, answer: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Return what a function answers from one state of the index.

        A damaged index is discarded, and asked again empty.
        """

        def ask(db: sqlite3.Connection) -> Answer:
            db.execute("begin")
            return answer(db)

        return self._with(ask)

    def write(self, change: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Apply a change in one transaction, alone among all processes."""

        def apply(db: sqlite3.Connection) -> Answer:
            db.execute("begin immediate")
            answer = change(db)
            db.execute("commit")
            return answer

        return self._with(apply)

    def discard(self) -> None:
        """Remove the index's files. The next use builds them again."""
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").unlink()

    def _with(self, use: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            with self._opened() as db:
                return use(db)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._unwritable(error) from error
        self.discard()
        with self._opened() as db:
            return use(db)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)) as db:
            db.execute(f"pragma cache_size = -{_CACHE_KIB}")
            db.execute("pragma synchronous = normal")
            if db.execute("pragma user_version").fetchone()[0] != VERSION:
                self._create(db)
            yield db

    def _create(self, db: sqlite3.Connection) -> None:
        """Create the schema, unless another process has done so."""
        db.execute("pragma journal_mode = wal")
        db.execute("begin immediate")
        if db.execute("pragma user_version").fetchone()[0] != VERSION:
            if db.execute("select 1 from sqlite_master").fetchone():
                db.execute("rollback")
                raise sqlite3.DatabaseError("another version")
            for statement in SCHEMA.split(";\n"):
                db.execute(statement)
            self.path.chmod(0o600)
        db.execute("commit")

    def _unwritable(self, error: Exception) -> InfrastructureError:
        reason = getattr(error, "strerror", None) or error
        return InfrastructureError(
            f"the index of {self.run} cannot be kept in {self.path.parent}: {reason}. "
            "Set XDG_CACHE_HOME to a folder that can be written to."
        )


_USABLE = ("locked", "full", "readonly", "unable to open", "interrupted")
"""Words of SQLite's messages for a file that is not damaged."""


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return not any(word in str(error) for word in _USABLE)
