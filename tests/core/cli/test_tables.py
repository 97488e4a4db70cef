from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from guerdon.cli.plugins_test import test as command
from guerdon.cli.tables import print_measures, print_results, print_rows
from guerdon.stage import StageResult

USERS_TEXT = ["./door.py:Door:", ":smile:", "[red]a[/red]", "[/]", "[link=x]"]

MODELS = ("base", "zero", "cold", "reasoning", "general", "rewrite", "final", "distilled")


def printed(columns: int, models: int, measures: int) -> str:
    screen = io.StringIO()
    rows = [
        {"model": model, **{f"measure_{number}_mean@4": number + 0.125 for number in range(measures)}}
        for model in MODELS[:models]
    ]
    results = {"table": StageResult(metrics={"tables": {"evaluation": rows}})}
    print_results(results, Console(file=screen, width=columns))
    return screen.getvalue()


def test_results_that_fit_have_a_line_for_each_model() -> None:
    lines = [line.strip() for line in printed(80, 3, 2).splitlines()]
    assert [line.split()[0] for line in lines if line.startswith(MODELS)] == ["base", "zero", "cold"]


def test_results_that_are_too_wide_are_turned_and_every_number_is_legible() -> None:
    text = printed(80, 4, 20)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for number in range(20):
        line = next(line for line in text.splitlines() if line.strip().startswith(f"measure {number} mean@4"))
        assert line.split()[-4:] == [f"{number + 0.125:.3f}"] * 4


def test_results_of_too_many_models_are_printed_in_parts() -> None:
    text = printed(60, 8, 12)
    assert max(map(len, text.splitlines())) <= 60
    assert "…" not in text
    assert all(model in text for model in MODELS)


@pytest.mark.parametrize("text", USERS_TEXT)
def test_tables_print_emoji_codes_and_markup_as_they_are(text: str) -> None:
    for columns, count in ((200, 8), (20, 16)):
        screen = io.StringIO()
        console = Console(file=screen, width=columns)
        print_rows(text, [{text: text}], console)
        print_measures(text, [{text: text}], console)
        print_measures(
            text, [{"x": "a", text: 1.0, text * 2: 2.0, text * 3: 3.0}], Console(file=screen, width=count)
        )
        print_results({text: StageResult()}, console)
        assert screen.getvalue().replace("\n", "").count(text) >= 6


def test_plugins_test_names_a_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "door.py").write_text("def Door(completion):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    assert "./door.py:Door: " in CliRunner().invoke(command, ["./door.py:Door"]).output
