from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import DataError
from guerdon.testing import ToolConformance
from guerdon_plugins.tools.search import Search

pytest.importorskip("bm25s")

PASSAGES = [
    {"text": "The cat sat on the mat.", "title": "Cats"},
    {"text": "Dogs bark at night.", "title": "Dogs"},
    {"text": "Paris is the capital of France.", "title": "Paris"},
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    file.write_text("".join(json.dumps(passage) + "\n" for passage in PASSAGES))
    return file


class TestSearch(ToolConformance):
    plugin = "search"
    calls = (
        ({"query": "capital of France"}, "[1] Paris\nParis is the capital of France."),
        ({"query": "zebra"}, "nothing found"),
        ({"query": ""}, "nothing found"),
    )

    @pytest.fixture(autouse=True)
    def _with_corpus(self, corpus: Path) -> None:
        type(self).params = {"corpus": str(corpus), "title": "title"}


def test_content_of_the_corpus_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n")
    before = Search("a.txt", base_dir=tmp_path).fingerprint()
    file.write_text("two\n")
    assert Search("a.txt", base_dir=tmp_path).fingerprint() != before


@pytest.mark.parametrize(
    ("content", "params", "message"),
    [
        ("", {}, "has no passages|holds no rows|no rows"),
        ('{"body": "a"}\n', {}, "no text in the column 'text', only body"),
        (None, {}, "is not a file"),
    ],
)
def test_wrong_corpus_is_an_error(
    tmp_path: Path, content: str | None, params: dict[str, Any], message: str
) -> None:
    if content is not None:
        (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        Search("a.jsonl", base_dir=tmp_path, **params).preflight()
