"""What is heavy is loaded once in a worker, outside the deadline of a verdict."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import GuerdonError, InfrastructureError, PluginContractError, PluginLoadError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.types import Rollout

VERIFIERS = Path(__file__).parents[2] / "fixtures" / "heavy_verifiers.py"


def scores(place: Path, name: str, count: int = 3, **params: Any) -> list[float | None]:
    shutil.copy(VERIFIERS, place / "heavy.py")
    component = load_component(find_plugin(f"./heavy.py:{name}", [Kind.VERIFIER], place), params, place)
    with Rubric([Entry("heavy", component)], workers=4) as rubric:
        judged = rubric.score([Rollout("?", str(number)) for number in range(count)])
    return [judgement.verdicts["heavy"].score.value for judgement in judged]


@pytest.mark.parametrize("name", ["Slow", "SlowAsync"])
def test_setup_longer_than_a_verdict_may_take_costs_no_verdict(tmp_path: Path, name: str) -> None:
    assert scores(tmp_path, name) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Hangs", PluginLoadError, "its setup took more than 0.5 s"),
        (
            "Breaks",
            PluginContractError,
            "the setup of verifier 'Breaks' .* raised RuntimeError: the index is damaged",
        ),
        ("Offline", InfrastructureError, "the setup of verifier 'Offline' .* raised ConnectionRefusedError"),
    ],
)
def test_setup_that_fails_ends_the_scoring(
    tmp_path: Path, name: str, error: type[GuerdonError], message: str
) -> None:
    with pytest.raises(error, match=message):
        scores(tmp_path, name)


def test_max_workers_limits_the_copies(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    assert scores(tmp_path, "Counted", 200, folder=str(copies)) == [1.0] * 200
    assert len(list(copies.iterdir())) == 1


def test_worker_that_is_killed_while_it_builds_a_plugin_is_replaced(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    assert scores(tmp_path, "Killed", 1, folder=str(tries)) == [1.0]
    assert len(list(tries.iterdir())) == 2
