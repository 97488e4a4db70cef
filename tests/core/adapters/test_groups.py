"""Group rewards in other trainers and over HTTP: whole groups, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from guerdon.adapters import openrlhf, trl, verifiers, verl
from guerdon.errors import DataError, UsageError
from guerdon.manifest.rubrics import resolve_rubric
from guerdon.rubric import Rubric
from guerdon.rubric.shared import SharedRubric
from guerdon.serve.app import Limits, create_app

MODULE = """
def longest(completions):
    return [float(len(one) == max(map(len, completions))) for one in completions]
longest.guerdon_kind = "group_reward"
"""


@pytest.fixture
def name(tmp_path: Path) -> str:
    (tmp_path / "grouped.py").write_text(MODULE)
    return f"{tmp_path / 'grouped.py'}:longest"


def test_trl_with_num_generations_judges_whole_groups(name: str) -> None:
    with trl.reward_function(name, num_generations=2, workers=1) as function:
        assert function(prompts=["p", "p", "q", "q"], completions=["a", "bb", "c", "c"]) == [
            0.0,
            1.0,
            1.0,
            1.0,
        ]
        with pytest.raises(DataError, match="not whole groups of num_generations 2"):
            function(prompts=["p", "q"], completions=["a", "bb"])
        with pytest.raises(DataError, match="multiple of num_generations"):
            function(prompts=["p"], completions=["a"])


def test_adapters_without_groups_refuse_a_group_reward(name: str) -> None:
    for make in (
        lambda: trl.reward_function(name),
        lambda: openrlhf.reward_function(name),
        lambda: verifiers.reward_function(name),
        lambda: verl.compute_score("data", "text", "4", rubric=name),
    ):
        with pytest.raises(UsageError, match="'longest' compares the completions of one prompt"):
            make()


def test_server_judges_the_rollouts_of_one_group_together(name: str) -> None:
    rubric = SharedRubric(Rubric(resolve_rubric(name).entries, workers=1))
    with rubric, TestClient(create_app(rubric, Limits())) as client:

        def post(*rollouts: dict[str, object]) -> tuple[int, object]:
            answer = client.post("/score", json={"rollouts": list(rollouts)})
            body = answer.json()
            return answer.status_code, body.get("detail") or [one["reward"] for one in body["results"]]

        one, other = {"completion": "a", "group": 1}, {"completion": "bb", "group": 1}
        assert post(one, other, {"completion": "c", "group": "x"}) == (200, [0.0, 1.0, 1.0])
        status, detail = post({"completion": "a"})
        assert status == 422
        assert "has no 'group'" in str(detail)
        status, detail = post(one, {"completion": "b", "group": 1, "prompt": "another"})
        assert status == 422
        assert "another prompt" in str(detail)
        answer = client.post("/get_reward", json={"query": ["a"], "prompts": [""], "labels": ["4"]})
        assert answer.status_code == 422
