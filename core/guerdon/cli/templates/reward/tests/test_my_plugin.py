"""Tests of the reward's values. The kit adds the checks of every reward."""

import pytest
from guerdon.testing import Case, RewardConformance

from guerdon_my_plugin import MyPlugin


class TestMyPlugin(RewardConformance):
    plugin = "my_plugin"
    params = {"max_words": 2}
    value_range = (0.0, 1.0)
    golden = (Case("It is", 1.0), Case("It is four, then.", 0.5))
    hacks = (Case("", 0.0, why="saying nothing"),)


def test_a_limit_of_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MyPlugin(max_words=0)
