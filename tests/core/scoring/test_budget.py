"""The budget's window; that a rubric spends it is in test_rubric.py."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from guerdon.errors import FailureBudgetError
from guerdon.scoring.budget import WINDOW, FailureBudget
from guerdon.types import Failure, Score

GOOD = Score(1.0)
BAD = Score.failed(Failure.INFRASTRUCTURE, "sandbox down")


@pytest.mark.parametrize("after", [0, WINDOW, 10 * WINDOW])
def test_failures_count_wherever_they_stand_in_a_call(after: int) -> None:
    scores = [GOOD] * WINDOW + [BAD] * 26 + [GOOD] * after
    with pytest.raises(
        FailureBudgetError, match=r"'code' failed on 26 of its latest 256 .* 10%.*sandbox down"
    ):
        FailureBudget(0.1).spend("code", scores)
    FailureBudget(0.11).spend("code", scores)


def test_a_run_may_begin_with_its_only_failures() -> None:
    budget = FailureBudget(0.1)
    budget.spend("code", [BAD] * 3 + [GOOD] * 27)
    with pytest.raises(FailureBudgetError, match="failed on 4 of its latest 31"):
        budget.spend("code", [BAD])
    budget.spend("math", [BAD, BAD])  # each verifier has its own


def test_threads_that_spend_at_once_lose_no_score() -> None:
    budget = FailureBudget(0.5)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: budget.spend("code", [GOOD, BAD] * 4), range(2000)))
    with pytest.raises(FailureBudgetError, match="failed on 129 of its latest 256"):
        budget.spend("code", [BAD])
