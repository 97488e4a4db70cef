"""Open a stage's data: rows of sources and of other stages' data sets, with split and limit applied."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon.errors import DataError
from guerdon.manifest.plan import SourcePlan
from guerdon.plugins.boundary import boundary
from guerdon.types import Row

logger = logging.getLogger(__name__)


def open_source(source: SourcePlan, heldout: float, stage_datasets: Mapping[str, Path]) -> Iterator[Row]:
    """Yield the rows of one entry of a stage's data, with the columns that the entry adds.

    The arguments and errors are those of :func:`rows_of`.
    """
    for row in rows_of(source, heldout, stage_datasets):
        yield with_added(source, row)


def with_added(source: SourcePlan, row: Row) -> Row:
    """Return a row of a data entry with the columns that the entry adds."""
    return {**row, **source.ref.add} if source.ref.add else row


def rows_of(source: SourcePlan, heldout: float, stage_datasets: Mapping[str, Path]) -> Iterator[Row]:
    """Yield the rows of one entry of a stage's data, as its source gives them.

    Args:
        source: The entry.
        heldout: The share of rows on the held-out side of a split.
        stage_datasets: The data sets of finished stages, by stage id.

    Raises:
        DataError: The source yields something that is not a row, yields nothing, or never ends.
    """
    if source.component is None:
        assert source.stage_id is not None
        name = f"the data set of stage '{source.stage_id}'"
        rows: Iterator[Row] = _read_dataset(source.stage_id, stage_datasets)
    else:
        name = str(source.component.plugin)
        built = source.component.build()
        if source.component.member("endless", False, of=built) and source.ref.limit is None:
            raise DataError(f"{name} never ends. Give the data entry a 'limit'.")
        if not isinstance(built, Iterable):
            raise DataError(f"{name} gives a {type(built).__name__}, which cannot be iterated over for rows.")
        rows = _read_source(built, name, limited=source.ref.limit is not None)
    split = source.ref.split
    if split != "all":
        rows = (row for row in rows if is_heldout(row, heldout) == (split == "heldout"))
    yield from _checked(islice(rows, source.ref.limit), name, split)


_FIRST_REPORT_S = 30.0


def _read_source(source: Iterable[Row], name: str, *, limited: bool) -> Iterator[Row]:
    """Yield the rows of a source, and log how many there were after 30 seconds, after a minute, and so on.

    A source may have no end without saying so. The call of the source is here so that its errors are attributed to it.
    """
    started = time.monotonic()
    report_after = _FIRST_REPORT_S
    fix = "" if limited else " If it never ends, give the data entry a 'limit'."
    for count, row in enumerate(source, 1):
        yield row
        seconds = time.monotonic() - started
        if seconds >= report_after:
            report_after = 2 * seconds
            logger.warning(
                "%s has given %s rows in %.0f s, and is not at its end.%s", name, f"{count:,}", seconds, fix
            )


def is_heldout(row: Row, share: float) -> bool:
    """Return whether a row is on the held-out side of the split.

    The side depends on the row's ``split_key`` if it has one, else on its prompt, else on the whole row. The same
    problem
    is on the same side in every source, whatever its order, seed or size.
    """
    key = row.get("split_key", row.get("prompt", row))
    text = json.dumps(key, sort_keys=True, ensure_ascii=False, default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


_END: Any = object()


def _checked(rows: Iterable[Row], name: str, split: str) -> Iterator[Row]:
    count = 0
    iterator = iter(rows)
    while True:
        with boundary(f"{name}, at row {count}, raised", DataError):
            row = next(iterator, _END)
        if row is _END:
            break
        if not isinstance(row, Mapping):
            raise DataError(f"{name} yields, as row {count}, {row!r:.40}. Yield mappings, such as dicts.")
        yield row
        count += 1
    if count == 0:
        side = "" if split == "all" else f" on the {split} side of the split"
        raise DataError(f"{name} has no rows{side}. Check its params, its path and the split.")


def _read_dataset(stage_id: str, stage_datasets: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    if stage_id not in stage_datasets:
        raise DataError(f"stage '{stage_id}' leaves no data set, so no data can come from it.")
    path = stage_datasets[stage_id]
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
