from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from guerdon import Judgement, Rollout, StageContext, StageResult

ROLLOUTS = [Rollout("p", text, {"reference": "4"}, (1, 2)) for text in ("4", "5")]
JUDGEMENTS = [Judgement(1.0, {}), Judgement(None, {})]


class Reports(list[tuple[int, Sequence[Mapping[str, Any]]]]):
    """What a stage reported."""

    def __call__(self, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        self.append((step, records))


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def context(reports: Reports, tmp_path: Path) -> StageContext:
    return StageContext(
        stage_id="s",
        models=[],
        sources=[],
        open_rubric=lambda: pytest.fail("no rubric is needed"),
        work=tmp_path,
        output=tmp_path,
        seed=0,
        progress=lambda *_: None,
        report_rollouts=reports,
    )


def test_log_rollouts_reports_a_record_for_each_with_its_extra_values(
    context: StageContext, reports: Reports
) -> None:
    context.log_rollouts(3, ROLLOUTS, JUDGEMENTS, group=[0, 1], completion_tokens=[7, 8])
    ((step, records),) = reports
    assert step == 3
    assert [record["completion"] for record in records] == ["4", "5"]
    assert [record["reward"] for record in records] == [1.0, None]
    assert [record["group"] for record in records] == [0, 1]
    assert [record["completion_tokens"] for record in records] == [7, 8]
    assert records[0]["columns"] == {"reference": "4"}


def test_log_rollouts_refuses_values_that_are_not_one_for_each(context: StageContext) -> None:
    with pytest.raises(ValueError, match="zip"):
        context.log_rollouts(1, ROLLOUTS, JUDGEMENTS, group=[0])
    with pytest.raises(ValueError, match="zip"):
        context.log_rollouts(1, ROLLOUTS, JUDGEMENTS[:1])


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({"dataset": "/a/str"}, r"dataset='/a/str'\): give a Path inside context.output"),
        ({"checkpoint": "a"}, r"checkpoint='a'\): give a Path inside context.output"),
        ({"checkpoint": 3}, "give a Path inside context.output"),
        ({"metrics": [1]}, r"metrics=\[1\]\): give a mapping"),
    ],
)
def test_stage_result_of_a_wrong_type_names_the_field_and_the_fix(given: dict[str, Any], fix: str) -> None:
    with pytest.raises(TypeError, match=fix):
        StageResult(**given)
