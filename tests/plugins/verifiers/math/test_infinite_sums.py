"""Infinite sums and products of a reference, answered by their value."""

from __future__ import annotations

import pytest

from guerdon_plugins.verifiers.math import Policy, compare


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\sum_{k=2}^{\infty}\frac1{k^2}", r"\frac{\pi^2}{6}-1"),
        (r"\sum_{k=1}^{\infty}\frac1{2^k}", "1"),
        (r"\sum_{k=0}^{\infty}\frac{(-1)^k}{2k+1}", r"\frac{\pi}{4}"),
        (r"\sum_{k=0}^{\infty}\frac{1}{k!}", "e"),
        (r"\sum_{i=1}^{\infty}\frac{i}{2^i}", "2"),
        (r"\sum_{k=1}^{\infty}\frac1{k(k+1)}", "1"),
        (r"\prod_{k=2}^{\infty}\left(1-\frac1{k^2}\right)", r"\frac12"),
        (r"3\sum_{k=1}^{\infty}\frac1{k^2}+1", r"\frac{\pi^2}{2}+1"),
        (r"\sum_{k=0}^\infty \frac{1}{k^2+1}", r"\frac{1+\pi\coth\pi}{2}"),
        (r"\sum_{k=2}^{\infty} \ln(1-\frac{1}{k^2})", r"-\ln 2"),
    ],
)
def test_compare_an_infinite_sum_with_its_value_is_equal(reference: str, answer: str) -> None:
    verdict = compare(answer, reference)
    assert verdict
    assert verdict.tier == "limit"
    assert not compare(reference, answer)  # a sum that is left standing is not the answer to a value
    assert not compare(reference, answer, Policy(unevaluated=True))


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\sum_{k=2}^{\infty}\frac1{k^2}", r"\frac{\pi^2}{6}"),
        (r"\sum_{k=1}^{\infty}\frac1{k^2}", r"1.6449340668482264364724151666460251"),
        (r"\sum_{k=0}^{\infty}\frac{(-1)^k}{2k+1}", r"\frac{355}{452}"),
        (r"\sum_{k=1}^{\infty}\frac1{k^2}", r"\sum_{k=1}^{1000}\frac1{k^2}"),
        (r"\prod_{k=2}^{\infty}\left(1-\frac1{k^2}\right)", r"\frac{501}{1000}"),
    ],
)
def test_compare_an_infinite_sum_with_another_value_says_that_they_differ(
    reference: str, answer: str
) -> None:
    verdict = compare(answer, reference)
    assert not verdict
    assert verdict.reason == "the values differ"


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\sum_{k=0}^{\infty} (-1)^k", r"\frac12"),
        (r"\sum_{k=0}^{\infty} 2^k", "-1"),
        (r"\sum_{k=0}^{\infty} (-2)^k", r"\frac13"),
        (r"\sum_{k=1}^{\infty} (-1)^{k+1}k", r"\frac14"),
        (r"\sum_{k=1}^{\infty} k", r"-\frac1{12}"),
        (r"\sum_{k=0}^{\infty} \frac{(-1)^k k!}{1000^k}", "1"),
        (r"\sum_{k=1}^{\infty} \cos(k\pi)", r"-\frac12"),
        (r"\sum_{k=1}^{\infty} \sin(k)", r"\frac12\cot\frac12"),
        (r"\sum_{k=1}^{\infty} \frac1k", r"\infty"),
        (r"\sum_{k=2}^{\infty} \frac{1}{k\ln k}", "2"),
        (r"\prod_{k=2}^{\infty}(1-\frac1{k})", "0"),
        (r"\prod_{k=1}^{\infty}(-1)", "1"),
        (r"\sum_{k=1}^{\infty}\frac{1}{k^3}", r"\zeta(3)+f(1)"),
        (r"\sum_{k=0}^{\infty}x^k", r"\frac1{1-x}"),
        (r"\int_0^1 x\,dx", r"\frac12"),
        (r"\lim_{x\to0}\frac{\sin x}{x}", "1"),
    ],
)
def test_compare_an_operation_without_a_known_value_is_undecided(reference: str, answer: str) -> None:
    verdict = compare(answer, reference)
    assert not verdict
    assert verdict.tier == "undecided"
    assert "could not be found" in verdict.reason
