"""The rewards that look at lengths in tokens: cosine and soft_overlong_punishment."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import PluginNotFoundError
from guerdon_plugins.rewards.cosine import Cosine
from guerdon_plugins.rewards.soft_overlong_punishment import SoftOverlongPunishment

RIGHT = "<think>a</think><answer>4</answer>"
FORMAT: dict[str, Any] = {"verifier": "format"}  # judges without a reference: RIGHT is right, "4" is wrong


def judge(reward: Any, completions: list[Any], lengths: list[int], **columns: Any) -> list[float | None]:
    """Call a reward as TRL does."""
    rewards: list[float | None] = reward(
        prompts=["?"] * len(completions),
        completions=completions,
        completion_ids=[[7] * length for length in lengths],
        trainer_state=object(),
        log_metric=print,
        **columns,
    )
    return rewards


def test_cosine_prefers_short_right_answers_and_long_wrong_ones() -> None:
    lengths = [1, 500, 1000, 5000]
    assert judge(Cosine(**FORMAT), [RIGHT] * 4, lengths) == pytest.approx([1.0, 0.75, 0.5, 0.5], abs=1e-5)
    assert judge(Cosine(**FORMAT), ["4"] * 4, lengths) == pytest.approx([-1.0, -0.75, -0.5, -0.5], abs=1e-5)


def test_cosine_takes_conversations_and_its_own_bounds() -> None:
    reward = Cosine(
        min_value_wrong=0, max_value_wrong=0, min_value_correct=1, max_value_correct=3, max_len=10, **FORMAT
    )
    conversation = [{"role": "assistant", "content": RIGHT}]
    assert judge(reward, [conversation, "4"], [5, 5]) == pytest.approx([2.0, 0.0])


def test_cosine_gives_each_completion_its_own_row() -> None:
    reward = Cosine(verifier="language", verifier_params={"part": "whole"})
    english = "First we add the two numbers of the problem and then we divide."
    values = judge(reward, [english, english], [1000, 1000], language=["en", "ko"])
    assert values == pytest.approx([0.5, -0.5])


def test_cosine_gives_nothing_where_the_verifier_gives_no_verdict() -> None:
    reward = Cosine(verifier="language")
    assert judge(reward, ["some words", "42"], [1, 1], language=[None, "en"]) == [None, None]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"min_value_wrong": 0.0}, "min_value_wrong is 0.0, above max_value_wrong, -0.5"),
        ({"max_value_correct": 0.0}, "min_value_correct is 0.5, above max_value_correct, 0.0"),
        ({"max_len": 0}, "max_len is 0"),
    ],
)
def test_cosine_refuses_values_in_the_wrong_order(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cosine(**params)


def test_cosine_refuses_an_unknown_verifier() -> None:
    with pytest.raises(PluginNotFoundError, match="no verifier is named 'maths'"):
        Cosine(verifier="maths")


def test_soft_overlong_punishment_is_equation_13() -> None:
    reward = SoftOverlongPunishment(max_completion_len=100, soft_punish_cache=20)
    values = judge(reward, ["x"] * 7, [1, 80, 81, 90, 100, 101, 1000])
    assert values == pytest.approx([0.0, 0.0, -0.05, -0.5, -1.0, -1.0, -1.0])


def test_without_a_cache_only_the_limit_counts() -> None:
    reward = SoftOverlongPunishment(max_completion_len=10, soft_punish_cache=0)
    assert judge(reward, ["x"] * 3, [9, 10, 11]) == [0.0, 0.0, -1.0]


@given(
    limit=st.integers(0, 50),
    cache=st.integers(0, 50),
    lengths=st.lists(st.integers(0, 120), min_size=1, max_size=8),
)
def test_soft_overlong_punishment_agrees_with_trl(limit: int, cache: int, lengths: list[int]) -> None:
    rewards = pytest.importorskip("trl.rewards", reason="TRL's own reward needs the extra 'train'")
    if cache > limit:
        with pytest.raises(ValueError, match="soft_punish_cache"):
            SoftOverlongPunishment(limit, cache)
        return
    ours = judge(SoftOverlongPunishment(limit, cache), ["x" if n else "" for n in lengths], lengths)
    theirs = rewards.get_soft_overlong_punishment(limit, cache)(
        completion_ids=[[7] * length for length in lengths]
    )
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("reward", [Cosine(**FORMAT), SoftOverlongPunishment(10, 5)])
def test_lengths_need_token_ids(reward: Any) -> None:
    with pytest.raises(ValueError, match="comes without token ids"):
        judge(reward, [RIGHT], [0])
    assert len(judge(reward, [""], [0])) == 1


def test_trl_can_name_and_send_them() -> None:
    reward = SoftOverlongPunishment(10, 5)
    assert reward.__name__ == "soft_overlong_punishment"
    assert Cosine(**FORMAT).__name__ == "cosine"
    assert judge(pickle.loads(pickle.dumps(reward)), ["x"], [8]) == [-0.6]
