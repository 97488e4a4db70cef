"""Python tests of every form: a right program is paid, a wrong one is not, and a broken test is neither's fault."""

# ruff: noqa: E501 - a test's source is one line here

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guerdon import Failure, Score

pytestmark = pytest.mark.docker

BCB = {
    "entry_point": "task_func",
    "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_1(self):\n"
    "        self.assertEqual(task_func(1), 2)\n    def test_2(self):\n        self.assertTrue(task_func(5) == 6)\n",
}
FORMS: list[tuple[str, Any]] = [
    ("pytest functions", "def test_a():\n    assert f(1) == 2\ndef test_b():\n    assert f(2) == 3\n"),
    (
        "pytest classes",
        "class TestF:\n    def setup_method(self):\n        self.x = 1\n    def test_a(self):\n        assert f(self.x) == 2\n",
    ),
    (
        "parametrize",
        "import pytest\n@pytest.mark.parametrize('x, y', [(1, 2), pytest.param(2, 3)])\ndef test_a(x, y):\n    assert f(x) == y\n",
    ),
    (
        "unittest classes",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\nif __name__ == '__main__':\n    unittest.main()\n",
    ),
    (
        "unittest base classes",
        "from unittest import TestCase\nclass Base(TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\nclass T(Base):\n    pass\n",
    ),
    ("async tests", "async def test():\n    assert f(1) == 2\n"),
    ("main guard", "if __name__ == '__main__':\n    assert f(1) == 2\n"),
    (
        "solution module",
        {"test": "from solution import f\n\ndef test_f():\n    assert f(1) == 2\n", "entry_point": "f"},
    ),
    (
        "check(candidate)",
        {
            "test": "def check(candidate):\n    for x in range(3):\n        assert candidate(x) == x + 1\n",
            "entry_point": "f",
        },
    ),
    ("test(candidate)", {"test": "def test(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"}),
    (
        "verify(candidate)",
        {"test": "def verify(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"},
    ),
    (
        "async check",
        {"test": "async def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"},
    ),
    (
        "Solution().f",
        {"test": "def check(candidate):\n    assert candidate(x = 1) == 2\n", "entry_point": "Solution().f"},
    ),
    ("statements in parts", ["x = f(1)", "assert x == 2"]),
    ("numpy without import", ["assert np.allclose(f(1), 2)"]),
    ("Counter without import", ["assert Counter([f(1)]) == Counter([2])"]),
    ("approx without import", ["assert f(1) == pytest.approx(2)"]),
    ("own code raises", ["try:\n    f('x')\n    assert False\nexcept TypeError:\n    pass"]),
    ("raises", ["import pytest\nwith pytest.raises(TypeError):\n    f('x')"]),
    ("unequal", ["assert f(1) != 3", "assert f(2) != 4"]),
    ("another name", "from solution import f as g\ndef test_a():\n    assert g(1) == 2"),
    (
        "another name than the library's",
        "from math import isqrt as g, sqrt as f\nfrom solution import f as own\nassert own(1) == g(4)",
    ),
    (
        "another name after __future__",
        "from __future__ import annotations\nfrom solution import f as g\ndef test_a() -> None:\n    assert g(1) == 2",
    ),
    ("module", "import solution\ndef test_a():\n    assert solution.f(1) == 2"),
    ("module by another name", "import os, solution as s\nassert s.f(1) == 2 and os.sep"),
    ("import in a function", "def test_a():\n    from solution import f\n    assert f(1) == 2"),
    (
        "import by two names",
        "try:\n    from solution import f\nexcept ImportError:\n    from your_module import f\nassert f(1) == 2",
    ),
    ("passed to a helper", ["assert list(map(f, [1])) == [2]"]),
    (
        "fixtures",
        "import pytest\nfound = []\n@pytest.fixture\ndef test_data():\n    return 1\n@pytest.fixture(name='pair')\ndef made(test_data):\n"
        "    yield test_data, 2\n    found.append(1)\n@pytest.mark.parametrize('y', [0, 1])\ndef test_a(pair, y):\n    assert f(pair[0] + y) == pair[1] + y\n"
        "def test_b():\n    assert f(len(found)) == 3\n",
    ),
    (
        "fixtures of a class, and automatic ones",
        "import pytest\nfound = []\n@pytest.fixture(autouse=True)\ndef add():\n    found.append(1)\n    yield\n    found.clear()\n"
        "class TestF:\n    @pytest.fixture\n    def x(self):\n        return 0\n    def test_a(self, x):\n        assert f(x + len(found)) == 2\n    def test_b(self):\n        assert f(len(found)) == 2\n",
    ),
    ("AceCode", {"test_cases": ["assert f(1) == 2", "assert f(2) == 3"]}),
    (
        "a head without a body",
        {
            "code_prompt": "import itertools\ndef f(x):\n",
            "entry_point": "f",
            "test": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n",
        },
    ),
    (
        "a class of the prompt",
        {
            "prompt": "class Solution:\n    def f(self, x):\n        'Add 1.'\n",
            "entry_point": "Solution().f",
            "test": "def check(candidate):\n    for x in range(3):\n        assert candidate(x) == x + 1\n",
        },
    ),
]
RIGHT = "def f(x): return x + 1\nclass Solution:\n    def f(self, x): return x + 1\n"
WRONG = "def f(x): return 4 if x == 2 else 3\nclass Solution:\n    def f(self, x): return 3\n"


