"""Pairs of functions, equal or nearly equal: each is LaTeX and, made together with it, its values by mpmath.

The judge knows nothing of guerdon: it evaluates both sides at every breakpoint of the numerals in them, on both sides
of each, on a grid and far out, to 50 digits.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mpmath import MPContext

MP = MPContext()
MP.dps = 50

_NAMES = re.compile(r"\\[a-z]+")
Value = Any
Place = dict[str, Fraction]


class NoValueError(ArithmeticError):
    """The function has no value there."""


@dataclass(frozen=True)
class Term:
    """LaTeX and the values that it stands for."""

    tex: str
    at: Callable[[Place], Value]
    atom: bool = False
    """It needs no brackets."""

    @property
    def inner(self) -> str:
        return self.tex if self.atom else f"\\left({self.tex}\\right)"

    def __add__(self, other: Term) -> Term:
        sign = "" if other.tex.startswith("-") else "+"
        return Term(f"{self.tex}{sign}{other.tex}", lambda p: self.at(p) + other.at(p))

    def __sub__(self, other: Term) -> Term:
        return Term(f"{self.tex}-{other.inner}", lambda p: self.at(p) - other.at(p))

    def __mul__(self, other: Term) -> Term:
        return Term(f"{self.inner}{other.inner}", lambda p: self.at(p) * other.at(p))


def number(value: Fraction | int) -> Term:
    value = Fraction(value)
    if value.denominator == 1:
        return Term(str(value), lambda _: value, value >= 0)
    sign = "-" if value < 0 else ""
    tex = f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    return Term(tex, lambda _: value, value >= 0)


def letter(name: str) -> Term:
    return Term(name, lambda p: p[name], True)


def quotient(top: Term, below: Term) -> Term:
    def at(place: Place) -> Value:
        divisor = below.at(place)
        if divisor == 0:
            raise NoValueError
        return top.at(place) / divisor

    return Term(f"\\frac{{{top.tex}}}{{{below.tex}}}", at, True)


def power(base: Term, exponent: int) -> Term:
    def at(place: Place) -> Value:
        value = base.at(place)
        if exponent <= 0 and value == 0:
            raise NoValueError
        return value**exponent

    return Term(f"{base.inner}^{{{exponent}}}", at)


def modulus(a: Term) -> Term:
    return Term(f"\\left|{a.tex}\\right|", lambda p: abs(a.at(p)), True)


def root(a: Term) -> Term:
    def at(place: Place) -> Value:
        value = a.at(place)
        if value < 0:
            raise NoValueError
        return MP.sqrt(mp(value))

    return Term(f"\\sqrt{{{a.tex}}}", at, True)


def mp(value: Value) -> Value:
    return MP.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def floor(a: Term) -> Term:
    return Term(f"\\left\\lfloor {a.tex}\\right\\rfloor", lambda p: Fraction(math.floor(a.at(p))), True)


def ceil(a: Term) -> Term:
    return Term(f"\\left\\lceil {a.tex}\\right\\rceil", lambda p: Fraction(math.ceil(a.at(p))), True)


def largest(a: Term, b: Term) -> Term:
    return Term(f"\\max({a.tex}, {b.tex})", lambda p: max(a.at(p), b.at(p)), True)


def smallest(a: Term, b: Term) -> Term:
    return Term(f"\\min({a.tex}, {b.tex})", lambda p: min(a.at(p), b.at(p)), True)


def remainder(a: Term, m: int) -> Term:
    return Term(f"({a.inner} \\bmod {m})", lambda p: a.at(p) % m, True)


def factorial(a: Term) -> Term:
    def at(place: Place) -> Value:
        value = a.at(place)
        if value < 0 or value.denominator != 1 or value > 1500:
            raise NoValueError
        return Fraction(math.factorial(int(value)))

    return Term(f"{a.inner}!", at)


def binomial(n: Term, k: Term) -> Term:
    def at(place: Place) -> Value:
        top, below = n.at(place), k.at(place)
        if top < 0 or below < 0 or top > 1500 or below > 1500:
            raise NoValueError
        return Fraction(math.comb(int(top), int(below)))

    return Term(f"\\binom{{{n.tex}}}{{{k.tex}}}", at, True)


def elementary(name: str, a: Term) -> Term:
    def at(place: Place) -> Value:
        value = mp(a.at(place))
        if (name == "ln" and value <= 0) or (name == "exp" and abs(value) > 10**5):
            raise NoValueError
        return getattr(MP, name)(value)

    return Term(f"e^{{{a.tex}}}" if name == "exp" else f"\\{name}\\left({a.tex}\\right)", at, True)


X, N = letter("x"), letter("n")


def linear(source: random.Random, of: Term = X, size: int = 40) -> Term:
    a, b = source.choice((1, 1, 1, 2, 3, -1, -2)), source.randint(-size, size)
    scaled = of if a == 1 else Term(f"{'-' if a == -1 else a}{of.inner}", lambda p: a * of.at(p))
    return scaled if b == 0 else scaled + number(b)


def kinks(source: random.Random) -> tuple[Term, Term]:
    a, b = linear(source), linear(source)
    f, g = number(Fraction(source.randint(-9, 9), source.randint(1, 5))), number(source.randint(1, 60))
    return source.choice(
        (
            lambda: (modulus(a), modulus(number(0) - a)),
            lambda: (modulus(a), root(power(a, 2))),
            lambda: (modulus(a), a),
            lambda: (modulus(a), number(0) - a),
            lambda: (modulus(a) + modulus(b), modulus(a + b)),
            lambda: (modulus(a) + modulus(b), modulus(b) + modulus(a)),
            lambda: (largest(a, b), quotient(a + b + modulus(a - b), number(2))),
            lambda: (largest(a, b), quotient(a + b - modulus(a - b), number(2))),
            lambda: (smallest(a, b), a + b - largest(a, b)),
            lambda: (largest(a, g), a),
            lambda: (smallest(a, g), g),
            lambda: (modulus(a) * modulus(b), modulus(a * b)),
            lambda: (modulus(a) * modulus(b), a * b),
            lambda: (root(power(a, 2)) + f, a + f),
            lambda: (quotient(modulus(a), a), number(source.choice((1, -1)))),
            lambda: (root(power(a, 2)) + root(power(b, 2)), modulus(a + b)),
        )
    )()


def steps(source: random.Random) -> tuple[Term, Term]:
    c = source.randint(2, 60)
    b = source.randint(-30, 30)
    shift = source.choice((0, 0, 1, -1))
    other = source.choice((c, c + 1, c + 2, 2 * c))
    n, shifted = N, N + number(b)

    def over(term: Term, divisor: int) -> Term:
        return quotient(term, number(divisor))

    return source.choice(
        (
            lambda: (floor(over(shifted, c)), ceil(over(shifted + number(1 - c + shift), c))),
            lambda: (ceil(over(n, c)), floor(over(n + number(c - 1 + shift), c))),
            lambda: (floor(over(n, c)), floor(over(n, other))),
            lambda: (floor(over(shifted, c)), floor(over(shifted + number(c), c)) - number(1 + shift)),
            lambda: (remainder(n, c), remainder(n + number(c * source.randint(1, 3) + shift), c)),
            lambda: (remainder(n, c), remainder(n, other)),
            lambda: (remainder(n, c), n - number(c) * floor(over(n, other))),
            lambda: (remainder(power(n, 2), c), remainder(power(n + number(c), 2), other)),
            lambda: (floor(n) + number(b), n + number(b + shift)),
            lambda: (floor(over(X, c)), floor(over(X, other))),
            lambda: (floor(X + number(b)), floor(X) + number(b + shift)),
            lambda: (floor(X), ceil(X) - number(1)),
            lambda: (floor(over(n, 2)) + ceil(over(n, 2)), n + number(shift)),
            lambda: (floor(over(floor(over(n, c)), 3)), floor(over(n, 3 * other))),
        )
    )()


def counts(source: random.Random) -> tuple[Term, Term]:
    k, shift = source.randint(1, 14), source.choice((0, 0, 1))
    lower = N - number(k)
    return source.choice(
        (
            lambda: (binomial(N, number(k)), binomial(N, number(k + shift))),
            lambda: (binomial(N, number(k)), number(source.choice((0, 1)))),
            lambda: (binomial(N, number(2)), quotient(N * (N - number(1 + shift)), number(2))),
            lambda: (
                binomial(N, number(k)) + binomial(N, number(k + 1)),
                binomial(N + number(1), number(k + 1 + shift)),
            ),
            lambda: (factorial(lower), quotient(factorial(lower + number(1)), lower + number(1 + shift))),
            lambda: (quotient(factorial(N), factorial(N - number(2))), N * (N - number(1 + shift))),
            lambda: (quotient(factorial(N + number(1)), factorial(N)), N + number(1 + shift)),
            lambda: (binomial(N, number(k)) * number(k), N * binomial(N - number(1), number(k - 1 + shift))),
        )
    )()


def smooth(source: random.Random) -> tuple[Term, Term]:
    a, b = linear(source, size=9), linear(source, size=9)
    shift = source.choice((0, 0, 1, -1))
    c = number(source.randint(2, 9))

    def of(name: str, term: Term) -> Term:
        return elementary(name, term)

    double = Term(f"2{a.inner}", lambda p: 2 * a.at(p))
    return source.choice(
        (
            lambda: (a * b, b * a + number(shift)),
            lambda: (power(a, 2) - power(b, 2), (a - b) * (a + b) + number(shift)),
            lambda: (quotient(a, b) + c, quotient(a + c * b + number(shift), b)),
            lambda: (of("sin", double), number(2 + shift) * of("sin", a) * of("cos", a)),
            lambda: (power(of("sin", a), 2) + power(of("cos", a), 2), number(1 + shift)),
            lambda: (of("exp", a) * of("exp", b), of("exp", a + b + number(shift))),
            lambda: (of("ln", a * c), of("ln", a) + of("ln", c) + number(shift)),
            lambda: (of("ln", power(a, 2)), number(2 + shift) * of("ln", modulus(a))),
            lambda: (root(a * c), root(a) * root(c) + number(shift)),
            lambda: (power(a + b, 3), (a + b) * (power(a, 2) + number(2 + shift) * a * b + power(b, 2))),
            lambda: (of("cos", a), of("cos", number(shift) - a)),
        )
    )()


FAMILIES = (kinks, steps, counts, smooth)


def places(numerals: set[int], whole: bool) -> Iterator[Place]:
    """Everything that the numerals of a pair may make special, a grid, and far out."""
    marks = {value * sign for value in numerals for sign in (1, -1)} | {0}
    marks |= {a + b for a in list(marks)[:24] for b in list(marks)[:24]}
    found: dict[Fraction, None] = {}
    for mark in sorted(marks):
        for step in (0, 1, -1):
            found[Fraction(mark + step)] = None
        for divisor in (2, 3):
            found[Fraction(mark, divisor)] = None
            found[Fraction(mark, divisor) + Fraction(1, 7)] = None
    found.update(dict.fromkeys(map(Fraction, range(-70, 150))))
    found.update(dict.fromkeys(Fraction(k, 4) + Fraction(1, 101) for k in range(-60, 60)))
    found.update(dict.fromkeys((Fraction(12345), Fraction(-12345), Fraction(98765, 7), Fraction(-98765, 7))))
    for value in found:
        if not whole or value.denominator == 1:
            yield {"x": value, "n": value}


def equal(left: Term, right: Term, numerals: set[int]) -> bool | None:
    """Whether two functions agree wherever both have a value; ``None`` where they hardly do anywhere."""
    names = set(_NAMES.sub("", left.tex + right.tex))
    whole = "n" in names and "x" not in names
    both = 0
    for place in places(numerals, whole):
        try:
            a, b = left.at(place), right.at(place)
        except (NoValueError, ZeroDivisionError, OverflowError):
            continue
        both += 1
        if isinstance(a, Fraction | int) and isinstance(b, Fraction | int):
            if a != b:
                return False
        elif abs(mp(a) - mp(b)) > MP.mpf(10) ** -35 * max(1, abs(mp(a))):
            return False
    return True if both > 5 else None
