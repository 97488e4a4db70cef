"""Tests of the source's rows. The kit adds the checks of every source."""

from guerdon.testing import SourceConformance

from guerdon_my_plugin import MyPlugin


class TestMyPlugin(SourceConformance):
    plugin = "my_plugin"
    params = {"size": 100, "largest": 20}
    columns = ("prompt", "reference")


def test_references_are_sums() -> None:
    for row in MyPlugin(size=10):
        first, second = row["prompt"][0]["content"].removeprefix("What is ").removesuffix("?").split(" + ")
        assert int(row["reference"]) == int(first) + int(second)
