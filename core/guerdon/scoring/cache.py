"""Scores by content: the same verifier, params, completion, reference and columns are judged once."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guerdon.plugins.component import Component
from guerdon.types import Outcome, Score

logger = logging.getLogger(__name__)


class ScoreCache:
    """An SQLite table of scores. Failed scores are not kept: the next try may succeed.

    A file that breaks while it is used, or a disk that is full, costs time and nothing else: after a warning, scores
    are neither looked up nor kept any more.

    Args:
        path: The database file, made where it is missing; by default the cache lives in memory.
        max_scores: After this many new scores all are forgotten; without it none ever is.

    Raises:
        sqlite3.DatabaseError: The file is none, or cannot be opened.
    """

    def __init__(self, path: Path | None = None, max_scores: int | None = None) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._max_scores = max_scores
        self._num_new = 0
        self._broken = False
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        # No write waits for the disk: what is lost is judged again.
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score TEXT) WITHOUT ROWID"
        )

    def get(self, keys: Sequence[str]) -> dict[str, Score]:
        """The scores that are known, by key."""
        found = {}
        with self._lock, self._surviving():
            for key in () if self._broken else dict.fromkeys(keys):
                row = self._database.execute("SELECT score FROM scores WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = Score.from_dict(json.loads(row[0]))
        return found

    def put(self, scores: Mapping[str, Score]) -> None:
        """Keep scores by key."""
        rows = []
        for key, score in scores.items():
            if score.outcome is not Outcome.FAILED:
                try:
                    rows.append((key, json.dumps(score.to_dict())))
                except (TypeError, ValueError):  # metadata that is not JSON: judged again next time
                    continue
        with self._lock, self._surviving():
            if self._broken:
                return
            self._database.execute("BEGIN")
            if self._max_scores is not None and self._num_new + len(rows) > self._max_scores:
                self._database.execute("DELETE FROM scores")
                self._num_new = 0
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)
            self._database.execute("COMMIT")
            self._num_new += len(rows)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:  # the caller's mistake, such as a cache that is closed
            raise
        except sqlite3.DatabaseError as error:
            self._broken = True
            logger.warning(
                "the score cache %s is not used any more: %s. Scores are computed again.", self._path, error
            )


def component_key(component: Component) -> str:
    """Return what identifies a verifier and its params: a new version or a changed file has new scores."""
    parts = [component.plugin.identity, dict(component.params), component.content]
    return json.dumps(parts, sort_keys=True, default=repr)


def score_key(component: str, completion: str, columns: Mapping[str, Any]) -> str | None:
    """The key of one case; ``None`` for columns that have no canonical text."""
    try:
        text = json.dumps([component, completion, columns], sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
