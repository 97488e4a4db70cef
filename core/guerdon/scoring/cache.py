"""Cache scores by content: the same verifier, params, completion, reference and columns are judged once."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from guerdon.plugins.component import Component
from guerdon.types import Outcome, Score

logger = logging.getLogger(__name__)


class ScoreCache:
    """An SQLite table of scores. Failed scores are not kept, because the next attempt may succeed.

    If the file breaks during use, or the disk is full, the cache warns and turns itself off.

    Args:
        path: The database file, created if missing; by default the cache is in memory.
        max_scores: The number of new scores after which all are deleted; by default scores are never deleted.

    Raises:
        sqlite3.DatabaseError: The file is not a database, or cannot be opened.
    """

    def __init__(self, path: Path | None = None, max_scores: int | None = None) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._max_scores = max_scores
        self._num_new = 0
        self._broken = False
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        # Writes do not wait for the disk: lost scores are computed again.
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score TEXT) WITHOUT ROWID"
        )

    def get(self, keys: Sequence[str]) -> dict[str, Score]:
        """Return the known scores, by key."""
        found = {}
        with self._lock, self._surviving():
            for key in () if self._broken else dict.fromkeys(keys):
                row = self._database.execute("SELECT score FROM scores WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = Score.from_dict(json.loads(row[0]))
        return found

    def put(self, scores: Mapping[str, Score]) -> None:
        """Store scores by key."""
        rows = []
        for key, score in scores.items():
            if score.outcome is not Outcome.FAILED:
                try:
                    rows.append((key, json.dumps(replace(score, usage={}).to_dict())))
                except (TypeError, ValueError):  # not JSON: the case is judged again next time
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
        except sqlite3.ProgrammingError:  # the caller's mistake, such as using a closed cache
            raise
        except sqlite3.DatabaseError as error:
            self._broken = True
            logger.warning(
                "the score cache %s is not used any more: %s. Scores are computed again.", self._path, error
            )


def component_key(component: Component) -> str:
    """Return the identity of a verifier with its params. A new version or a changed file has a different one."""
    parts = [component.plugin.identity, dict(component.params), component.content]
    parts += [objects] if (objects := component.named_objects) else []
    return json.dumps(parts, sort_keys=True, default=repr)


def score_key(component: str, completion: str, columns: Mapping[str, Any]) -> str | None:
    """Return the key of one case, or ``None`` for columns that have no canonical text."""
    try:
        text = json.dumps([component, completion, columns], sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
