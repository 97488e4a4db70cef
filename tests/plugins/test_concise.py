"""``concise``: short and right, by the group's pass rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_plugins.group_rewards.concise import Concise


def test_concise_scales_by_length_and_pass_rate() -> None:
    ids = [range(4), range(8), range(6), range(1)]
    assert Concise()(["a", "b", "c", "d"], ids, [True, True, True, False]) == [0.75, 0.0, 0.375, 0.0]


def test_concise_of_unknown_members_does_not_count_them() -> None:
    assert Concise()(["a", "b", "c"], [range(2), range(3), range(1)], [True, False, None]) == [0.5, 0.0, 0.0]


def test_concise_without_tokens_raises() -> None:
    with pytest.raises(ValueError, match="without token ids"):
        Concise()(["a"], [[]], [True])


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from([True, False, None])), min_size=1, max_size=8))
def test_concise_never_pays_what_is_not_right_and_never_more_for_longer(
    members: list[tuple[int, bool | None]],
) -> None:
    values = Concise()(["x"] * len(members), [range(n) for n, _ in members], [fits for _, fits in members])
    for (length, fits), value in zip(members, values, strict=True):
        assert value is not None
        assert 0 <= value <= 1
        assert fits or value == 0
        for (other, right), another in zip(members, values, strict=True):
            assert another is not None
            assert not (fits and right and other > length) or another <= value
