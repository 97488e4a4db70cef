"""One verifier, called in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon import Failure, Score
from guerdon.errors import ParamsError, PluginContractError, PluginNotFoundError
from guerdon.verifier import load_verifier


def test_a_verifier_by_name_and_params() -> None:
    verify = load_verifier("format", {"tags": ["think"], "free_answer": True})
    assert verify("<think>a</think> b", {"reference": "unused"}).value == 1.0
    assert verify("b", {}).value == 0.0


def test_a_verifier_in_a_file_gets_the_columns_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def equal(completion, reference, level=0): return completion == reference + str(level)\n"
        "def broken(completion): raise RuntimeError('no')\n"
        "async def later(completion): return 1.0\n"
    )
    equal = load_verifier("mine.py:equal", base_dir=tmp_path)
    assert equal("a1", {"reference": "a", "level": 1, "other": 2}) == Score(1.0)
    assert equal("a", {}).failure is Failure.VERIFIER  # its reference is missing
    assert load_verifier("mine.py:broken", base_dir=tmp_path)("a", {}).explanation == "RuntimeError: no"
    with pytest.raises(PluginContractError, match="asynchronous"):
        load_verifier("mine.py:later", base_dir=tmp_path)


def test_what_does_not_load_is_an_error() -> None:
    with pytest.raises(PluginNotFoundError, match="no verifier is named 'formt'"):
        load_verifier("formt")
    with pytest.raises(ParamsError, match="unknown param 'tag'"):
        load_verifier("format", {"tag": []})
