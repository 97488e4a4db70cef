"""Functions: where they are compared, the witness of a difference, and what happens where values do not decide."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from guerdon_plugins.verifiers.math import MathOutcome, MathVerifier, compare, parse
from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.critical import borders, solutions
from guerdon_plugins.verifiers.math.comparing.domains import Domain, declaration, named_domain
from guerdon_plugins.verifiers.math.comparing.proofs import proves_equal

WITNESS = re.compile(r"at \w+ = -?\d+(/\d+)?.*: .+ against .+")


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("|x-5|", [5]),
        (r"|2x-1|", [Fraction(1, 2)]),
        (r"\sqrt{(x-30)^2}", [30]),
        (r"\max(x, 12)", [12]),
        (r"\frac{1}{x+7}", [-7]),
        (r"\binom{x}{10}", [10]),
        (r"\ln(x-10)", [10]),
        (r"\arcsin\frac{x}{50}", [50, -50]),
        (r"\lfloor\frac{x}{7}\rfloor", [0, 7, 14, -7]),
        (r"x \bmod 10", [0, 10, 20, -10]),
        (r"|x^3-1000|", [10]),
        (r"|e^x-5|", [Fraction(161, 100)]),
    ],
)
def test_solutions_of_borders_hold_every_kink(expression: str, found: list[Fraction]) -> None:
    budget = Budget()
    values = [value for border in borders(parse(expression)) for value in solutions(border, "x", {}, budget)]
    for expected in found:
        assert any(abs(value - expected) < Fraction(1, 100) for value in values), values


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("|x-5|", "5-x"),
        (r"\lfloor n/5\rfloor", r"\lfloor n/7\rfloor"),
        ("x^2+1", "x^2+2"),
        (r"\sin x", r"\cos x"),
        (r"\max(x,12345)", "12345"),
        (r"\binom{n}{10}", "0"),
        (r"\frac{1}{x-2}", r"\frac{1}{x-3}"),
        (r"\begin{cases}x,&x>0\\-x,&x\le0\end{cases}", r"\begin{cases}x,&x>1\\-x,&x\le1\end{cases}"),
    ],
)
def test_verifier_different_functions_have_a_witness(reference: str, answer: str) -> None:
    score = MathVerifier()(f"\\boxed{{{answer}}}", reference)
    assert score.value == 0.0
    assert WITNESS.fullmatch(score.metadata["witness"]), score.metadata


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\ln|x|", r"\ln x"),
        (r"\ln(x^2)", r"2\ln x"),
        (r"\ln x^2", r"2\ln x"),
        (r"\log_2(x^2)+1", r"2\log_2 x+1"),
        (r"\ln((x-1)^4)", r"4\ln(x-1)"),
        (r"\frac12\ln(x^2)", r"\ln x"),
    ],
)
def test_compare_answer_that_leaves_a_side_of_the_reference_out_is_refused(
    reference: str, answer: str
) -> None:
    assert not compare(answer, reference)
    assert compare(reference, answer)


def test_compare_functions_that_share_no_point_is_undecided_and_says_so() -> None:
    verdict = compare(r"\sqrt{x}\sqrt{-x-1}", "x")
    assert (verdict.outcome, verdict.tier) == (MathOutcome.INCORRECT, "undecided")
    assert "could not be compared" in verdict.reason


def test_proves_equal_knows_identities_that_values_leave_open() -> None:
    for left, right in (
        (r"\sin^2 x+\cos^2 x", "1"),
        (r"\frac{(n+1)!}{n!}", "n+1"),
        ("(x+1)^3", "x^3+3x^2+3x+1"),
    ):
        assert proves_equal(parse(left), parse(right), {})
        assert not proves_equal(parse(left), parse(f"{right}+1"), {})


@pytest.mark.parametrize(
    "bomb",
    [
        r"\binom{10^9}{5\cdot 10^8}",
        "9^{9^{9^9}}",
        "100000000!",
        r"((8!)!)!",
        r"\sum_{k=1}^{10^9} k",
        r"(x+y+z)^{10^9}",
        r"x^{9^{9^9}}",
        r"\binom{n}{10^9}",
        r"\lfloor 10^{10^{10}}\rfloor",
    ],
)
def test_proves_equal_refuses_what_would_compute_a_huge_number(bomb: str) -> None:
    assert not proves_equal(parse(bomb), parse("x"), {})


def domain(name: str) -> Domain:
    found = named_domain(name)
    assert found is not None
    return found


def test_named_domain_knows_every_spelling() -> None:
    positive = [domain(name) for name in ("N*", "N^*", "N\\cdot", "N+", "N_{+}", "Z^+", "Z_+")]
    assert len(set(positive)) == 1
    assert Fraction(0) not in positive[0]
    assert Fraction(0) in domain("N")
    assert domain("R").same(domain("R"))
    assert not domain("R").same(domain("Q"))


@pytest.mark.parametrize(
    ("condition", "inside", "outside"),
    [
        (r"n\ge 2", [2, 3], [1]),
        (r"1<n\le 5", [2, 5], [1, 6]),
        (r"n\in\mathbb{Z}", [-3], [Fraction(1, 2)]),
        (r"n\in\mathbb{Z}\setminus\{0\}", [1], [0]),
        (r"n\ne 3", [2], [3]),
    ],
)
def test_declaration_of_a_letter_is_a_domain(
    condition: str, inside: list[Fraction], outside: list[Fraction]
) -> None:
    declared = declaration(parse(condition), Budget())
    assert declared is not None
    letter, values = declared
    assert letter == "n"
    assert all(Fraction(value) in values for value in inside)
    assert not any(Fraction(value) in values for value in outside)