@pytest.mark.parametrize(("form", "reference"), FORMS)
def test_tests_of_every_form_are_run(score: Callable[..., Score], form: str, reference: Any) -> None:
    assert score(RIGHT, reference).value == 1.0, form
    assert score(WRONG, reference).value == 0.0, form
    assert score("pass", reference).value == 0.0, form


COLOURS = "from enum import Enum\nclass Colour(Enum):\n    RED = 1\n    BLUE = 2\n"
POINTS = (
    "from dataclasses import dataclass\n@dataclass(slots=True)\nclass P:\n    x: int\ndef f(x): return P(x)\n"
)
PAIRS: list[tuple[str, str, str]] = [
    (
        "from solution import PI, NAMES\nassert abs(2 * PI - 6.28) < 1e-9 and sorted(NAMES) == ['a', 'b']",
        "PI = 3.14\nNAMES = ['b', 'a']",
        "PI = 3.15\nNAMES = ['b', 'a']",
    ),
    ("import solution\nassert solution.PI == 3.14", "PI = 3.14", "def PI(): return 3.14"),
    (
        "assert f(1) == Colour.RED",
        COLOURS + "def f(x): return Colour(x)",
        COLOURS + "def f(x): return Colour.BLUE",
    ),
    ("assert f(1) == g(1)", POINTS + "def g(x): return P(x)", POINTS + "def g(x): return P(2)"),
    (
        "import pytest\nfrom solution import Full as E, f\ndef test_a():\n    with pytest.raises(E):\n        f()",
        "class Full(Exception): pass\ndef f(): raise Full",
        "class Full(Exception): pass\ndef f(): raise KeyError",
    ),
    (
        "import pytest, solution\ndef test_a():\n    with pytest.raises(solution.Full):\n        solution.f()",
        "class Full(Exception): pass\ndef f(): raise Full",
        "class Full(Exception): pass\ndef f(): pass",
    ),
    (
        "from solution import f as g\nxs = [2, 1]\ng(xs)\nassert xs == [1, 2]",
        "def f(xs): xs.sort()",
        "def f(xs): pass",
    ),
    (
        "from solution import f as g\nxs = [2, 1]\nassert g(xs) == sum(xs)",
        "def f(xs): return sum(xs)",
        "def f(xs):\n    xs.clear()\n    return 0",
    ),
]


@pytest.mark.parametrize(("test", "right", "wrong"), PAIRS)
def test_values_members_and_other_names_of_the_candidate_are_judged(
    score: Callable[..., Score], test: str, right: str, wrong: str
) -> None:
    assert score(right, test).value == 1.0
    assert score(wrong, test).value == 0.0
    assert score("pass", test).value == 0.0


def test_bigcodebench_rows_count_methods(score: Callable[..., Score]) -> None:
    assert score("def task_func(x): return x + 1", BCB).value == 1.0
    assert score("def task_func(x): return 2", BCB, scoring="fraction").value == 0.5
    assert score("pass", BCB).value == 0.0


