from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from guerdon.manifest import load_manifest, plan_run
from guerdon.run.stage_check import MADE_UP_ROWS, StageRows, read_stage_rows

RowsOf: TypeAlias = Callable[[str], StageRows]

PLUGINS = """
class Endless:
    endless = True
    def __iter__(self):
        number = 0
        while True:
            yield {"prompt": str(number)}
            number += 1

class Few:
    def __iter__(self): return iter([{"prompt": "a"}, {"prompt": "b"}])

class Train:
    def preflight(self, rows): ...
    def run(self, context): ...
"""


@pytest.fixture
def rows_of(tmp_path: Path) -> RowsOf:
    (tmp_path / "p.py").write_text(PLUGINS)

    def read(data: str) -> StageRows:
        file = tmp_path / "m.yaml"
        file.write_text(f"name: x\nstages:\n  - {{id: a, use: './p.py:Train', init: none, data: {data}}}\n")
        plan = plan_run(load_manifest(file))
        return read_stage_rows(plan, plan.stages[0])

    return read


def test_read_stage_rows_of_an_endless_source_makes_few_and_knows_how_many_there_are(rows_of: RowsOf) -> None:
    rows = rows_of("[{use: './p.py:Endless', limit: 4000}, {use: './p.py:Few'}]")
    assert len(rows.read) == MADE_UP_ROWS + 2
    assert rows.longer == {0: MADE_UP_ROWS}
    assert rows.count == 4002


def test_read_stage_rows_of_the_held_out_side_makes_no_more_rows(rows_of: RowsOf) -> None:
    rows = rows_of("[{use: './p.py:Endless', limit: 4000, split: heldout}]")
    assert rows.longer == {0: 0.05 * MADE_UP_ROWS}
    assert len(rows.read) == 0.05 * MADE_UP_ROWS
    assert rows.count == 4000


def test_read_stage_rows_of_a_short_limit_reads_them_all(rows_of: RowsOf) -> None:
    rows = rows_of("[{use: './p.py:Endless', limit: 7}]")
    assert (len(rows.read), rows.count, rows.longer) == (7, 7, {})
