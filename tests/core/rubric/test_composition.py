"""``needs``, ``first_of`` and retries, in real worker processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guerdon import Rollout
from guerdon.errors import FailureBudgetError, UsageError
from guerdon.grpo.reward_matrix import judging_metrics, reward_row
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, FirstOf, OnFailure, Rubric
from guerdon.types import Judgement, Outcome

MODULE = '''
from pathlib import Path

from guerdon import Score


def formed(completion):
    return float(completion.startswith("<"))


def right(completion, reference, log):
    with open(log, "a") as file:
        file.write(completion + "\\n")
    return completion.strip("<>") == reference


def kind(completion):
    return 1.0 if "please" in completion else None


def flaky(completion, folder):
    """Fail for the number of tries that the completion says."""
    tries = Path(folder, completion)
    seen = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (seen + 1))
    if seen < int(completion):
        return Score.failed("infrastructure", "down")
    return 1.0


def unreadable(completion, log):
    with open(log, "a") as file:
        file.write(completion + "\\n")
    return Score.failed("reference", "no")


def batch(completions, folder, **columns):
    tries = Path(folder, "batch")
    seen = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (seen + 1))
    if seen == 0:
        raise ConnectionError("down")
    return [len(completions)] * len(completions)
'''

Make = Callable[..., Entry]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "composed.py").write_text(MODULE)

    def entry(function: str, /, params: dict[str, Any] | None = None, **fields: Any) -> Entry:
        component = load_component(
            find_plugin(f"composed.py:{function}", SCORERS, tmp_path), params or {}, tmp_path
        )
        return Entry(fields.pop("name", function), component, **fields)

    return entry


def judge(entries: list[Entry], *completions: str, **columns: Any) -> list[Judgement]:
    with Rubric(entries, workers=1) as rubric:
        return rubric.score([Rollout("p", text, columns) for text in completions])


def test_needs_of_a_low_entry_scores_zero_and_does_not_ask(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    entries = [make("right", {"log": str(log)}, needs=("formed",)), make("formed", weight=0.0)]
    good, bad, wrong = judge(entries, "<4>", "4", "<5>", reference="4")
    assert [one.reward for one in (good, bad, wrong)] == [1.0, 0.0, 0.0]
    assert log.read_text().split() == ["<4>", "<5>"]
    verdict = bad.verdicts["right"]
    assert verdict.tries == 0
    assert verdict.score.explanation == "not asked: it needs 'formed', which scored 0"
    assert reward_row(bad, ["right", "formed"]) == [0.0, 0.0]


def test_first_of_asks_the_next_only_below_full_value(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = FirstOf(name="either", weight=2.0)
    entries = [
        make("formed", weight=0.0, within=whole),
        make("right", {"log": str(log)}, weight=0.0, within=whole),
    ]
    first, second, none = judge(entries, "<no>", "4", "5", reference="4")
    assert [one.reward for one in (first, second, none)] == [2.0, 2.0, 0.0]
    assert log.read_text().split() == ["4", "5"]
    assert list(first.verdicts) == ["formed", "either"]
    assert second.verdicts["either"].score.metadata["decided_by"] == "right"


def test_needs_of_a_first_of_gates_its_members(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = FirstOf(name="either", needs=("kind",))
    entries = [
        make("right", {"log": str(log)}, weight=0.0, within=whole),
        make("formed", weight=0.0, within=whole),
        make("kind", weight=0.0),
    ]
    (skipped,) = judge(entries, "4", reference="4")
    assert skipped.reward is None
    assert skipped.verdicts["either"].score.outcome is Outcome.SKIPPED
    assert not log.exists()


def test_retry_of_a_failed_score_saves_it_and_counts_the_tries(make: Make, tmp_path: Path) -> None:
    (tmp_path / "tries").mkdir()
    entries = [make("flaky", {"folder": str(tmp_path / "tries")}, retries=2)]
    at_once, saved, lost = judge(entries, "0", "2", "3")
    assert [one.verdicts["flaky"].tries for one in (at_once, saved, lost)] == [1, 3, 3]
    assert [one.reward for one in (at_once, saved, lost)] == [1.0, 1.0, None]
    assert [one.verdicts["flaky"].saved for one in (at_once, saved, lost)] == [False, True, False]
    metrics = list(judging_metrics([at_once, saved, lost], ["flaky"]))
    assert [value for name, value in metrics if name == "rewards/flaky/retry_rate"] == [0.0, 1.0, 1.0]
    assert [value for name, value in metrics if name == "rewards/flaky/saved_rate"] == [0.0, 1.0, 0.0]


def test_retry_of_an_unreadable_reference_is_not_made(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (one,) = judge([make("unreadable", {"log": str(log)}, retries=5)], "4")
    assert one.verdicts["unreadable"].tries == 1
    assert log.read_text() == "4\n"


def test_retry_of_a_reward_gives_it_the_whole_batch(make: Make, tmp_path: Path) -> None:
    judgements = judge([make("batch", {"folder": str(tmp_path)}, retries=1)], "a", "b", "c")
    assert [one.reward for one in judgements] == [3.0, 3.0, 3.0]


def test_failure_budget_counts_neither_saved_scores_nor_decided_members(make: Make, tmp_path: Path) -> None:
    (tmp_path / "tries").mkdir()
    whole = FirstOf(name="either")
    flaky = make("flaky", {"folder": str(tmp_path / "tries")}, weight=0.0, within=whole)
    with Rubric([flaky, make("formed", weight=0.0, within=whole)], workers=1, failure_budget=0.0) as rubric:
        (judgement,) = rubric.score([Rollout("p", "9")])
    assert judgement.reward == 0.0
    with (
        Rubric([make("flaky", {"folder": str(tmp_path / "tries")})], workers=1, failure_budget=0.0) as rubric,
        pytest.raises(FailureBudgetError, match="flaky"),
    ):
        rubric.score([Rollout("p", "8")])


def test_names_bring_what_they_need(make: Make, tmp_path: Path) -> None:
    entries = [
        make("right", {"log": str(tmp_path / "log")}, needs=("formed",)),
        make("formed"),
        make("kind"),
    ]
    with Rubric(entries, workers=1) as rubric:
        (judgement,) = rubric.score([Rollout("p", "<4>", {"reference": "4"})], names=["right"])
    assert set(judgement.verdicts) == {"right", "formed"}


def test_abort_of_a_member_stops(make: Make, tmp_path: Path) -> None:
    whole = FirstOf(name="either")
    entries = [
        make(
            "unreadable", {"log": str(tmp_path / "l")}, weight=0.0, within=whole, on_failure=OnFailure.ABORT
        ),
        make("formed", weight=0.0, within=whole),
    ]
    with pytest.raises(FailureBudgetError, match="unreadable"):
        judge(entries, "<4>")


@pytest.mark.parametrize(
    ("needs", "words"), [(("nothing",), "needs 'nothing'"), (("formed",), "circle"), (("kind",), "circle")]
)
def test_rubric_with_wrong_needs_is_refused(make: Make, needs: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Rubric([make("formed", needs=needs), make("kind", needs=("formed",))])
