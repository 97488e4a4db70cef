"""Tests of the verifier's scores. The kit adds the checks of every verifier."""

from guerdon import Failure
from guerdon.testing import Case, VerifierConformance


class TestMyPlugin(VerifierConformance):
    plugin = "my_plugin"
    golden = (
        Case("Two and two make\nfour", 1.0, reference="Four"),
        Case("five", 0.0, reference="Four"),
        Case("four", Failure.REFERENCE, reference=""),
    )
    hacks = (
        Case("", 0.0, reference="Four", why="an empty answer"),
        Case("one two three four five", 0.0, reference="Four", why="every answer at once"),
    )


class TestMyPluginWithCase(VerifierConformance):
    plugin = "my_plugin"
    params = {"ignore_case": False}
    golden = (Case("Four", 1.0, reference="Four"), Case("four", 0.0, reference="Four"))