BROKEN: list[Any] = [
    ["assert callable(f)"],
    ["f(1) == 2"],
    ["def test_a():\n    f(1) == 2"],
    ["r = f(1)\nprint(r)"],
    ["assert f(1) or True"],
    ["assert True or f(1)"],
    ["try:\n    assert f(1) == 2\nexcept Exception:\n    pass"],
    ["try:\n    assert f(1) == 2\nexcept:\n    pass"],
    ["assert f"],
    ["assert isinstance(f, object)"],
    "def test_a():\n    pass\ndef test_b():\n    f(1)\n",
    "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        f(1)\n",
    "import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('x')\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n",
    "import pytest\n@pytest.fixture(params=[1])\ndef g(request):\n    return request.param\ndef test_a(g):\n    assert f(g) == 2\n",
    "def test_a(tmp_path):\n    assert f(1) == 2\n",
    "from solution import f\nassert no_such_helper(f(1)) == 2",
    "import solution\nsolution.one = 1\nassert solution.f(1) == 2",
    "import solution\nassert getattr(solution, 'f')(1) == 2",
    "def run(function):\n    function(1)\nrun(f)\nassert True",
    "def test_a(capsys):\n    f(1)\n    assert capsys.readouterr().out == ''\n",
    "class Base:\n    def check(self):\n        assert f(1) == 2\n",
    {"test": "def check(candidate):\n    pass\n", "entry_point": "f"},
    {"test": "METADATA = {}\n", "entry_point": "f"},
    {
        "test": "def check(candidate):\n    import no_such_module\n    assert candidate(1) == 2\n",
        "entry_point": "f",
    },
    {
        "test": "def check(candidate):\n    assert candidate(1) == 2\n",
        "entry_point": "f",
        "prompt": "import no_such_module\ndef f(x):\n    ''' '''\n",
    },
    {"test_list": ["assert f(1) == 2"], "test_setup_code": "1 / 0"},
    {"test_list": ["assert f(1) == np.pi"], "test_imports": ["import no_such_module as np"]},
    ["assert f(1) == 2 and math.no_such_function(1)"],
    ["assert f(1) == 2\nopen('no-such-file')"],
    ["assert f(lambda x: x) == 2"],
    [
        "from contextlib import redirect_stdout\nimport io\nwith redirect_stdout(io.StringIO()) as out:\n    f(1)\nassert out.getvalue() == ''"
    ],
    [
        "from unittest.mock import patch\nwith patch('builtins.input', return_value='1'):\n    assert f(1) == 2"
    ],
    ["import sys, io\nsys.stdin = io.StringIO('1')\nassert f(1) == 2"],
    ["assert f.__name__ == 'f'\nassert f(1) == 2"],
    ["import inspect\nassert len(inspect.signature(f).parameters) == 1 and f(1) == 2"],
    ["assert f(object()) == 2"],
]


@pytest.mark.parametrize("reference", BROKEN)
def test_tests_that_decide_nothing_are_the_references_fault(
    score: Callable[..., Score], reference: Any
) -> None:
    judged = score(RIGHT, reference)
    assert (judged.value, judged.failure) == (None, Failure.REFERENCE)
    assert judged.explanation


VECTOR = """
from dataclasses import dataclass
class Vector:
    def __init__(self, x, y): self.x, self.y = x, y
    def __add__(self, o): return Vector(self.x + o.x, self.y + o.y)
    def __mul__(self, k): return Vector(self.x * k, self.y * k)
    def __abs__(self): return (self.x ** 2 + self.y ** 2) ** 0.5
    def __lt__(self, o): return abs(self) < abs(o)
    def __contains__(self, v): return v in (self.x, self.y)
    def __bool__(self): return bool(self.x or self.y)
    def __repr__(self): return f"Vector({self.x}, {self.y})"
    def __enter__(self): return self.x
    def __exit__(self, *error): return True
class TooBig(ValueError): pass
def make(): return Vector(1, 2)
def grow(n):
    if n > 3: raise TooBig('too big')
    return n
"""


