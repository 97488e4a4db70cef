"""The tolerance holds for every written decimal, wherever it stands, and for nothing else."""

from __future__ import annotations

import pytest

from guerdon_plugins.verifiers.math import Policy, compare

ONE_PERCENT = Policy(decimal_tolerance=0.01)
CLOSE = (
    ("6.63e-34", "6.626e-34"),
    (r"1.7\times 10^{5}", r"1.701\times 10^{5}"),
    (r"1.7\times 10^{5}", "170100"),
    (r"2.998\times 10^{8}\text{ m/s}", r"3.0\times 10^{8}\text{ m/s}"),
    (r"33.3\%", r"33.33\%"),
    (r"36.87^\circ", r"36.9^\circ"),
    (r"\frac13", "0.3333"),
    (r"\sqrt2", "1.414"),
    (r"\left(\frac35,\frac83\right]", "(0.6, 2.6667]"),
    ("x>2.667", r"x>\frac83"),
    ("1.41<x<1.73", "1.414<x<1.732"),
    ("1:1.41", "1:1.414"),
    ("y=0.5x+0.33", "y=0.5x+0.333"),
    ("0.333x+0.5y=1", "0.33x+0.5y=1"),
    ("e^{-0.33t}", "e^{-0.333t}"),
    ("3.14x^2+2x", "2x+3.142x^2"),
    ("0.5+0.866i", "0.5+0.87i"),
    ("(1.41, 2)", "(1.414, 2)"),
    (r"\begin{pmatrix}0.33\\0.67\end{pmatrix}", r"\begin{pmatrix}0.333\\0.667\end{pmatrix}"),
    (r"\{1.41, 1.73\}", r"\{1.732, 1.414\}"),
    (r"\sin(0.33x)", r"\sin(0.333x)"),
)
FAR = (
    ("6.63e-34", "6.8e-34"),
    (r"1.7\times 10^{5}", r"1.7\times 10^{6}"),
    (r"33.3\%", "33.3"),
    (r"33.3\%", r"34\%"),
    ("99", "100"),
    (r"\frac{99}{100}", "1"),
    ("(0.6, 2.7)", "(0.6, 2.7]"),
    ("(0.6, 2.7)", "(0.6, 2.8)"),
    ("x>2.667", "x<2.667"),
    ("1:1.41", "1:1.5"),
    ("y=0.5x+0.33", "y=0.5x+0.35"),
    ("y=0.5x+0.33", "y=0.5x-0.33"),
    ("1000x+0.33", "1000x+0.36"),
    ("0.5x^2+3", "0.5x^2+4"),
    ("0.333x+0.5y<1", "-0.333x-0.5y<-1"),
    ("0.5+0.866i", "0.5-0.866i"),
    ("100+0.01i", "100+0.02i"),
    ("(1.41, 2)", "(1.414, 3)"),
    ("e^{-0.33t}", "e^{0.33t}"),
    (r"2.998\times 10^{8}\text{ m/s}", r"3.0\times 10^{8}\text{ km/s}"),
)


@pytest.mark.parametrize(("reference", "answer"), CLOSE)
def test_compare_decimals_within_the_tolerance_are_equal(reference: str, answer: str) -> None:
    assert compare(answer, reference, ONE_PERCENT)
    assert not compare(answer, reference)


@pytest.mark.parametrize(("reference", "answer"), FAR)
def test_compare_anything_else_than_decimals_must_be_equal(reference: str, answer: str) -> None:
    assert not compare(answer, reference, ONE_PERCENT)
    assert not compare(reference, answer, ONE_PERCENT)
