"""Calls and checks of a candidate's functions: what crosses, what fails, what is reported."""

from __future__ import annotations

from typing import Any

import pytest

from guerdon_sandbox import Call, Calls, Check, Limit, Limits, Opaque, Raised, Returned, SyncSandbox

pytestmark = pytest.mark.docker


def test_calls_give_values_and_errors_in_order(sandbox: SyncSandbox) -> None:
    source = """
def double(x, *, plus=0):
    return x * 2 + plus
class Solution:
    def neg(self, x):
        return -x
"""
    calls = [
        Call("double", [2]),
        Call("double", [2], {"plus": 1}),
        Call("neg", [5]),
        Call("double", [None]),
        Call("no"),
    ]
    replies = sandbox.run(Calls(source=source, calls=calls)).replies
    assert replies[:3] == [Returned(4), Returned(5), Returned(-5)]
    assert isinstance(replies[3], Raised)
    assert replies[3].error.startswith("TypeError")
    assert replies[4] == Raised("NameError: name 'no' is not defined")


def test_a_candidate_that_does_not_load_says_why(sandbox: SyncSandbox) -> None:
    for source, why in (("def f(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("exit()", "SystemExit")):
        result = sandbox.run(Calls(source=source, calls=[Call("f")]))
        assert result.load_error is not None
        assert result.load_error.startswith(why)
        assert not result.replies


def test_a_call_that_ends_the_process_leaves_the_replies_before_it(sandbox: SyncSandbox) -> None:
    source = "import os\ndef f(x):\n    if x == 2: os._exit(0)\n    while x == 3: pass\n    return x"
    result = sandbox.run(Calls(source=source, calls=[Call("f", [1]), Call("f", [2]), Call("f", [3])]))
    assert result.replies == [Returned(1)]
    looping = sandbox.run(
        Calls(source=source, calls=[Call("f", [1]), Call("f", [3])], limits=Limits(cpu_s=1))
    )
    assert looping.replies == [Returned(1)]
    assert looping.limit is Limit.CPU


def test_a_body_continues_the_prelude(sandbox: SyncSandbox) -> None:
    prelude = "import math\ndef area(r):\n    '''The area of a circle.'''\n"
    for source in (
        "    return math.pi * r * r",
        "def area(r): return math.pi * r ** 2",
        "from __future__ import annotations\narea = lambda r: 3.14",
    ):
        (reply,) = sandbox.run(Calls(source=source, prelude=prelude, calls=[Call("area", [1])])).replies
        assert isinstance(reply, Returned)
        assert reply.value == pytest.approx(3.14, abs=0.01)


def test_ambient_names_are_found_like_builtins_and_are_not_the_candidates(sandbox: SyncSandbox) -> None:
    ambient = "from math import *\nimport math\nfrom typing import *"
    source = """class Solution:
    def root(self, xs: List[int]) -> float:
        return sqrt(xs[0]) + math.pi * 0
    def gcd(self, a, b):
        return "mine"
def pow(x): return "mine"
def bad(): return nothing
"""
    names: list[tuple[str, list[Any]]] = [
        ("root", [[9]]),
        ("gcd", [4, 6]),
        ("pow", [1]),
        ("sqrt", [4]),
        ("bad", []),
    ]
    result = sandbox.run(Calls(source=source, ambient=ambient, calls=[Call(*name) for name in names]))
    assert result.replies == [
        Returned(3.0),
        Returned("mine"),
        Returned("mine"),
        Raised("NameError: name 'sqrt' is not defined"),
        Raised("NameError: name 'nothing' is not defined"),
    ]
    broken = sandbox.run(Calls(source="\n\n)", ambient=ambient, calls=[Call("f")]))
    assert "candidate.py, line 3" in str(broken.load_error)


def test_what_has_no_encoding_arrives_as_nothing_in_particular(sandbox: SyncSandbox) -> None:
    (reply,) = sandbox.run(Calls(source="class A: pass\ndef f(): return A()", calls=[Call("f")])).replies
    assert isinstance(reply, Returned)
    assert isinstance(reply.value, Opaque)


def test_checks_report_each_test(sandbox: SyncSandbox) -> None:
    tests = ["assert f(2) == 4", "x = f(2)\nassert x == 5, 'off'", "f()", "assert f([1]) == [1, 1]"]
    result = sandbox.run(Check(source="def f(x):\n    return x * 2", tests=tests, names=["f"]))
    assert [outcome.passed for outcome in result.outcomes] == [True, False, False, True]
    assert result.outcomes[1].why == "AssertionError: off at: assert x == 5, 'off'"
    assert "TypeError" in result.outcomes[2].why


def test_checks_can_use_the_candidates_objects(sandbox: SyncSandbox) -> None:
    source = """
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x); return self
    def __len__(self): return len(self.items)
    def __getitem__(self, i): return self.items[i]
    def __iter__(self): return iter(self.items)
    def __str__(self): return f"Stack{self.items}"
def total(stack): return sum(stack.items)
def fill(xs):
    xs.append(1)
def bad(): raise KeyError("k")
"""
    test = """
stack = Stack()
stack.push(3).push(4)
stack.name = "s"
assert len(stack) == 2 and stack[1] == 4 and list(stack) == [3, 4]
assert str(stack) == "Stack[3, 4]" and stack.name == "s"
assert total(stack) == 7
xs = []
fill(xs)
assert xs == [1]
try:
    bad()
    assert False
except KeyError:
    pass
"""
    result = sandbox.run(
        Check(source=source, tests=[test], names=["Stack", "total", "fill", "bad"], in_place=[0])
    )
    assert [(outcome.passed, outcome.why) for outcome in result.outcomes] == [(True, "")]


def test_a_test_that_cannot_cross_is_nobodys_failure(sandbox: SyncSandbox) -> None:
    job = Check(source="def f(g): return g(1)", tests=["assert f(lambda x: x) == 1"], names=["f"])
    (outcome,) = sandbox.run(job).outcomes
    assert outcome.passed is None
    assert "function" in outcome.why


def test_a_check_that_hangs_keeps_the_outcomes_before_it(sandbox: SyncSandbox) -> None:
    source = "def f(x):\n    while x: pass\n    return x"
    tests = ["assert f(0) == 0", "f(1)", "assert f(0) == 0"]
    result = sandbox.run(Check(source=source, tests=tests, names=["f"], limits=Limits(cpu_s=1)))
    assert result.outcomes[0].passed
    assert not any(outcome.passed for outcome in result.outcomes[1:])
