"""Rows from ``datasets.load_dataset``, on local folders: nothing here needs the network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from guerdon.errors import DataError, InfrastructureError, MissingDependencyError
from guerdon_plugins.sources.hub import Hub

datasets = pytest.importorskip("datasets", reason="source 'hub' needs the extra 'train'")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text(
        '{"question": "1 + 1?", "answer": "2"}\n{"question": "2?", "answer": "2"}\n'
    )
    (data / "test.jsonl").write_text('{"question": "3?", "answer": "3"}\n')
    return data


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_of_a_split_under_the_names_that_verifiers_ask_for(folder: Path, streaming: bool) -> None:
    columns = {"prompt": "question", "reference": "answer"}
    source = Hub(str(folder), columns=columns, streaming=streaming)
    assert list(source) == [{"prompt": "1 + 1?", "reference": "2"}, {"prompt": "2?", "reference": "2"}]
    (row,) = Hub(str(folder), split="test", columns=columns, streaming=streaming, system="Think.")
    assert row["prompt"] == [{"role": "system", "content": "Think."}, {"role": "user", "content": "3?"}]


def test_what_cannot_be_read_is_a_data_error(folder: Path, tmp_path: Path) -> None:
    for params, message in [
        ({"path": str(tmp_path / "nothing")}, "cannot be read"),
        ({"path": str(folder), "split": "validation"}, "validation"),
        ({"path": str(folder), "name": "other"}, "other"),
        ({"path": str(folder), "columns": {"prompt": "problem"}}, "row 0: there is no column 'problem'"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            list(Hub(**params))  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_a_broken_file_says_why(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"question": "1"}\n{"question": tru\n')
    with pytest.raises(DataError, match="JSON parse error"):
        list(Hub(str(folder)))


def test_a_hub_that_does_not_answer_is_infrastructure(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**arguments: object) -> None:
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(InfrastructureError, match="the hub does not answer for the data set 'openai/gsm8k'"):
        list(Hub("openai/gsm8k"))


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"guerdon\[train\]"):
        Hub("openai/gsm8k")
