"""``Score.usage``: what checks consumed, summed over retries, and counted once."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure, Outcome, Rollout, Score
from guerdon.grpo.reward_matrix import judging_metrics
from guerdon.offline.summary import Summary
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, FirstOf, Rubric
from guerdon.scoring.cache import ScoreCache
from guerdon.types import Judgement, Judgements, Verdict, total_usage

PLUGIN = """
from guerdon import Score

asked = {}

def spends(completion):
    asked[completion] = asked.get(completion, 0) + 1
    usage = {"requests": 1, "cost": 0.5}
    if completion == "again" and asked[completion] == 1:
        return Score(None, "failed", "infrastructure", usage=usage)
    if completion == "never":
        return Score(None, "failed", "verifier", usage=usage)
    return Score(0.5, usage=usage)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    (tmp_path / "spender.py").write_text(PLUGIN)
    return f"{tmp_path}/spender.py:spends"


def entry(use: str, **fields: Any) -> Entry:
    return Entry("spends", load_component(find_plugin(use, SCORERS), {}, None), **fields)


def judged(texts: Sequence[str], *entries: Entry, cache: ScoreCache | None = None) -> Judgements:
    with Rubric(entries, cache=cache, workers=1) as rubric:
        return rubric.score([Rollout("p", text) for text in texts])


def test_usage_is_counted_once_for_equal_completions_and_not_from_the_cache(plugin: str) -> None:
    cache = ScoreCache()
    first = judged(["a", "b", "a"], entry(plugin), cache=cache)
    assert [bool(one.verdicts["spends"].score.usage) for one in first] == [True, True, False]
    again = judged(["a", "b"], entry(plugin), cache=cache)
    assert [one.verdicts["spends"].score.usage for one in again] == [{}, {}]
    assert [one.reward for one in again] == [0.5, 0.5]
    cache.close()


def test_usage_of_retries_is_added_and_failures_have_theirs(plugin: str) -> None:
    saved, lost = judged(["again", "never"], entry(plugin, retries=2))
    assert saved.verdicts["spends"].score.usage == {"requests": 2, "cost": 1.0}
    assert saved.reward == 0.5
    assert lost.verdicts["spends"].score.usage == {"requests": 3, "cost": 1.5}
    assert lost.reward is None


def test_usage_of_a_first_of_is_that_of_its_members(plugin: str) -> None:
    (one,) = judged(["a"], entry(plugin, weight=0.0, within=FirstOf(name="whole")))
    assert one.verdicts["spends"].score.usage == {"requests": 1, "cost": 0.5}
    assert not one.verdicts["whole"].score.usage
    assert one.reward == 0.5


def test_usage_is_a_mean_in_metrics_and_a_sum_in_a_summary() -> None:
    spent = Judgement.of({"j": Verdict(Score(1.0, usage={"cost": 0.5}), 1.0, 0.0)})
    cached = Judgement.of({"j": Verdict(Score(1.0), 1.0, 0.0)})
    values = [value for name, value in judging_metrics([spent, cached]) if name == "rewards/j/usage/cost"]
    assert values == [0.5, 0.0]
    assert not [name for name, _ in judging_metrics([cached]) if "usage" in name]
    summary = Summary(["j"])
    for judgement in (spent, spent, cached):
        summary.add("row", judgement)
    assert "used: 'j', 1 cost" in summary.remarks()


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: "/" not in name), st.floats(0, 1e300)))
def test_usage_survives_json_and_pickle(usage: dict[str, float]) -> None:
    for score in (
        Score(1.0, usage=usage),
        Score(None, Outcome.FAILED, Failure.VERIFIER, usage=usage),
        Score(None, Outcome.SKIPPED, usage=usage),
    ):
        assert Score.from_dict(score.to_dict()) == score == pickle.loads(pickle.dumps(score))
        assert score.usage == usage


@pytest.mark.parametrize(
    "usage", [{"a": -1}, {"a": float("nan")}, {"a": "1"}, {"": 1}, {"a/b": 1}, {1: 1}, 7, ["a"]]
)
def test_usage_that_is_not_an_amount_is_refused(usage: Any) -> None:
    with pytest.raises(ValueError, match=r"usage|finite"):
        Score(1.0, usage=usage)


def test_total_usage_adds_by_name() -> None:
    assert total_usage([{"a": 1.0}, {}, {"a": 2.0, "b": 0.5}]) == {"a": 3.0, "b": 0.5}
