from __future__ import annotations

import io

from rich.console import Console

from guerdon.cli.tables import print_results
from guerdon.stage import StageResult

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
