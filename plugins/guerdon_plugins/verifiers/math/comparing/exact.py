"""Exact arithmetic: rational values, and rational functions modulo primes.

Two rational expressions (in variables, pi, e and i) are equal if and only if their values modulo a large prime agree at
random points, but for a chance of about degree / 2^89 per prime (Schwartz 1980, Zippel 1979). Huge powers cost nothing
this way, and nothing is rounded: the answer is exact in both directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from hashlib import blake2b

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.nodes import (
    BaseNumeral,
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
)

MAX_BITS = 20_000
"""Larger rationals are left to the modular test."""
MAX_FACTORIAL = 3_000

# Two primes that are 1 modulo 4, each with a square root of -1, so that i has a value. They match no known constant: an
# answer that differs from the reference by a multiple of both is not to be hit by chance.
_PRIMES = (
    (615_171_939_353_919_815_725_801_529, 359_797_029_560_333_166_480_213_380),
    (327_692_115_671_721_654_207_626_021, 212_821_718_279_363_549_723_699_862),
)


class UndefinedError(ArithmeticError):
    """The expression has no value here: a division by zero, a logarithm of zero, a root outside the reals."""


class NotExactError(ArithmeticError):
    """The expression is not a rational function, or too large to evaluate exactly."""


NOWHERE: Mapping[str, Fraction] = {}
"""A point without variables."""


def rational(node: Node, budget: Budget, point: Mapping[str, Fraction] = NOWHERE) -> Fraction:
    """Return the value of an expression of rationals at a point.

    Raises:
        NotExactError: It is irrational, has other variables, or is too large.
        UndefinedError: It has no value.
    """
    budget.spend()
    match node:
        case Number(value=value):
            return value
        case Symbol(name=name) if name in point:
            return point[name]
        case Sum(terms=terms):
            return sum((rational(term, budget, point) for term in terms), Fraction(0))
        case Product(factors=factors):
            product = Fraction(1)
            for factor in factors:
                product = _bounded(product * rational(factor, budget, point))
            return product
        case Quotient(numerator=numerator, denominator=denominator):
            below = rational(denominator, budget, point)
            if not below:
                raise UndefinedError("a division by zero")
            return _bounded(rational(numerator, budget, point) / below)
        case Power(base=base, exponent=exponent):
            return _rational_power(rational(base, budget, point), rational(exponent, budget, point))
        case Constant(name="percent"):
            return Fraction(1, 100)
        case Call(function=function, arguments=arguments) if function in _RATIONAL_CALLS:
            budget.spend(10 if function in _GROWING else 0)
            return _RATIONAL_CALLS[function](*(rational(item, budget, point) for item in arguments))
        case BaseNumeral(digits=digits, base=base):
            return Fraction(int(digits, base))
    raise NotExactError


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise NotExactError
    return value


def _rational_power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise NotExactError
    power = int(exponent)
    if not base and power <= 0:
        raise UndefinedError("zero to a power that is not positive")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in (0, 1, -1) and bits * abs(power) > MAX_BITS:
        raise NotExactError
    if base in (1, -1):
        return base if power % 2 else Fraction(1)
    return base**power


def _natural(value: Fraction, limit: int) -> int:
    if value.denominator != 1 or value < 0:
        raise UndefinedError("a whole number is needed")
    if value > limit:
        raise NotExactError
    return int(value)


def _factorial(value: Fraction) -> Fraction:
    return Fraction(math.factorial(_natural(value, MAX_FACTORIAL)))


def _gamma(value: Fraction) -> Fraction:
    if value.denominator != 1:
        raise NotExactError
    if value <= 0:
        raise UndefinedError("a pole of the gamma function")
    return _factorial(value - 1)


def _double_factorial(value: Fraction) -> Fraction:
    return Fraction(math.prod(range(_natural(value, MAX_FACTORIAL), 0, -2)))


def _binomial(n: Fraction, k: Fraction) -> Fraction:
    return Fraction(math.comb(_natural(n, 10**6), _natural(k, MAX_FACTORIAL)))


def _whole(*values: Fraction) -> list[int]:
    if any(value.denominator != 1 for value in values):
        raise UndefinedError("whole numbers are needed")
    return [int(value) for value in values]


def _modulo(value: Fraction, modulus: Fraction) -> Fraction:
    if not modulus:
        raise UndefinedError("a remainder of a division by zero")
    return value % modulus


_GROWING = frozenset(("factorial", "double_factorial", "gamma", "binom", "gcd", "lcm"))
_RATIONAL_CALLS: dict[str, Callable[..., Fraction]] = {
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "factorial": _factorial,
    "double_factorial": _double_factorial,
    "gamma": _gamma,
    "sign": lambda value: Fraction((value > 0) - (value < 0)),
    "binom": _binomial,
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "gcd": lambda *values: Fraction(math.gcd(*_whole(*values))),
    "lcm": lambda *values: Fraction(math.lcm(*_whole(*values))),
    "mod": _modulo,
    "conjugate": lambda value: value,
}


class Field:
    """A prime field with pseudo-random values for variables, pi and e, drawn from a seed."""

    def __init__(self, index: int, seed: str, budget: Budget, fixed: Mapping[str, int] | None = None) -> None:
        self.prime, self._imaginary = _PRIMES[index]
        self._seed = f"{index} {seed} "
        self._budget = budget
        self._values: dict[str, int] = dict(fixed or {})

    def draw(self, name: str) -> int:
        """Return the value of a name, the same whenever it is asked for."""
        value = self._values.get(name)
        if value is None:
            digest = blake2b((self._seed + name).encode(), digest_size=16).digest()
            value = self._values[name] = int.from_bytes(digest, "big") % self.prime
        return value

    def value(self, node: Node) -> int:
        """Return the value of an expression.

        Raises:
            NotExactError: It is not a rational function.
            UndefinedError: A denominator is zero, here or everywhere.
        """
        numerator, denominator = self.fraction(node)
        return numerator if denominator == 1 else numerator * self._inverse(denominator) % self.prime

    def fraction(self, node: Node) -> tuple[int, int]:
        """Return numerator and denominator, without a common factor taken out."""
        self._budget.spend()
        prime = self.prime
        match node:
            case Number(value=value):
                return value.numerator % prime, value.denominator % prime
            case Symbol(name=name):
                return self.draw(name), 1
            case Sum(terms=terms):
                return self._sum(terms)
            case Product(factors=factors):
                top, below = 1, 1
                for factor in factors:
                    n, d = self.fraction(factor)
                    top, below = top * n % prime, below * d % prime
                return top, below
            case Quotient(numerator=numerator, denominator=denominator):
                n, d = self.fraction(numerator)
                other_n, other_d = self.fraction(denominator)
                if not other_n:
                    raise UndefinedError("a division by zero")
                return n * other_d % prime, d * other_n % prime
            case Power(base=base, exponent=exponent):
                return self._power(base, exponent)
            case Constant(name=name):
                return self._constant(name)
            case Call() | BaseNumeral():
                value = rational(node, self._budget)
                return value.numerator % prime, value.denominator % prime
        raise NotExactError

    def _sum(self, terms: tuple[Node, ...]) -> tuple[int, int]:
        top, below = 0, 1
        for term in terms:
            n, d = self.fraction(term)
            if d == below:
                top = (top + n) % self.prime
            else:
                top, below = (top * d + n * below) % self.prime, below * d % self.prime
        return top, below

    def _power(self, base: Node, exponent: Node) -> tuple[int, int]:
        power = self._exponent(exponent)
        n, d = self.fraction(base)
        if power < 0:
            n, d, power = d, n, -power
            if not d:
                raise UndefinedError("a division by zero")
        elif not power and not n:
            raise UndefinedError("zero to the power zero")
        return pow(n, power, self.prime), pow(d, power, self.prime)

    def _constant(self, name: str) -> tuple[int, int]:
        match name:
            case "pi" | "e":
                return self.draw(f"constant {name}"), 1
            case "i":
                return self._imaginary, 1
            case "degree":
                return self.draw("constant pi"), 180
            case "percent":
                return 1, 100
        raise NotExactError

    def _exponent(self, node: Node) -> int:
        value = rational(node, self._budget)
        if value.denominator != 1 or value.numerator.bit_length() > 4096:
            raise NotExactError
        return int(value)

    def _inverse(self, value: int) -> int:
        if not value % self.prime:
            raise UndefinedError("a division by zero")
        return pow(value, -1, self.prime)
