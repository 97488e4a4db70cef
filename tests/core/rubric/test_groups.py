"""Group rewards: whole groups, routes, needs, failures, retries and the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from guerdon import Rollout
from guerdon.errors import DataError, UsageError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, Kind, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.rubric.shared import SharedRubric
from guerdon.types import Judgements, Outcome

MODULE = """
from guerdon import Score


def longest(completions, met, log=None):
    if log:
        with open(log, "a") as file:
            file.write("|".join(completions) + "\\n")
    return [float(len(one) == max(map(len, completions))) for one in completions]


longest.guerdon_kind = "group_reward"


class Shares:
    guerdon_kind = "group_reward"

    async def __call__(self, completions, reference, **columns):
        return [
            None if one == "skip" else Score(one.count(reference) / len(completions), explanation=str(sorted(columns)))
            for one in completions
        ]


def broken(completions):
    if "raise" in completions:
        raise KeyError("lost")
    if "few" in completions:
        return [1.0]
    return [float("nan") if one == "nan" else 1.0 for one in completions]


broken.guerdon_kind = "group_reward"


def unnamed(completions, met):
    return [1.0 for _ in completions]


def right(completion):
    if completion == "down":
        raise ConnectionError("down")
    return float("right" in completion)
"""

Make = Callable[..., Entry]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "grouped.py").write_text(MODULE)

    def entry(name: str, /, params: dict[str, Any] | None = None, **fields: Any) -> Entry:
        plugin = find_plugin(f"grouped.py:{name}", SCORERS, tmp_path)
        return Entry(name, load_component(plugin, params or {}, tmp_path), **fields)

    return entry


def judge(
    entries: list[Entry], texts: Sequence[str], groups: Sequence[int] | None, **columns: Any
) -> Judgements:
    with Rubric(entries, workers=1) as rubric:
        return rubric.score([Rollout("p", text, columns) for text in texts], groups=groups)


def values(judgements: Judgements, name: str) -> list[float | None]:
    return [one.verdicts[name].score.value if name in one.verdicts else None for one in judgements]


def test_group_reward_sees_each_group_wherever_its_rollouts_are(make: Make) -> None:
    entry = make("longest")
    assert entry.component.kind is Kind.GROUP_REWARD
    judgements = judge([entry], ["a", "xxxx", "bb", "y"], [0, 1, 0, 1])
    assert values(judgements, "longest") == [0.0, 1.0, 1.0, 0.0]


def test_group_reward_without_groups_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match=r"belong together\. Give rubric\.score\(rollouts, groups="):
        judge([make("longest")], ["a"], None)


def test_reward_that_reads_what_a_group_gets_is_told_to_name_its_kind(make: Make) -> None:
    with pytest.raises(
        DataError, match=r"only a group reward gets .* set guerdon_kind = 'group_reward' on it"
    ):
        judge([make("unnamed")], ["a"], [0])


def test_group_reward_is_async_and_gets_shared_columns_and_skips(make: Make) -> None:
    judgements = judge([make("Shares")], ["4", "skip"], [0, 0], reference="4", task="math")
    assert values(judgements, "Shares") == [0.5, None]
    assert judgements[1].verdicts["Shares"].score.outcome is Outcome.SKIPPED
    assert judgements[0].verdicts["Shares"].score.explanation == "['task']"


def test_group_reward_whose_column_differs_in_a_group_is_an_error(make: Make) -> None:
    rollouts = [Rollout("p", "4", {"reference": reference}) for reference in "45"]
    with (
        Rubric([make("Shares")], workers=1) as rubric,
        pytest.raises(DataError, match="differs in one group: '4', '5'"),
    ):
        rubric.score(rollouts, groups=[0, 0])


@pytest.mark.parametrize("text", ["raise", "few"])
def test_failed_group_fails_all_its_members_and_no_others(make: Make, text: str) -> None:
    judgements = judge([make("broken")], [text, "b", "c", "d"], [0, 0, 1, 1])
    assert values(judgements, "broken") == [None, None, 1.0, 1.0]
    assert [one.reward for one in judgements] == [None, None, 1.0, 1.0]
    assert judgements[1].verdicts["broken"].score.outcome is Outcome.FAILED


def test_failed_member_fails_alone(make: Make) -> None:
    judgements = judge([make("broken")], ["nan", "b"], [0, 0])
    assert [one.reward for one in judgements] == [None, 1.0]


def test_needs_of_a_group_reward_keep_the_group_whole(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    entries = [make("longest", {"log": str(log)}, needs=("right",)), make("right", weight=0.0)]
    texts = ["right", "wrong and long", "right!", "down", "wrong", "bad"]
    judgements = judge(entries, texts, [0, 0, 0, 0, 1, 1])
    assert (
        log.read_text() == "right|wrong and long|right!|down\n"
    )  # no member of the second group meets the need
    assert values(judgements, "longest") == [0.0, 0.0, 0.0, None, 0.0, 0.0]
    assert judgements[1].verdicts["longest"].tries == 0
    assert judgements[3].reward is None


def test_route_decides_which_rollouts_are_the_group(make: Make) -> None:
    entry = make("longest", when={"task": "math"})
    rollouts = [
        Rollout("p", text, {"task": task}) for text, task in [("a", "math"), ("bbb", "code"), ("cc", "math")]
    ]
    with Rubric([entry], workers=1) as rubric:
        judgements = rubric.score(rollouts, groups=[0, 0, 0])
    assert values(judgements, "longest") == [0.0, None, 1.0]


def test_cache_keeps_whole_groups(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Rubric([make("longest", {"log": str(log)})], workers=1) as rubric:
        for texts in (["a", "bb"], ["a", "bb"], ["bb", "a"]):
            rubric.score([Rollout("p", text) for text in texts], groups=[0, 0])
    assert log.read_text() == "a|bb\nbb|a\n"


def test_shared_rubric_keeps_the_groups_of_calls_apart(make: Make) -> None:
    with SharedRubric(Rubric([make("longest")], workers=1)) as shared:
        calls = [
            shared.submit([Rollout("p", text) for text in texts], groups=[0, 0])
            for texts in (["a", "bb"], ["ccc", "d"])
        ]
        assert [values(call.result(), "longest") for call in calls] == [[0.0, 1.0], [1.0, 0.0]]
