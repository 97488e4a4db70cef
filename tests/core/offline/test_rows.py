"""Files of rows: what is read is what was written, in both formats, and nothing half-written appears."""

from __future__ import annotations

import builtins
import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.errors import DataError, InfrastructureError, MissingDependencyError, UsageError
from guerdon.files.writing import json_text
from guerdon.offline.columns import read_judgement, score_columns, to_rollout
from guerdon.offline.rows import count_rows, opened_input, read_rows, written_rows
from guerdon.records import record
from guerdon.types import Failure, Judgement, Rollout, Score, Verdict

ROWS: list[dict[str, Any]] = [
    {"prompt": "p", "completion": "a\nb", "reference": "1", "n": 1},
    {"prompt": [{"role": "user", "content": "你好"}], "completion": "", "reference": None, "n": 2},
]
ALIKE = [{**row, "prompt": "p"} for row in ROWS]
SCORED = {"reward": 0.5, "scores": {"math": {"value": 0.5, "outcome": "scored", "failure": None}}}


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_rows(path)]


def copy(source: Path, target: Path) -> Path:
    with written_rows(target, source) as write:
        for _, row in read_rows(source):
            write([{**row, **SCORED}])
    return target


def test_places_are_lines_and_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n\n{"n": 2}\n')
    assert [where for where, _ in read_rows(path)] == [f"{path}:1", f"{path}:3"]
    path = parquet(tmp_path / "a.parquet", ALIKE)
    assert [where for where, _ in read_rows(path)] == [f"{path}[0]", f"{path}[1]"]
    assert count_rows(path) == 2


@pytest.mark.parametrize("source", ["jsonl", "parquet"])
@pytest.mark.parametrize("target", ["jsonl", "parquet"])
def test_from_every_format_to_every_format(tmp_path: Path, source: str, target: str) -> None:
    make = jsonl if source == "jsonl" else parquet
    written = copy(make(tmp_path / f"in.{source}", ALIKE), tmp_path / f"out.{target}")
    for row, found in zip(ALIKE, rows_of(written), strict=True):
        scores = found.pop("scores")
        assert (json.loads(scores) if isinstance(scores, str) else scores) == SCORED["scores"]
        assert found == {**row, "reward": 0.5}


def test_rescoring_replaces_the_scores(tmp_path: Path) -> None:
    once = copy(parquet(tmp_path / "in.parquet", ALIKE), tmp_path / "once.parquet")
    assert rows_of(copy(once, tmp_path / "twice.parquet")) == rows_of(once)


