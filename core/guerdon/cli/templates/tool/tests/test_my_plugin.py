"""Tests of the tool's results. The kit adds the checks of every tool."""

import pytest
from guerdon.testing import ToolConformance

from guerdon_my_plugin import MyPlugin


class TestMyPlugin(ToolConformance):
    plugin = "my_plugin"
    params = {"currency": "USD"}
    calls = (({"product": "apple"}, "2 USD"), ({"product": "milk"}, "1 USD"))


def test_unknown_product_is_named() -> None:
    with pytest.raises(ValueError, match="there is no gold"):
        MyPlugin()("gold")
