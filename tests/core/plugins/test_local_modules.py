"""Plugin files and the modules beside them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from guerdon.options.conflicts import installed
from guerdon.plugins.discovery import Kind, find_plugin, load_plugin
from guerdon.plugins.local_modules import import_file


def load(folder: Path, spec: str) -> object:
    plugin = find_plugin(spec, [Kind.VERIFIER], folder)
    return load_plugin(plugin, folder)


def test_load_plugin_edited_file_gives_the_new_code(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def f(completion): return 1\n")
    assert load(tmp_path, "./mine.py:f")("") == 1  # type: ignore[operator]
    file.write_text("def f(completion): return 2\n")
    assert load(tmp_path, "./mine.py:f")("") == 2  # type: ignore[operator]


def test_load_plugin_edited_helper_gives_the_new_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "helper_of_mine.py").write_text("VALUE = 1\n")
    (tmp_path / "mine.py").write_text("from helper_of_mine import VALUE\ndef f(completion): return VALUE\n")
    assert load(tmp_path, "./mine.py:f")("") == 1  # type: ignore[operator]
    (tmp_path / "helper_of_mine.py").write_text("VALUE = 2\n")  # as long, and in the same second
    assert load(tmp_path, "./mine.py:f")("") == 2  # type: ignore[operator]


def test_load_plugin_two_folders_with_one_module_name_keep_apart(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same_name.py").write_text(f"def f(completion): return {value}\n")
    assert load(tmp_path / "a", "same_name:f")("") == 1  # type: ignore[operator]
    assert load(tmp_path / "b", "same_name:f")("") == 2  # type: ignore[operator]
    assert load(tmp_path / "a", "same_name:f")("") == 1  # type: ignore[operator]


def test_load_plugin_leaves_sys_path_alone_and_no_folder_passes_for_a_library(tmp_path: Path) -> None:
    (tmp_path / "a_tracker_that_is_not_there").mkdir()
    (tmp_path / "mine.py").write_text("def f(completion): return 1\n")
    before = list(sys.path)
    load(tmp_path, "./mine.py:f")
    assert sys.path == before
    assert not installed("a_tracker_that_is_not_there")


def test_load_plugin_late_import_of_a_neighbour_works(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("VALUE = 7\n")
    (tmp_path / "mine.py").write_text(
        "def f(completion):\n    import neighbour_of_mine\n    return neighbour_of_mine.VALUE\n"
    )
    assert load(tmp_path, "./mine.py:f")("") == 7  # type: ignore[operator]


def test_import_file_of_a_name_that_the_file_systems_encoding_lacks(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff.py")
    file.write_text("def f(completion): return 1")
    assert import_file(file).f("") == 1
