"""The code verifier passes the kit."""

from __future__ import annotations

import pytest

from guerdon import Failure
from guerdon.testing import Case, VerifierConformance


@pytest.mark.docker
class TestCode(VerifierConformance):
    plugin = "code"
    params = {"boxes": 1}
    golden = (
        Case("```python\ndef f(x):\n    return x + 1\n```", 1.0, reference=["assert f(1) == 2"]),
        Case("```python\ndef f(x):\n    return x\n```", 0.0, reference=["assert f(1) == 2"]),
        Case("```python\npass\n```", Failure.REFERENCE, reference=[]),
    )
    hacks = (Case("```python\nexit(0)\n```", 0.0, reference=["assert f(1) == 2"], why="an early exit"),)
