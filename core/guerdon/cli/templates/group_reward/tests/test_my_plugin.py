"""Tests of the group reward's values. The kit adds the checks of every group reward."""

import pytest
from guerdon.testing import Case, GroupRewardConformance

from guerdon_my_plugin import MyPlugin


class TestMyPlugin(GroupRewardConformance):
    plugin = "my_plugin"
    params = {"at_least": 2}
    groups = (
        (Case("red house", 0.5), Case("red car", 0.5), Case("red", 0.0)),
        (Case("one two", 0.0), Case("two one", 0.0)),
    )


def test_a_limit_of_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MyPlugin(at_least=0)
