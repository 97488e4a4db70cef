"""The computed memory of a stage's step is the peak that a real step takes on CPU."""

from __future__ import annotations

import pytest
from memory_process import CASES, run_apart


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_computed_memory_is_what_a_step_takes(case: str) -> None:
    measured, computed = run_apart(case)
    assert computed == pytest.approx(measured, rel=0.05)
