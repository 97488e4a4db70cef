"""How sft's sources are mixed: whole epochs, fractions, shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import DataError
from guerdon_plugins.stages.trl.mixing import mixed
from guerdon_plugins.stages.trl.sft import Sft


def sources(*sizes: int) -> list[Callable[[], Iterator[Any]]]:
    return [partial(iter, [(name, row) for row in range(size)]) for name, size in enumerate(sizes)]


def counted(rows: Sequence[Any]) -> Counter[int]:
    return Counter(name for name, _ in rows)


def test_sources_follow_each_other_by_default() -> None:
    assert counted(mixed(sources(3, 2), epochs=None, weights=None, seed=0)) == {0: 3, 1: 2}


@given(st.integers(1, 40), st.floats(0.1, 4), st.integers())
def test_an_epoch_is_every_row_once(size: int, epochs: float, seed: int) -> None:
    rows = mixed(sources(size), epochs=[epochs], weights=None, seed=seed)
    assert len(rows) == int(epochs) * size + round((epochs - int(epochs)) * size)
    times = Counter(rows).values()
    assert max(times, default=0) - min(times, default=0) <= 1 or epochs < 1
    assert rows == mixed(sources(size), epochs=[epochs], weights=None, seed=seed)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.5, 5)), min_size=2, max_size=4))
def test_weights_are_shares_and_no_row_is_lost(parts: list[tuple[int, float]]) -> None:
    sizes, weights = zip(*parts, strict=True)
    rows = mixed(sources(*sizes), epochs=None, weights=list(weights), seed=1)
    assert len(set(rows)) == sum(sizes)
    counts = counted(rows)
    for name, weight in enumerate(weights):
        expected = weight / sum(weights) * len(rows)
        assert counts[name] == pytest.approx(expected, abs=len(sizes))


def test_a_number_for_each_source() -> None:
    with pytest.raises(DataError, match="epochs has 1 numbers, and the stage has 2 data entries"):
        mixed(sources(1, 1), epochs=[2], weights=None, seed=0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": [0, 1]}, "a number above 0"),
        ({"weights": []}, "a number above 0"),
        ({"epochs": [1], "weights": [1]}, "both given"),
        ({"epochs": [1], "num_train_epochs": 2}, "both given"),
    ],
)
def test_bad_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sft(**params)
