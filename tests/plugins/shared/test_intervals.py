"""Intervals and p-values over prompts: against definitions, brute force and coverage on known distributions."""

from __future__ import annotations

import random
from itertools import product
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_plugins.shared import intervals as module
from guerdon_plugins.shared.intervals import Part, intervals, ratio, sign_flip_p

WHOLE = st.integers(-3, 3).map(float)


def brute_force_p(differences: list[float]) -> float:
    observed = abs(sum(differences))
    flips = list(product((1, -1), repeat=len(differences)))
    hits = sum(
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed for signs in flips
    )
    return hits / len(flips)


@given(st.lists(WHOLE, max_size=9))
def test_sign_flip_p_of_few_pairs_equals_brute_force(differences: list[float]) -> None:
    assert sign_flip_p(differences, 0) == pytest.approx(brute_force_p(differences))


@given(st.lists(WHOLE, min_size=1, max_size=40), st.integers(0, 5))
def test_sign_flip_p_is_a_probability_and_two_sided(differences: list[float], seed: int) -> None:
    p = sign_flip_p(differences, seed)
    assert 0 < p <= 1
    assert p == sign_flip_p([-one for one in differences], seed) or len(differences) > 13
    assert p == sign_flip_p(differences, seed)


def test_sign_flip_p_of_random_flips_is_near_that_of_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = [1.0, 1.0, -1.0, 2.0, 0.5, 1.0, -0.5, 1.0, 1.0, -1.0, 0.25, 0.75]
    exact = sign_flip_p(differences, 0)
    assert exact == pytest.approx(brute_force_p(differences))
    monkeypatch.setattr(module, "FLIPS", 4000)
    assert 2 ** len(differences) > 4000
    assert sign_flip_p(differences, 0) == pytest.approx(exact, abs=0.02)


def test_sign_flip_p_of_equal_models_is_1_and_of_unequal_ones_the_least() -> None:
    assert sign_flip_p([0.0] * 50, 0) == 1.0
    assert sign_flip_p([1.0] * 50, 0) == 1 / (module.FLIPS + 1)


def test_sign_flip_p_rarely_rejects_where_nothing_differs() -> None:
    source = random.Random(1)
    small = [
        sign_flip_p([float(source.choice((-1, 0, 1))) for _ in range(30)], 0) <= 0.05 for _ in range(200)
    ]
    assert sum(small) <= 20


PARTS = st.lists(st.tuples(WHOLE, st.integers(1, 3)), min_size=2, max_size=12)


@given(PARTS)
def test_interval_lies_within_the_prompts_values_and_is_the_same_again(parts: list[Part]) -> None:
    (interval,) = intervals([parts], seed=3)
    assert interval is not None
    low, high = interval
    means = [total / count for total, count in parts]
    assert min(means) - 1e-9 <= low <= high <= max(means) + 1e-9
    assert intervals([parts], seed=3) == [interval]


def test_interval_equals_the_percentiles_of_all_resamples_where_these_can_be_listed() -> None:
    parts: list[Part] = [(0.0, 1), (1.0, 1), (4.0, 2)]
    every = sorted(value for chosen in product(parts, repeat=3) if (value := ratio(chosen)) is not None)
    (interval,) = intervals([parts], seed=0)
    assert interval == (every[0], every[-1])  # each end has 1 of 27 resamples, more than 2.5%


def test_interval_of_a_share_covers_the_truth_about_as_often_as_it_says() -> None:
    source = random.Random(0)
    covered = 0
    for _ in range(150):
        parts = [(float(source.random() < 0.3), 1) for _ in range(60)]
        (interval,) = intervals([parts], seed=0)
        assert interval is not None
        covered += interval[0] <= 0.3 <= interval[1]
    assert 0.88 <= covered / 150 <= 1


def test_interval_of_several_samples_a_prompt_counts_prompts_and_not_samples() -> None:
    single = [(float(number % 2), 1) for number in range(40)]
    repeated = [(16 * total, 16) for total, _ in single]
    one, other = intervals([single, repeated], seed=0)
    assert one == other


def test_interval_of_too_few_prompts_is_none() -> None:
    assert intervals([], 0) == []
    assert intervals([[]], 0) == [None]
    assert intervals([[(1.0, 1)]], 0) == [None]
    assert intervals([[(1.0, 4), (0.0, 0), (0.0, 0)]], 0) == [None]


def test_interval_does_not_depend_on_the_other_measures_or_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [(float(number % 3), 1) for number in range(20)]
    other = [(1.0, 0), *((float(number), 2) for number in range(19))]
    alone = intervals([parts], 5)
    assert intervals([other, parts], 5)[1] == alone[0]
    monkeypatch.setattr(module, "_AT_ONCE", 100)
    assert intervals([parts], 5) == alone


def test_ratio_is_the_mean_of_all_values() -> None:
    assert ratio([(1.0, 1), (3.0, 4), (0.0, 0)]) == 4 / 5
    assert ratio([(0.0, 0)]) is None
    assert fsum([0.1] * 10) == 1.0 == ratio([(0.1, 0)] * 9 + [(0.1, 1)])
