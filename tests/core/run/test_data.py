"""A source that is read for long says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from guerdon.errors import DataError
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import data
from guerdon.run.data import open_source
from guerdon.types import Row

SOURCE = """
from itertools import count
class Naturals:
    def __iter__(self): return ({"prompt": str(number)} for number in count())
def score(context): ...
"""


def opened(folder: Path, rest: str) -> Iterator[Row]:
    (folder / "m.py").write_text(SOURCE)
    (folder / "m.yaml").write_text(
        "name: x\nstages:\n  - id: a\n    use: ./m.py:score\n    init: none\n"
        f"    data: [{{use: './m.py:Naturals'{rest}}}]\n"
    )
    (stage,) = plan_run(load_manifest(folder / "m.yaml")).stages
    return open_source(stage.sources[0], 0.0, {})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a second later at each look."""
    seconds = count()
    monkeypatch.setattr("guerdon.run.data.time.monotonic", lambda: float(next(seconds)))


@pytest.mark.usefixtures("clock")
def test_a_source_without_an_end_says_how_many_rows_it_gave(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = opened(tmp_path, "")
    for _ in range(130):
        next(rows)
    told = [record.getMessage() for record in caplog.records]
    assert [message.partition(" has given ")[2].partition(",")[0] for message in told] == [
        "30 rows in 30 s",
        "60 rows in 60 s",
        "120 rows in 120 s",
    ]
    assert "If it never ends, give the data entry a 'limit'." in told[0]


@pytest.mark.usefixtures("clock")
def test_rows_that_the_split_leaves_out_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = opened(
        tmp_path, ", split: heldout, limit: 1"
    )  # no row is on the held-out side of 0.0, so nothing ends

    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(data.logger, "warning", stop)
    with pytest.raises(DataError, match="InterruptedError"):
        next(rows)


def test_a_source_that_is_read_fast_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(opened(tmp_path, ", limit: 100"))) == 100
    assert not caplog.records
