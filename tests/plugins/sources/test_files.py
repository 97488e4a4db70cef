"""Rows from files: the formats, the mapping to columns and prompts, and what is said of files that are broken."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import DataError, MissingDependencyError
from guerdon_plugins.sources.files import Files

ROWS = [{"question": "1 + 1?", "answer": "2"}, {"question": "一加二？", "answer": "3"}]
CELLS = st.dictionaries(
    st.sampled_from("abc"), st.text(alphabet=st.characters(codec="utf-8")) | st.integers() | st.none()
)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def jsonl(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.csv", "a.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        lines = "question,answer\r\n" + "".join(f'"{row["question"]}",{row["answer"]}\r\n' for row in ROWS)
        write(path, {".json": json.dumps(ROWS), ".csv": lines}.get(path.suffix, jsonl(ROWS)))
    assert list(Files(str(path))) == ROWS
    assert list(Files(name, base_dir=tmp_path)) == ROWS


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = Files(str(write(tmp_path / "a.jsonl", jsonl(ROWS))))
    assert list(source) == list(source)


def test_globs_lists_and_folders_above(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "manifests").mkdir()
    write(tmp_path / "data" / "b.jsonl", jsonl([{"n": 2}]))
    write(tmp_path / "data" / "a.jsonl", jsonl([{"n": 1}]))
    write(tmp_path / "data" / "deep" / "c.jsonl", jsonl([{"n": 3}]))
    write(tmp_path / "data" / "[x].jsonl", jsonl([{"n": 4}]))
    base = tmp_path / "manifests"

    def numbers(path: str | list[str]) -> list[int]:
        return [row["n"] for row in Files(path, base_dir=base)]

    assert numbers("../data/?.jsonl") == [1, 2]
    assert sorted(numbers("../data/**/*.jsonl")) == [1, 2, 3, 4]
    assert numbers(["../data/b.jsonl", "../data/a.jsonl"]) == [2, 1]
    assert numbers("../data/[x].jsonl") == [4]
    assert numbers(str(tmp_path / "data" / "[ab].jsonl")) == [1, 2]


def test_columns_are_renamed_and_prompts_made(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", jsonl([{"question": "1 + 1?", "answer": "2", "level": 1}])))
    columns = {"prompt": "question", "reference": "answer"}
    plain = {"prompt": "1 + 1?", "reference": "2", "level": 1}
    assert list(Files(path, columns=columns)) == [plain]
    templated = Files(path, columns=columns, template="Q{level}: {prompt} {{x}}")
    assert [row["prompt"] for row in templated] == ["Q1: 1 + 1? {x}"]
    user = {"role": "user", "content": "1 + 1?"}
    assert list(Files(path, columns=columns, chat=True)) == [plain | {"prompt": [user]}]
    with_system = [{"role": "system", "content": "Think."}, user]
    assert list(Files(path, columns=columns, system="Think.")) == [plain | {"prompt": with_system}]


def test_a_system_message_goes_before_a_conversation(tmp_path: Path) -> None:
    conversation = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}]
    path = write(tmp_path / "a.jsonl", jsonl([{"prompt": conversation}]))
    (row,) = Files(str(path), system="Think.", chat=True)
    assert row["prompt"] == [{"role": "system", "content": "Think."}, *conversation]


def test_columns_can_be_swapped_and_shared(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", jsonl([{"a": 1, "b": 2}])))
    assert list(Files(path, columns={"a": "b", "b": "a"})) == [{"a": 2, "b": 1}]
    assert list(Files(path, columns={"x": "a", "y": "a"})) == [{"b": 2, "x": 1, "y": 1}]


def test_escaped_characters_are_read_as_pairs(tmp_path: Path) -> None:
    assert list(Files(str(write(tmp_path / "a.jsonl", '{"a": "\\ud83d\\ude00"}\n')))) == [{"a": "\U0001f600"}]


def test_byte_order_mark_blank_lines_and_long_cells_are_fine(tmp_path: Path) -> None:
    assert list(Files(str(write(tmp_path / "a.jsonl", "\ufeff\n" + jsonl(ROWS) + "\n \n")))) == ROWS
    long = "x" * 200_000
    assert list(Files(str(write(tmp_path / "a.csv", f'\ufeffa\n"{long}\nmore"\n')))) == [
        {"a": f"{long}\nmore"}
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": tru}\n', r"a\.jsonl:2: is not valid JSON: Expecting value at column 7"),
        ("a.jsonl", '{"a": 1}\n{"a": 1\n', r"a\.jsonl:2: is not valid JSON"),
        ("a.jsonl", '{"a": 1}\n\n[1]\n', r"a\.jsonl:3: a row is a JSON object, not a list"),
        ("a.jsonl", '{"a": 1}\n{"a": NaN}\n', r"a\.jsonl:2: NaN is not a JSON value"),
        ("a.jsonl", "[" * 200_000 + "\n", r"a\.jsonl:1: is nested too deeply to be read"),
        ("a.jsonl", "9" * 5000 + "\n", r"a\.jsonl:1: is not valid JSON: Exceeds the limit"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', r"a\.jsonl:2: is not UTF-8: byte 8 of the line is 0xff"),
        ("a.jsonl", '{"a": "\\ud800"}\n', r"a\.jsonl:1: half of an escaped character"),
        ("a.jsonl", "", r"a\.jsonl: the file has no rows"),
        ("a.jsonl", "\n\n", r"a\.jsonl: the file has no rows"),
        ("a.json", '[{"a": 1},\n {"a": }]', r"a\.json:2: is not valid JSON"),
        ("a.json", '{"a": 1}', r"a\.json: it holds an object, not a list of objects. Is it JSONL\?"),
        ("a.json", '[{"a": 1}, 7]', r"a\.json\[1\]: a row is a JSON object, not a number"),
        ("a.json", b"\xff\xfe[\x00]\x00", r"a\.json:1: is not UTF-8: byte 1 of the line is 0xff"),
        ("a.json", "[]", r"a\.json: the file has no rows"),
        ("a.csv", "a,b\n1,2\n3\n", r"a\.csv:3: 1 values for 2 columns"),
        ("a.csv", 'a,b\n1,"2\n', r"a\.csv:2: is not valid CSV"),
        ("a.csv", "a,a\n1,2\n", r"a\.csv:1: a column's name is twice in the header: a, a"),
        ("a.csv", b"a\n1\n\xe4\n", r"a\.csv:3: is not UTF-8: byte 1 of the line is 0xe4"),
        ("a.csv", "a,b\n", r"a\.csv: the file has no rows"),
        ("a.parquet", "no parquet", r"a\.parquet cannot be read as Parquet"),
    ],
)
def test_a_broken_file_is_an_error_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    source = Files(name, base_dir=tmp_path)
    write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        list(source)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", jsonl([{"q": "a", "answer": 1}, {"answer": 2}]))
    with pytest.raises(
        DataError,
        match=r"a\.jsonl:2: there is no column 'q', only answer\. Name one of these",
    ):
        list(Files("a.jsonl", columns={"prompt": "q"}, base_dir=tmp_path))
    with pytest.raises(DataError, match=r"a\.jsonl:1: there is no column 'prompt', only q, answer"):
        list(Files("a.jsonl", chat=True, base_dir=tmp_path))
    with pytest.raises(
        DataError,
        match=r"a\.jsonl:1: the template '\{question\}' cannot be filled in: there is no column 'question'",
    ):
        list(Files("a.jsonl", template="{question}", base_dir=tmp_path))


def test_files_that_are_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file matches 'b\*\.jsonl' in "):
        list(Files("b*.jsonl", base_dir=tmp_path))
    (tmp_path / "folder.jsonl").mkdir()
    for read in (list, Files.fingerprint):
        with pytest.raises(DataError, match=r"folder\.jsonl cannot be read: Is a directory"):
            read(Files("folder.jsonl", base_dir=tmp_path))
    with pytest.raises(
        ValueError, match=r"'a\.xlsx' does not say what it holds: a file's name must end in \.jsonl"
    ):
        Files("a.xlsx")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write(tmp_path / "a.parquet", "")
    with pytest.raises(MissingDependencyError, match=r"guerdon\[parquet\]"):
        list(Files("a.parquet", base_dir=tmp_path))


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "a.jsonl", jsonl(ROWS))
    write(tmp_path / "elsewhere" / "a.jsonl", jsonl(ROWS))
    before = Files("a.jsonl", base_dir=tmp_path).fingerprint()
    assert Files("a.jsonl", base_dir=tmp_path / "elsewhere").fingerprint() == before
    write(tmp_path / "a.jsonl", jsonl(ROWS[:1]))
    assert Files("a.jsonl", base_dir=tmp_path).fingerprint() != before


@given(rows=st.lists(CELLS, min_size=1))
def test_jsonl_and_json_read_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    assert list(Files(str(write(folder / "a.jsonl", jsonl(rows))))) == rows
    assert list(Files(str(write(folder / "a.json", json.dumps(rows, ensure_ascii=False))))) == rows


@given(content=st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.jsonl", "a.json", "a.csv"):
        source = Files(str(write(folder / name, content)))
        with contextlib.suppress(DataError):
            assert list(source)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_give_the_same_rows(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    suffix = {"gzip": ".gz", "bz2": ".bz2", "lzma": ".xz"}[compress.__module__]
    write(tmp_path / f"a.jsonl{suffix}", compress(jsonl(ROWS).encode()))
    write(tmp_path / f"b.JSON{suffix.upper()}", compress(json.dumps(ROWS).encode()))
    assert list(Files(f"a.jsonl{suffix}", base_dir=tmp_path)) == ROWS
    assert list(Files(f"b.JSON{suffix.upper()}", base_dir=tmp_path)) == ROWS
    write(tmp_path / f"c.jsonl{suffix}", compress(jsonl(ROWS).encode())[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        list(Files(f"c.jsonl{suffix}", base_dir=tmp_path))
    write(tmp_path / f"d.jsonl{suffix}", jsonl(ROWS))
    with pytest.raises(DataError, match="cannot be read"):
        list(Files(f"d.jsonl{suffix}", base_dir=tmp_path))


def test_zstd_files_give_the_same_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="zstd needs the extra 'parquet'")
    write(tmp_path / "a.jsonl.zst", pyarrow.compress(jsonl(ROWS).encode(), codec="zstd", asbytes=True))
    assert list(Files("a.jsonl.zst", base_dir=tmp_path)) == ROWS
    write(tmp_path / "b.jsonl.zst", jsonl(ROWS))
    with pytest.raises(DataError, match="cannot be read"):
        list(Files("b.jsonl.zst", base_dir=tmp_path))


def test_tsv_text_and_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", '\ufeffquestion\tanswer\n"a\tb"\t1\n')
    assert list(Files("a.tsv", base_dir=tmp_path)) == [{"question": "a\tb", "answer": "1"}]
    write(tmp_path / "a.txt", "\ufefffirst\r\n\nsecond")
    rows = Files("a.txt", columns={"prompt": "text"}, base_dir=tmp_path)
    assert list(rows) == [{"prompt": "first"}, {"prompt": "second"}]
    write(tmp_path / "b.JSONL", jsonl(ROWS))
    assert list(Files("b.JSONL", base_dir=tmp_path)) == ROWS


VERL = {
    "prompt": [{"role": "user", "content": "a"}],
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 3, "answers": ["x", "y"]},
}


def test_columns_inside_of_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", jsonl([VERL]))
    columns = {
        "reference": "reward_model.ground_truth",
        "number": "extra_info.index",
        "last": "extra_info.answers.-1",
    }
    (row,) = Files("a.jsonl", columns=columns, base_dir=tmp_path)
    assert row == {**VERL, "reference": "2", "number": 3, "last": "y"}
    with pytest.raises(
        DataError, match=r"a\.jsonl:1: .*'reward_model' has no 'gold', only style, ground_truth"
    ):
        list(Files("a.jsonl", columns={"reference": "reward_model.gold"}, base_dir=tmp_path))


def test_a_template_over_a_conversation_fills_in_the_last_message(tmp_path: Path) -> None:
    before = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    write(
        tmp_path / "a.jsonl", jsonl([{"prompt": [*before, {"role": "user", "content": "c"}], "n": {"m": 1}}])
    )
    (row,) = Files("a.jsonl", template="Q{n.m}: {prompt}", base_dir=tmp_path)
    assert row["prompt"] == [*before, {"role": "user", "content": "Q1: c"}]
    write(tmp_path / "b.jsonl", jsonl([{"prompt": before}]))
    with pytest.raises(DataError, match=r"b\.jsonl:1: .*last message has the role 'assistant'"):
        list(Files("b.jsonl", template="Q: {prompt}", base_dir=tmp_path))


@pytest.mark.parametrize("value", [None, ["a"], {"a": 1}, []])
def test_a_template_with_a_column_that_is_not_text_is_an_error(tmp_path: Path, value: object) -> None:
    write(tmp_path / "a.jsonl", jsonl([{"prompt": "p", "x": value}]))
    with pytest.raises(DataError, match=r"a\.jsonl:1: the template .* which is not text"):
        list(Files("a.jsonl", template="{prompt} {x}", base_dir=tmp_path))
