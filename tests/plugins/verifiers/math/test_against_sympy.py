"""Expressions made by hypothesis: verdicts against sympy's numeric truth."""

from __future__ import annotations

from typing import Any

import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guerdon_plugins.verifiers.math import compare

X, Y = sympy.symbols("x y", positive=True)
POINTS = [
    {X: sympy.Rational(7, 5), Y: sympy.Rational(11, 3)},
    {X: sympy.Rational(9, 4), Y: sympy.Rational(2, 7)},
]

numbers = st.integers(-9, 9).map(sympy.Integer) | st.builds(
    sympy.Rational, st.integers(-9, 9), st.integers(1, 9)
)
constants = numbers | st.sampled_from([sympy.pi, sympy.E, sympy.sqrt(2), sympy.sqrt(3), sympy.log(2)])
variables = numbers | st.sampled_from([X, Y, X, Y])


def combined(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.builds(lambda a, b: a + b, children, children)
        | st.builds(lambda a, b: a * b, children, children)
        | st.builds(lambda a, b: a / b if b != 0 else a, children, children)
        | st.builds(lambda a, n: a**n if a != 0 else a, children, st.integers(-2, 3))
    )


def with_functions(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    functions = st.sampled_from([sympy.sin, sympy.cos, sympy.exp, sympy.sqrt, sympy.atan, sympy.Abs])
    return combined(children) | st.builds(lambda f, a: f(a), functions, children)


closed_forms = st.recursive(constants, with_functions, max_leaves=6)
rational_functions = st.recursive(variables, combined, max_leaves=7)
functions = st.recursive(variables, with_functions, max_leaves=6)


def equal_in_truth(left: Any, right: Any) -> bool | None:
    """Equality by value to 50 digits at two points; ``None`` where a value is not finite, not real or huge."""
    for point in POINTS:
        values = [sympy.N(side.subs(point), 60) for side in (left, right)]
        if not all(value.is_number and value.is_real and value.is_finite for value in values):
            return None
        if any(abs(value) > 10**30 or (value != 0 and abs(value) < sympy.Float("1e-30")) for value in values):
            return None
        if abs(values[0] - values[1]) > sympy.Float("1e-45") * max(abs(values[0]), abs(values[1]), 1):
            return False
    return True


def check(left: Any, right: Any) -> None:
    truth = equal_in_truth(left, right)
    assume(truth is not None)
    reference, answer = (sympy.latex(side) for side in (left, right))
    verdict = compare(answer, reference)
    assert bool(verdict) == truth, (reference, answer, verdict.reason)


@settings(max_examples=150, deadline=None)
@given(
    rational_functions,
    st.sampled_from([sympy.expand, sympy.factor, sympy.together, sympy.cancel, sympy.apart]),
)
def test_algebra_keeps_rational_functions_equal(expression: Any, rewrite: Any) -> None:
    try:
        rewritten = rewrite(expression)
    except (NotImplementedError, sympy.PolynomialError):  # apart knows one variable only
        rewritten = sympy.expand(expression)
    check(expression, rewritten)


@settings(max_examples=150, deadline=None)
@given(functions, st.sampled_from([sympy.expand, sympy.expand_trig, sympy.powsimp, sympy.together]))
def test_identities_keep_functions_equal(expression: Any, rewrite: Any) -> None:
    check(expression, rewrite(expression))


@settings(max_examples=150, deadline=None)
@given(closed_forms, closed_forms)
def test_closed_forms_have_sympys_truth(left: Any, right: Any) -> None:
    check(left, right)


@settings(max_examples=150, deadline=None)
@given(functions, constants)
def test_a_changed_term_is_seen(expression: Any, change: Any) -> None:
    check(expression, expression + change)
