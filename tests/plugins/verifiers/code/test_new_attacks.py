"""Programs that use a test's own form against it: written by a reader of the code, each with its test.

Each earns 0. None has a right result, and none may end in a failed score, by which a wrong program would escape its 0.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guerdon import Score
from guerdon.deadline import Deadline
from guerdon_plugins.verifiers.code import CodeVerifier

pytestmark = pytest.mark.docker

EMPTIES = "def f(xs):\n    xs.clear()\n    return 0"
LIAR = """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return True
    __add__ = __sub__ = __abs__ = __neg__ = __pow__ = __round__ = lambda self, *_: Liar()
    __lt__ = __gt__ = lambda self, *_: True
def f(x): return Liar()
g = f
"""
ATTACKS: dict[str, tuple[str, str]] = {
    "argument emptied, difference to its sum": (
        "def check(f):\n    xs = [1, 2]\n    assert abs(f(xs) - sum(xs)) < 1e-6",
        EMPTIES,
    ),
    "argument emptied, difference is zero": (
        "def check(f):\n    xs = [1, 2]\n    assert f(xs) - sum(xs) == 0",
        EMPTIES,
    ),
    "argument emptied, through a helper": (
        "def run(xs):\n    return f(xs)\ndef check(_):\n    xs = [1, 2]\n    assert run(xs) == sum(xs)",
        EMPTIES,
    ),
    "argument emptied, through a helper of a helper": (
        "def one(xs): return f(xs)\ndef two(xs): return one(xs)\n"
        "def check(_):\n    xs = [3]\n    assert two(xs) == sum(xs)",
        EMPTIES,
    ),
    "argument emptied, through a method": (
        "import unittest\nclass TestAll(unittest.TestCase):\n    def run_it(self, xs): return f(xs)\n"
        "    def test_one(self):\n        xs = [1, 2]\n        self.assertEqual(self.run_it(xs), sum(xs))",
        EMPTIES,
    ),
    "argument emptied, inside a condition": (
        "def check(f):\n    xs = [1, 2]\n    assert f(xs) == 3 if not xs else f(xs) == sum(xs)",
        EMPTIES,
    ),
    "two objects that equal each other": (
        "def check(f):\n    assert f(1) == f(1)\n    assert f(2) == 5",
        LIAR,
    ),
    "two objects that equal and differ": (
        "def check(f):\n    assert f(1) == f(1)\n    assert f(1) != f(2)",
        LIAR,
    ),
    "a sum of two objects": ("def check(f):\n    assert f(1) + f(2) == 3", LIAR),
    "the size of an object": ("def check(f):\n    assert abs(f(-3)) == 3", LIAR),
    "the difference of two objects is small": ("def check(f):\n    assert abs(f(0.1) - f(0.2)) < 1e-6", LIAR),
    "the power of two objects": ("def check(f):\n    assert f(2) ** f(3) == 8", LIAR),
    "a negated object": ("def check(f):\n    assert -f(2) == -2", LIAR),
    "the larger of two objects": ("def check(f):\n    assert max(f(2), f(3)) == 3", LIAR),
    "a coroutine that is passed on": ("def check(f):\n    assert f(f(1)) == 3", "async def f(x): return 3"),
    "nothing is close to a number": (
        "import numpy as np\ndef check(f):\n    assert np.allclose(f(2), 4.0)",
        "def f(x): return []",
    ),
    "nothing is close to a number, in numpy's own asserts": (
        "import numpy as np\ndef check(f):\n    np.testing.assert_allclose(f(2), 4.0)",
        "def f(x): return [[], []]",
    ),
    "nothing is close to a number, after a right result": (
        "import numpy as np\ndef check(f):\n    assert np.allclose(f(2), 4.0)\n    assert np.isclose(f(3), 9.0).all()",
        "def f(x): return 4.0 if x == 2 else ()",
    ),
    "nothing equals an array": (
        "import numpy as np\ndef check(f):\n    assert (f(2) == np.array([4])).all()",
        "def f(x): return []",
    ),
    "pairs with nothing": (
        "def check(f):\n    for a, b in zip(f([1, 2]), [2, 4]):\n        assert a == b",
        "def f(xs): return {}",
    ),
    "a part that is nothing": ("def check(f):\n    assert f('ab') in 'ba'", "def f(s): return ''"),
    "items of nothing": (
        "def check(f):\n    for a in f(3):\n        assert a in (0, 1, 2)",
        "def f(x): return map(int, [])",
    ),
    "items of an object with none": (
        "def check(f):\n    for a in f(3):\n        assert a in (0, 1, 2)",
        "class E:\n    def __iter__(self): return iter([])\ndef f(x): return E()",
    ),
    "items of a dict with none": (
        "def check(f):\n    for key, value in f('ab').items():\n        assert value == 1 and key in 'ab'",
        "def f(x): return {}",
    ),
    "cells of an empty array": (
        "def check(f):\n    assert (f(2) == 4).all()",
        "import numpy as np\ndef f(x): return np.array([])",
    ),
    "numpy's all of an empty array": (
        "import numpy as np\ndef check(f):\n    assert np.all(np.abs(f(2) - 4) < 1e-6)",
        "import numpy as np\ndef f(x): return np.array([])",
    ),
    "an empty column": (
        "import pandas as pd\ndef check(f):\n    got = f(2)\n    assert isinstance(got, pd.Series) and (got > 3).all()",
        "import pandas as pd\ndef f(x): return pd.Series([], dtype=float)",
    ),
    "cells of an empty frame": (
        "def check(f):\n    assert (f(2) == 4).all().all()",
        "import pandas as pd\ndef f(x): return pd.DataFrame()",
    ),
    "a frame with rows and no columns": (
        "def check(f):\n    assert not (f(2) != 4).any().any()",
        "import pandas as pd\ndef f(x): return pd.DataFrame(index=range(3))",
    ),
    "rows of an empty frame": (
        "def check(f):\n    for _, row in f(2).iterrows():\n        assert row['a'] == 4",
        "import pandas as pd\ndef f(x): return pd.DataFrame()",
    ),
    "an array of no numbers": (
        "def check(f):\n    assert not (abs(f(2) - 4) > 1e-6).any()",
        "import numpy as np\ndef f(x): return np.array([np.nan, np.nan])",
    ),
    "a column of no numbers": (
        "def check(f):\n    assert not (f(2) != f(2)).all() or not (f(2) > 5).any()",
        "import pandas as pd\ndef f(x): return pd.Series([float('nan')])",
    ),
    "a size that is not a number": (
        "def check(f):\n    assert not abs(f(2) - 4) > 1e-6",
        "def f(x): return float('nan')",
    ),
    "an error in the first test, and one that cannot run after it": (
        "def test_a():\n    assert f(1) == 2\ndef test_b():\n    import nothing_like_it",
        "def f(x): return 0",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_by_the_form_of_the_test_earns_nothing(score: Any, attack: str) -> None:
    test, program = ATTACKS[attack]
    assert score(program, {"test": test, "entry_point": "f", "prompt": ""}).to_dict()["value"] == 0.0


HONEST: dict[str, tuple[str, str]] = {
    "results that are objects": (
        "def check(f):\n    assert f(1) == f(1)\n    assert f(1) != f(2)",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(x): return P(x)",
    ),
    "sums of results": (
        "def check(f):\n    assert f(1) + f(2) == 3\n    assert abs(f(-1) - f(1)) == 2",
        "def f(x): return x",
    ),
    "changed in place": (
        "def check(f):\n    xs = [2, 1]\n    assert f(xs) is None\n    assert xs == sorted([2, 1])",
        "def f(xs): xs.sort()",
    ),
    "an empty result that is right": (
        "import numpy as np\ndef test_a():\n    assert len(f([])) == 0\n    assert np.allclose(f([]), [])\n"
        "def test_b():\n    assert np.allclose(f([1.5]), 3.0)\n    assert all(x > 0 for x in f([1]))",
        "def f(xs): return [2 * x for x in xs]",
    ),
    "only empty results that are right": (
        "import unittest\nclass TestAll(unittest.TestCase):\n    def test_a(self):\n"
        "        self.assertEqual(f([1, 2]), [])\n        self.assertListEqual(f([]), [])",
        "def f(xs): return [x for x in set(xs) if xs.count(x) > 1]",
    ),
    "an empty text that is right": (
        "import unittest\nclass TestAll(unittest.TestCase):\n    def test_a(self):\n"
        "        self.assertEqual(f('aa'), '')\n        self.assertIn(f(''), ['', 'x'])",
        "def f(s): return s.replace('a', '')",
    ),
    "a result that is not a number and right": (
        "import math\ndef check(f):\n    assert math.isnan(f([]))",
        "def f(xs): return sum(xs) / len(xs) if xs else math.nan\nimport math",
    ),
    "an empty array that is right": (
        "import numpy as np\ndef check(f):\n    assert np.array_equal(f(2), np.array([]))\n"
        "    assert (f(2) == np.array([])).all()\n    assert f(2).size == 0",
        "import numpy as np\ndef f(x): return np.array([])",
    ),
    "an empty frame that is right": (
        "import pandas as pd\ndef check(f):\n    assert f(2).empty\n    assert list(f(2).columns) == ['a']",
        "import pandas as pd\ndef f(x): return pd.DataFrame({'a': []})",
    ),
    "an empty frame, and one with rows": (
        "def test_a():\n    assert (f(0) == 4).all().all()\ndef test_b():\n    assert (f(1) == 4).all().all()",
        "import pandas as pd\ndef f(x): return pd.DataFrame({'a': [4] * x})",
    ),
    "a column with a gap": (
        "def check(f):\n    assert (f(2).dropna() == 4).all()",
        "import pandas as pd\ndef f(x): return pd.Series([4, None])",
    ),
    "through a helper": (
        "def run(xs):\n    return f(xs)\ndef check(_):\n    xs = [1, 2]\n    assert run(xs) == sum(xs)",
        "def f(xs): return sum(xs)",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_right_program_passes_the_same_forms(score: Any, name: str) -> None:
    test, program = HONEST[name]
    assert score(program, {"test": test, "entry_point": "f", "prompt": ""}).value == 1.0


TWO_TESTS = (
    "def test_a():\n    assert not f([])\n    assert len(f([])) == 0\ndef test_b():\n    assert f([1]) == [1]"
)


@pytest.mark.parametrize(("program", "value"), [("return []", 0.0), ("return [5]", 0.0), ("return xs", 1.0)])
def test_empty_results_count_once_the_program_gives_more(score: Any, program: str, value: float) -> None:
    """A test of an empty result alone passes any program that gives nothing, also with a share of the tests."""
    tests = {"test": TWO_TESTS, "entry_point": "f", "prompt": ""}
    assert score(f"def f(xs): {program}", tests, scoring="fraction").value == value


@pytest.mark.parametrize("scoring", ["all", "fraction"])
def test_program_that_sleeps_through_the_deadline_is_wrong(scoring: Any) -> None:
    async def judge() -> Score:
        verifier = CodeVerifier(boxes=1, wall_s=30.0, scoring=scoring)
        await verifier("```python\nprint(1)\n```", {"inputs": [""], "outputs": ["1"]})
        try:
            async with Deadline(2.0):
                sleeps = "```python\nimport time\ntime.sleep(0.7)\nprint(2)\n```"
                return await verifier(sleeps, {"inputs": [""] * 20, "outputs": ["1"] * 20})
        finally:
            await verifier.aclose()

    assert asyncio.run(judge()).value == 0.0