def test_what_json_has_no_form_for(tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", [{"day": date(2026, 1, 2), "price": Decimal("1.50")}])
    assert rows_of(copy(source, tmp_path / "out.jsonl"))[0]["day"] == "2026-01-02"
    assert rows_of(copy(source, tmp_path / "out.jsonl"))[0]["price"] == "1.50"
    source = parquet(tmp_path / "image.parquet", [{"image": b"\xff"}])
    with pytest.raises(DataError, match="holds a bytes, which JSON has no form for"):
        copy(source, tmp_path / "image.jsonl")
    assert rows_of(copy(source, tmp_path / "image2.parquet"))[0]["image"] == b"\xff"


def test_columns_of_no_one_type_do_not_fit_into_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"different types.* ends in \.jsonl"):
        copy(jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out.parquet")
    later = [{"n": 1}] * 600 + [{"n": [1]}]
    with pytest.raises(DataError, match="different types"):
        copy(jsonl(tmp_path / "later.jsonl", later), tmp_path / "out.parquet")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("value", "words"), [({}, "no child field"), (10**30, "too large"), ("\ud800", "surrogates not allowed")]
)
def test_values_that_parquet_has_no_form_for(tmp_path: Path, value: Any, words: str) -> None:
    source = jsonl(tmp_path / "in.jsonl", [{"a": value}])
    with pytest.raises(DataError, match=rf"in\.jsonl has a column that Parquet .*{words}.* ends in \.jsonl"):
        copy(source, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert rows_of(copy(source, tmp_path / "out.jsonl"))[0]["a"] == value


def test_what_is_not_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text('{"completion": "a"}\n')
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        count_rows(path)
    with pytest.raises(DataError, match="cannot be read as Parquet: No such file"):
        count_rows(tmp_path / "nowhere.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        count_rows(parquet(tmp_path / "empty.parquet", []))
    binary = parquet(tmp_path / "b.parquet", ALIKE).rename(tmp_path / "b.jsonl")
    with pytest.raises(DataError, match=r"b\.jsonl:1: is not"):
        count_rows(binary)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'guerdon\[parquet\]'"):
        count_rows(tmp_path / "a.parquet")


def test_nothing_appears_when_the_work_breaks_off(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", ALIKE)
    old = tmp_path / "out.jsonl"
    old.write_text("old\n")

    def break_off() -> None:
        with written_rows(old, source) as write:
            write([ALIKE[0]])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert old.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    with pytest.raises(InfrastructureError, match="cannot be written: No such file"):
        copy(source, tmp_path / "no" / "out.jsonl")


def test_written_rows_over_their_input_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "in.jsonl", ALIKE)
    (tmp_path / "link.jsonl").symlink_to(path)
    for output in (path, tmp_path / "link.jsonl", tmp_path / "." / "in.jsonl"):
        with pytest.raises(UsageError, match="is the input itself"):
            copy(path, output)
    assert rows_of(path) == ALIKE


def test_a_link_stays_one_and_what_is_not_a_file_stays_what_it_is(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", ALIKE)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
    copy(source, tmp_path / "link.jsonl")
    assert (tmp_path / "link.jsonl").is_symlink()
    assert len(rows_of(tmp_path / "out.jsonl")) == 2
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="is not a regular file, and would be replaced"):
        copy(source, tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="is not a regular file, and rows are read twice"):
        count_rows(tmp_path / "pipe.jsonl")


def test_the_line_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 50 + b'{"a": "\xe4"}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl:51: is not UTF-8"):
        count_rows(path)


SCORES = st.one_of(
    st.builds(Score, st.floats(-2, 2), answer=st.none() | st.text(), explanation=st.text()),
    st.builds(Score.skipped, st.text()),
    st.builds(Score.failed, st.sampled_from(Failure), st.text()),
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(min_size=1), SCORES), st.none() | st.floats(-2, 2), st.floats(-2, 2))
def test_scores_survive_the_file(scores: dict[str, Score], reward: float | None, weight: float) -> None:
    judgement = Judgement(reward, {name: Verdict(score, weight, 0.125) for name, score in scores.items()})
    row = json.loads(json.dumps(score_columns(judgement)))
    assert read_judgement("x", row) == judgement
    assert read_judgement("x", {**row, "scores": json.dumps(row["scores"])}) == judgement
    for score in row["scores"].values():
        del (
            score["weight"],
            score["weighted"],
            score["counted"],
            score["latency_ms"],
        )  # as the stage 'sample' writes them
    assert read_judgement("x", row).verdicts.keys() == scores.keys()


@pytest.mark.parametrize(
    "row", [{}, {"reward": 1}, {"reward": 1, "scores": "{"}, {"reward": 1, "scores": {"m": 1}}]
)
def test_a_row_that_was_not_scored(row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="x:1: has no columns 'reward' and 'scores'"):
        read_judgement("x:1", row)


def test_a_row_becomes_a_rollout() -> None:
    rollout = to_rollout("x:1", {"question": "q", "completion": "c", "gold": "1"}, {"reference": "gold"})
    assert (rollout.prompt, rollout.text) == ("", "c")
    assert rollout.columns["reference"] == "1"
    own = {"role": "assistant"}
    blocks = [{**own, "content": [{"type": "text", "text": "a"}]}, {**own, "content": None}, own]
    assert to_rollout("x:1", {"completion": blocks}, {}).text == "a"
    for wrong in (7, None, ["hi"], [{"role": "assistant", "content": ["hi"]}], [{"content": 7}]):
        with pytest.raises(DataError, match=r"x:1: completion is .*; it must be text or a list of messages"):
            to_rollout("x:1", {"completion": wrong}, {})
    tokens = to_rollout("x:1", {"completion": "c", "completion_ids": [3, 4]}, {})
    assert (tokens.completion_ids, tokens.columns) == ([3, 4], {})
    assert to_rollout("x:1", {"completion": "c", "completion_ids": None}, {}).completion_ids == []
    with pytest.raises(DataError, match=r"x:1: completion_ids is \['a'\]; it must be a list of token ids"):
        to_rollout("x:1", {"completion": "c", "completion_ids": ["a"]}, {})


@pytest.mark.parametrize(
    ("completion", "roles"),
    [
        ([], "no turns"),
        ([{"role": "tool", "content": "4"}], "tool"),
        ([{"from": "gpt", "value": "4"}], "None"),
    ],
)
def test_to_rollout_without_a_turn_of_the_model_is_refused(completion: Any, roles: str) -> None:
    with pytest.raises(
        DataError, match=f"x:1: completion has no turn of the role 'assistant'.*Roles: {roles}"
    ):
        to_rollout("x:1", {"completion": completion}, {})


def test_to_rollout_reads_columns_inside_of_others() -> None:
    row = {"completion": "c", "reward_model": {"ground_truth": "2"}, "turns": [{"text": "p"}]}
    rollout = to_rollout("x:1", row, {"reference": "reward_model.ground_truth", "prompt": "turns.0.text"})
    assert (rollout.prompt, rollout.columns["reference"]) == ("p", "2")
    with pytest.raises(
        DataError, match=r"x:1: .*'reward_model' has no 'gold', only ground_truth.*--column reference="
    ):
        to_rollout("x:1", row, {"reference": "reward_model.gold"})


def test_to_rollout_of_a_runs_record_has_the_rows_columns() -> None:
    rollout = Rollout("p", "c", {"reference": "2", "level": 3}, [1, 2])
    written = json.loads(
        json.dumps(record(rollout, Judgement.of({"m": Verdict(Score(1.0), 1.0, 0.0)}), step=4))
    )
    read = to_rollout("x:1", written, {})
    assert (read.prompt, read.text, read.columns["reference"], read.columns["level"]) == ("p", "c", "2", 3)
    assert to_rollout("x:1", written, {"gold": "reference"}).columns["gold"] == "2"


@pytest.mark.parametrize(
    "source", ["jsonl", "json", "csv", "tsv", "parquet", "jsonl.gz", "jsonl.zst", "JSONL"]
)
@pytest.mark.parametrize(
    "target", ["jsonl", "json", "csv", "tsv", "parquet", "csv.gz", "jsonl.bz2", "json.xz", "jsonl.zst"]
)
def test_written_rows_in_every_format_are_read_again(tmp_path: Path, source: str, target: str) -> None:
    rows = [
        {"prompt": "p", "completion": 'a,\t"b"\nc', "reference": "1"},
        {"prompt": "你", "completion": "", "reference": "2"},
    ]
    first = jsonl(tmp_path / "first.jsonl", rows)
    given = tmp_path / f"in.{source}"
    with written_rows(given, first) as write:
        write([{**row, **SCORED} for row in rows])
    result = tmp_path / f"out.{target}"
    with written_rows(result, given) as write:
        for _, row in read_rows(given):
            write([{**row, **SCORED}])
    found = list(read_rows(result))
    assert [read_judgement(*located).to_dict()["reward"] for located in found] == [0.5, 0.5]
    assert [{name: row[name] for name in rows[0]} for _, row in found] == rows


def test_written_rows_with_numbers_that_json_lacks_are_null(tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", [{"a": float("nan"), "b": [float("inf"), 1.0]}])
    assert rows_of(copy(source, tmp_path / "out.jsonl"))[0] == {"a": None, "b": [None, 1.0], **SCORED}


@pytest.mark.parametrize("name", ["out", "out.gz", "out.xlsx", "out.json.zip"])
def test_written_rows_to_a_name_without_a_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="does not say what it holds"):
        copy(jsonl(tmp_path / "in.jsonl", ALIKE), tmp_path / name)


def test_opened_input_of_a_pipe_is_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('\ufeff{"n": 1}\n{"n": }\n',))
    writer.start()
    with opened_input(pipe) as given:
        for _ in range(2):
            with pytest.raises(DataError, match=f"{pipe}:2: is not valid JSON"):
                given.count()
    writer.join()


@given(
    st.lists(
        st.dictionaries(
            st.text(), st.none() | st.booleans() | st.text() | st.integers(-(2**60), 2**60), min_size=1
        )
    )
)
def test_jsonl_of_any_rows_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("".join(json_text(row) + "\n" for row in rows), encoding="utf-8")
    assert rows_of(path) == rows