@pytest.mark.parametrize(
    "test",
    [
        "v = Vector(1, 2) + Vector(3, 4)\nassert (v.x, v.y) == (4, 6)",
        "v = Vector(1, 2) * 3\nassert v.y == 6",
        "assert abs(Vector(3, 4)) == 5",
        "assert Vector(1, 2) < Vector(3, 4) and not Vector(3, 4) < Vector(1, 2)",
        "assert 2 in Vector(1, 2) and 3 not in Vector(1, 2)",
        "assert Vector(1, 2) and not Vector(0, 0)",
        "assert repr(Vector(1, 2)) == 'Vector(1, 2)'",
        "assert isinstance(make(), Vector) and make().x == 1",
        "with Vector(5, 6) as x:\n    assert x == 5",
        "try:\n    grow(5)\n    assert False\nexcept TooBig as error:\n    assert str(error) == 'too big'",
        "import pytest\nwith pytest.raises(ValueError, match='big'):\n    grow(5)",
        "import pytest\nwith pytest.raises(TooBig):\n    grow(5)",
    ],
)
def test_objects_of_the_candidate_can_be_used(score: Callable[..., Score], test: str) -> None:
    assert score(VECTOR, [test]).value == 1.0
    assert score("pass", [test]).value == 0.0


@pytest.mark.parametrize(
    ("program", "test"),
    [
        (
            "class V:\n    def __init__(s, x): pass\n    def __eq__(s, o): return True\n",
            "assert V(1) == V(2)",
        ),
        ("class V:\n    def __init__(s, x): pass\n    def __eq__(s, o): return True\n", "assert V(1) == 1"),
    ],
)
def test_an_object_of_the_candidate_does_not_judge_equality(
    score: Callable[..., Score], program: str, test: str
) -> None:
    assert score(program, [test]).failure is Failure.REFERENCE


def test_a_context_of_the_candidate_waves_no_failure_through(score: Callable[..., Score]) -> None:
    program = "class S:\n    def __enter__(s): return 6\n    def __exit__(s, *a): return True\n"
    assert score(program, ["with S() as x:\n    assert x == 5"]).value == 0.0


CROSSING = """
import collections, datetime, decimal, fractions
P = collections.namedtuple('P', 'x y')
def value(kind):
    return {
        'fraction': fractions.Fraction(1, 2), 'decimal': decimal.Decimal('1.50'), 'date': datetime.date(2020, 1, 2),
        'time': datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc), 'span': datetime.timedelta(1, 2),
        'deque': collections.deque([1, 2]), 'keys': {1: 2}.keys(), 'values': {1: 2}.values(), 'items': {1: 2}.items(),
        'complex': 1 + 2j, 'bytes': b'x', 'set': {1, 2}, 'named': P(1, 2), 'range': range(3), 'map': map(str, [1]),
    }[kind]
def naturals():
    n = 0
    while True:
        n += 1
        yield n
def squares(n): return (x * x for x in range(n))
def total():
    t = 0
    while True: t += yield t
async def later(x): return x + 1
def sum_array(a): return int(a.sum())
def double(a): return a * 2
def clear(xs):
    del xs[:]
    return 0
def fill(xs): xs.append(1)
def dedupe(a):
    k = 0
    for x in a:
        if k == 0 or x != a[k - 1]: a[k] = x; k += 1
    return k
"""


@pytest.mark.parametrize(
    "test",
    [
        "assert value('fraction') == 0.5",
        "from decimal import Decimal\nassert value('decimal') == Decimal('1.5')",
        "import datetime\nassert value('date') == datetime.date(2020, 1, 2)",
        "import datetime as d\nassert value('time') == d.datetime(2020, 1, 2, 3, tzinfo=d.timezone.utc)",
        "assert value('span').total_seconds() == 86402",
        "from collections import deque\nassert value('deque') == deque([1, 2])",
        "assert value('keys') == {1}",
        "assert list(value('values')) == [2]",
        "assert set(value('items')) == {(1, 2)}",
        "assert value('complex') == 1 + 2j and value('bytes') == b'x' and value('set') == {2, 1}",
        "assert value('named') == (1, 2) and value('named').y == 2",
        "assert list(value('range')) == [0, 1, 2]",
        "assert list(value('map')) == ['1']",
        "from itertools import islice\nassert list(islice(naturals(), 5)) == [1, 2, 3, 4, 5]",
        "assert sum(squares(1000)) == sum(x * x for x in range(1000))",
        "g = total()\nnext(g)\nassert g.send(5) == 5 and g.send(1) == 6",
        "import asyncio\nassert asyncio.run(later(1)) == 2",
        "import numpy as np\nassert sum_array(np.array([1, 2])) == 3",
        "import numpy as np\nassert double(np.array([[1.5]])).shape == (1, 1) and (double(np.array([1])) == 2).all()",
        "xs = []\nfill(xs)\nassert xs == [1]",
        "a = [1, 1, 2]\nk = dedupe(a)\nassert k == 2 and a[:k] == [1, 2]",
        "open('t.txt', 'w').write('a b')\nassert double([1]) == [1, 1]",
    ],
)
def test_values_cross(score: Callable[..., Score], test: str) -> None:
    judged = score(CROSSING, [test])
    assert judged.value == 1.0, judged.explanation


