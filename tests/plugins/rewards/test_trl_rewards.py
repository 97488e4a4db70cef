"""TRL's own reward functions in a rubric, by import string: the same values as from TRL itself."""

from __future__ import annotations

from typing import Any

import pytest
from trl import rewards as trl_rewards

from guerdon import Rollout
from guerdon.manifest.rubrics import plugin_entries
from guerdon.rubric import Rubric

RIGHT = "<think>\nFour.\n</think>\nSo it is $\\boxed{4}$."
WRONG = "So it is $\\boxed{5}$."
LOOP = "again and again and again and again and again"


def turns(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": text}] for text in texts]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("accuracy_reward", {"solution": "$4$"}),
        ("reasoning_accuracy_reward", {"solution": "$4$"}),
        ("think_format_reward", {}),
    ],
)
def test_trl_reward_in_a_rubric_gives_the_values_of_trl(name: str, columns: dict[str, Any]) -> None:
    completions = turns(RIGHT, WRONG, LOOP)
    function: Any = getattr(trl_rewards, name)
    expected = function(completions=completions, **{column: [value] * 3 for column, value in columns.items()})
    rollouts = [Rollout("p", one, columns) for one in completions]
    with Rubric(plugin_entries(f"trl.rewards:{name}", {})) as rubric:
        rewards = [judgement.reward for judgement in rubric.score(rollouts)]
    assert rewards == expected
    assert len(set(expected)) > 1
