import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.run.trend import Measured, trend, trend_of_means

numbers = st.lists(st.floats(-1e6, 1e6), max_size=50)


@given(numbers)
def test_trend_has_a_bound_and_changes_its_sign_with_the_order(values: list[float]) -> None:
    z = trend(values)
    assert abs(z) <= math.sqrt(max(0, len(values) - 1)) * (1 + 1e-9)
    assert trend(values[::-1]) == pytest.approx(-z, abs=1e-6)


@given(st.lists(st.integers(-100, 100), max_size=50), st.integers(1, 100), st.integers(-100, 100))
def test_trend_does_not_depend_on_the_unit(values: list[int], factor: int, shift: int) -> None:
    assert trend([factor * value + shift for value in values]) == pytest.approx(trend(values), abs=1e-6)


def test_trend_of_independent_values_is_their_correlation_in_standard_errors() -> None:
    # The residuals alternate, so all 40 values count.
    values = [place + 5 * (-1) ** place for place in range(40)]
    mean = sum(values) / 40
    together = sum((place - 19.5) * (value - mean) for place, value in enumerate(values))
    squares = sum((value - mean) ** 2 for value in values)
    correlation = together / math.sqrt(squares * 40 * (40**2 - 1) / 12)
    assert trend(values) == pytest.approx(correlation * math.sqrt(39))


def test_trend_of_values_that_resemble_each_other_is_smaller() -> None:
    slow = [math.sin(place / 6) for place in range(60)]
    shuffled = [slow[(place * 23) % 60] for place in range(60)]
    assert trend([n / 60 + value for n, value in enumerate(slow)]) < 2
    assert trend([n / 60 + value for n, value in enumerate(shuffled)]) > 2


@pytest.mark.parametrize("slope", [0.1, -0.1, 1e-9, 1e9])
def test_trend_of_a_line_is_as_large_as_can_be(slope: float) -> None:
    found = trend([1.0 + slope * place for place in range(50)])
    assert found == pytest.approx(math.copysign(7.0, slope))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [0.1] * 50, [1e-300] * 9])
def test_trend_of_too_few_or_equal_values_is_nothing(values: list[float]) -> None:
    assert trend(values) == 0.0


def test_trend_of_two_proportions_is_their_pooled_test() -> None:
    # 80 of 120 and 40 of 120: z = (1/3) / sqrt(0.25 * 2 / 120)
    points = [Measured(0, 2 / 3, 2 / 9, 120), Measured(20, 1 / 3, 2 / 9, 120)]
    assert trend_of_means(points) == pytest.approx(-(1 / 3) / math.sqrt(0.25 * 2 / 120))


def test_trend_of_means_is_that_of_cochran_and_armitage() -> None:
    passed, counts = (25, 20, 10), (30, 40, 35)
    points = [
        Measured(dose, k / n, k / n * (1 - k / n), n)
        for dose, (k, n) in enumerate(zip(passed, counts, strict=True))
    ]
    total, right = sum(counts), sum(passed)
    statistic = sum(
        dose * (k * (total - right) - (n - k) * right)
        for dose, (k, n) in enumerate(zip(passed, counts, strict=True))
    )
    squares = (
        sum(dose**2 * n for dose, n in enumerate(counts)) * total
        - sum(dose * n for dose, n in enumerate(counts)) ** 2
    )
    variance = right * (total - right) * squares / total
    assert trend_of_means(points) == pytest.approx(statistic / math.sqrt(variance))


def test_trend_of_means_without_values_or_of_one_step_is_nothing() -> None:
    assert trend_of_means([]) == 0.0
    assert trend_of_means([Measured(0, 0.5, 0.25, 100)]) == 0.0
    assert trend_of_means([Measured(0, 0.5, 0.0, 9), Measured(20, 0.5, 0.0, 9)]) == 0.0
    assert trend_of_means([Measured(0, 0.5, 0.2, 0), Measured(20, 0.1, 0.2, 0)]) == 0.0