@pytest.mark.parametrize(
    "test",
    [
        "xs = [1, 2]\nassert clear(xs) == sum(xs)",
        "xs = [1, 2]\nr = clear(xs)\nassert r == sum(xs)",
        "xs = [1, 2]\nys = xs\nr = clear(xs)\nwanted = len(ys)\nassert r == wanted",
        "for xs in [[1, 2]]:\n    assert clear(*[xs]) == sum(xs)",
        "import math\nxs = [1, 2]\nassert math.isclose(clear(xs), sum(xs))",
        "class T:\n    xs = [1, 2]\nassert clear(T.xs) == len(T.xs)",
        "xs = [1, 2]\ndef wanted(): return len(xs)\nassert clear(xs) == wanted()",
        "xs = [1, 2]\nr = clear(xs)\nn = 0\nfor x in xs: n += 1\nassert r == n",
        "xs = [1, 2]\nr = clear(xs)\nok = r == sum(xs)\nassert ok",
        "xs = [1, 2]\nr = clear(xs)\nassert xs is not None\nif r != sum(xs):\n    raise AssertionError",
    ],
)
def test_a_changed_argument_does_not_choose_what_is_expected(score: Callable[..., Score], test: str) -> None:
    assert score(CROSSING, [test]).value == 0.0


LYING = "class A:\n" + "".join(
    f"    def __{name}__(s, *o): return {value}\n"
    for name, value in {
        **dict.fromkeys(("eq", "lt", "gt", "le", "ge", "contains"), True),
        **dict.fromkeys(("sub", "rsub", "abs", "hash", "index"), 0),
        "float": "2.0",
        "iter": "iter([])",
    }.items()
)


@pytest.mark.parametrize(
    "test",
    [
        "assert f(1) == 3",
        "assert abs(f(1) - 2.5) < 1e-6",
        "assert abs(2.5 - f(1)) < 1e-6",
        "assert f(1) in {3}",
        "assert 3 in f(1)",
        "assert [3, 4][f(1)] == 4",
        "assert sorted([f(1)]) == [3]",
        "assert max(f(1), 5) == 5",
        "import math\nassert math.isclose(f(1), 2.5)",
        "import numpy as np\nassert np.allclose(f(1), 2.5)",
        "import pytest\nassert f(1) == pytest.approx(2.5)",
        "import copy\nassert copy.deepcopy(f(1)) == 3",
        "import os\ntry:\n    f(1)\nexcept Exception:\n    pass\nassert f(1) == 3",
    ],
)
def test_an_object_in_place_of_a_value_is_wrong(score: Callable[..., Score], test: str) -> None:
    assert score(LYING + "def f(x): return A()\n", [test]).value == 0.0


def test_a_process_that_ends_passes_no_test_that_expects_an_exception(score: Callable[..., Score]) -> None:
    test = "try:\n    f(-1)\nexcept Exception:\n    pass\nelse:\n    assert False"
    assert score("def f(x): raise ValueError", [test]).value == 1.0
    assert score("import os\ndef f(x): os._exit(0)", [test]).value == 0.0


def test_a_file_that_a_test_writes_reaches_the_candidate(score: Callable[..., Score]) -> None:
    test = "open('t.txt', 'w').write('a b c')\nassert f('t.txt') == 3"
    assert score("def f(p): return len(open(p).read().split())", [test]).value == 1.0
    assert score("open('t.txt', 'w').write('a b c d')\ndef f(p): return 4", [test]).value == 0.0


