"""The conformance kit for sources."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, ClassVar
from unittest import SkipTest

from guerdon.manifest.plan import SourcePlan
from guerdon.manifest.schema import SourceRef
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.run.data import is_heldout, open_source
from guerdon.testing.base import Conformance, broken
from guerdon.types import Row


class SourceConformance(Conformance):
    """Checks of a run's requirements of a source, on its first rows.

    ```python
    from guerdon.testing import SourceConformance


    class TestCapitals(SourceConformance):
        plugin = "capitals"
        columns = ("prompt", "reference")
    ```
    """

    kinds = (Kind.SOURCE,)
    rows: ClassVar[int] = 64
    """The number of rows to check."""
    columns: ClassVar[Sequence[str]] = ("prompt",)
    """The columns that every row must have."""

    def test_yields_rows(self) -> None:
        """It yields rows, and each has its columns."""
        for number, row in enumerate(self._rows()):
            missing = [column for column in self.columns if column not in row]
            if missing:
                raise broken(
                    f"row {number} has no column '{missing[0]}'; it has {', '.join(row) or 'none'}.",
                    why="the verifiers of the stage read it from every row.",
                    fix="yield it in every row, or correct the kit's columns.",
                )

    def test_prompts(self) -> None:
        """A prompt is text, or messages in TRL's format."""
        for number, row in enumerate(self._rows()):
            if "prompt" in row and not _is_prompt(row["prompt"]):
                raise broken(
                    f"the prompt of row {number} is {row['prompt']!r:.80}.",
                    why="TRL takes a string, or a list of messages with role and content.",
                    fix='yield "text" or [{"role": "user", "content": "text"}].',
                )

    def test_json(self) -> None:
        """Rows are JSON values."""
        for number, row in enumerate(self._rows()):
            try:
                json.dumps(row, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise broken(
                    f"row {number} is not JSON: {error}.",
                    why="rows are written to rollouts.jsonl, and scores are cached by their content.",
                    fix="yield strings, numbers, lists and dicts with string keys; no NaN, no sets, no objects.",
                ) from None

    def test_deterministic(self) -> None:
        """The same params give the same rows again, also in another process."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
            elsewhere = processes.submit(rows_of, self.component(), self.rows).result()
        for where, rows in (("when it is built again", self._rows()), ("in another process", elsewhere)):
            for number, (before, now) in enumerate(zip(self._rows(), rows, strict=False)):
                if before != now:
                    raise broken(
                        f"row {number} is {before!r:.80}, and {where} {now!r:.80}.",
                        why="a run that is resumed continues in the middle of the data, and must find the same rows.",
                        fix="make random choices with random.Random(seed) of the source's own; sort sets and globs.",
                    )
            if len(rows) != len(self._rows()):
                raise broken(
                    f"it yields {len(self._rows())} rows, and {where} {len(rows)}.",
                    why="a run that is resumed continues in the middle of the data, and must find the same rows.",
                    fix="let the number of rows depend on nothing but the params.",
                )

    def test_independent_iterations(self) -> None:
        """Two alternating iterations do not disturb each other."""
        first, second = self._opened(), self._opened()
        for number, (one, other) in enumerate(zip(first, second, strict=False)):
            if one != other:
                raise broken(
                    f"row {number} differs between two that are read in turns: {one!r:.60} and {other!r:.60}.",
                    why="several stages, and training and evaluation in one, open the same source.",
                    fix="keep generators and random states on the iterator, not on the class or the module.",
                )

    def test_rows_stay(self) -> None:
        """The source does not change a row after yielding it."""
        given: list[Row] = []
        copies: list[Row] = []
        for row in self._opened():
            given.append(row)
            copies.append(copy.deepcopy(row))
        for number, (row, before) in enumerate(zip(given, copies, strict=True)):
            if row != before:
                raise broken(
                    f"row {number} was {before!r:.60}, and is {row!r:.60} at the end.",
                    why="rows are collected before they are used; all would be the last one.",
                    fix="make a new dict for each row.",
                )

    def test_split(self) -> None:
        """Rows fall on both sides of the held-out split."""
        rows = self._rows()
        if len(rows) < 32:
            raise SkipTest(f"{len(rows)} rows are too few to tell")
        if len({is_heldout(row, 0.5) for row in rows}) == 1:
            key = "split_key" if "split_key" in rows[0] else "prompt"
            raise broken(
                f"{len(rows)} rows fall on one side of a split into halves, as if '{key}' were the same in all.",
                why="split: heldout, or train, would have no rows.",
                fix="make split_key say which problem a row is; leave it out where that is the prompt.",
            )

    def test_fingerprint(self) -> None:
        """Its fingerprint, if it has one, is JSON and stays the same."""
        component = self.component()
        if component.member("fingerprint", of=component.build()) is None:
            raise SkipTest("it gives none")
        first, second = (
            json.dumps(component.member("fingerprint", of=component.build())()) for _ in range(2)
        )
        if first != second:
            raise broken(
                f"its fingerprint is {first:.60}, and then {second:.60}.",
                why="the run takes this for changed data, and refuses to continue.",
                fix="derive it from the content alone: no times, no random numbers.",
            )

    @classmethod
    def _rows(cls) -> list[Row]:
        started = time.perf_counter()
        rows = list(cls._opened())
        cls.throughput = f"{cls.plugin}: {len(rows) / (time.perf_counter() - started):,.0f} rows/s"
        return rows

    @classmethod
    def _opened(cls) -> Iterator[Row]:
        return _opened(cls.component(), cls.rows)


def rows_of(component: Component, limit: int) -> list[Row]:
    """Return a source's first rows."""
    return list(_opened(component, limit))


def _opened(component: Component, limit: int) -> Iterator[Row]:
    source = SourcePlan(SourceRef(use=component.plugin.name, limit=limit), component)
    return open_source(source, heldout=0.05, stage_datasets={})


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return True
    return (
        isinstance(prompt, Sequence)
        and len(prompt) > 0
        and all(isinstance(message, Mapping) and {"role", "content"} <= message.keys() for message in prompt)
    )