def test_a_file_that_the_candidate_writes_is_not_the_tests(score: Callable[..., Score]) -> None:
    planted = "open('expected.txt', 'w').write('7')\ndef f(x): return 7"
    test = "assert f(1) == 7\nassert open('expected.txt').read() == str(f(1))"
    assert score(planted, [test]).failure is Failure.REFERENCE


def test_classes_of_the_problem_cross_by_their_state(score: Callable[..., Score]) -> None:
    prompt = (
        "class ListNode:\n    def __init__(self, val=0, next=None):\n        self.val, self.next = val, next\n"
        "def linked(xs):\n    return ListNode(xs[0], linked(xs[1:])) if xs else None\n"
        "def listed(node):\n    return [node.val, *listed(node.next)] if node else []\n"
    )
    reference = {
        "prompt": prompt,
        "entry_point": "Solution().reverse",
        "test": "def check(candidate):\n    assert listed(candidate(linked([1, 2, 3]))) == [3, 2, 1]\n",
    }
    program = (
        "class Solution:\n    def reverse(self, head):\n        last = None\n        while head:\n"
        "            head.next, last, head = last, head, head.next\n        return last\n"
    )
    assert score(program, reference).value == 1.0
    assert score("class Solution:\n    def reverse(self, head): return head\n", reference).value == 0.0


@pytest.mark.parametrize(
    ("program", "reference", "value"),
    [
        ("def f(d): return d[1]", {"fn_name": "f", "inputs": [[{"1": 5}]], "outputs": [5]}, 1.0),
        (
            "def f(): return {True: 1, 2: 3}",
            {"fn_name": "f", "inputs": [[]], "outputs": [{"true": 1, "2": 3}]},
            1.0,
        ),
        ("def f(a): a.sort()", {"fn_name": "f", "inputs": [[[2, 1]]], "outputs": [[1, 2]]}, 1.0),
        ("def f(a): a.clear()", {"fn_name": "f", "inputs": [[[2, 1]]], "outputs": [[1, 2]]}, 0.0),
        ("def f(n): return n / 2", {"fn_name": "f", "inputs": [[2000001]], "outputs": [1000000]}, 0.0),
        (
            "def f(head: Optional[ListNode]): return 5",
            {"fn_name": "f", "inputs": [[[1]]], "outputs": [5]},
            1.0,
        ),
        ("print(*range(200000))", {"inputs": [""], "outputs": [" ".join(map(str, range(200000)))]}, 1.0),
        (
            "import sys\nprint('x' * 100000, file=sys.stderr)\nprint(1)",
            {"inputs": [""], "outputs": ["1"]},
            1.0,
        ),
        (
            "print(0)",
            {
                "inputs": [""],
                "outputs": ["1"],
                "checker": "import sys\nprint(int(open(sys.argv[3]).read()) == 0 and 1)",
            },
            1.0,
        ),
        (
            "print(2)",
            {
                "inputs": [""],
                "outputs": ["0"],
                "checker": "import sys\nprint(int(int(open(sys.argv[3]).read()) == 0))",
            },
            0.0,
        ),
        *(
            (
                f"print({output!r})",
                {
                    "inputs": [""],
                    "outputs": ["0"],
                    "checker": "import sys\nout = open(sys.argv[3]).read()\n"
                    "print(1) if out.strip() == '0' else print('expected 0, found', out)",
                },
                value,
            )
            for output, value in [("0", 1.0), ("1", 0.0), ("\n7", 0.0), ("0\n5", 0.0)]
        ),
    ],
)
def test_calls_and_programs(score: Callable[..., Score], program: str, reference: Any, value: float) -> None:
    judged = score(program, reference)
    assert judged.value == value, judged.explanation


def test_arguments_and_inputs_of_megabytes_cross(score: Callable[..., Score]) -> None:
    large = "x" * 9_000_000
    assert (
        score("def f(s): return len(s)", {"fn_name": "f", "inputs": [[large]], "outputs": [9_000_000]}).value
        == 1.0
    )
    judged = {
        "inputs": [large],
        "outputs": ["9000000"],
        "judge": "def judge(i, o, e): return int(o) == len(i)",
    }
    assert score("print(len(input()))", judged).value == 1.0
