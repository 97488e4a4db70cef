"""Numeric values to many digits, with an account of the digits that cancellation and absorption lose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from hashlib import blake2b
from typing import Any

from mpmath.ctx_mp import MPContext

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.exact import (
    MAX_FACTORIAL,
    NotExactError,
    UndefinedError,
    rational,
)
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    BaseNumeral,
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Standing,
    Sum,
    Symbol,
    children,
)
from guerdon_plugins.verifiers.math.reading.tokens import TooLargeError

MAX_PRECISION = 6_000
"""Bits; what needs more is left undecided."""
MAX_MAGNITUDE = 10_000
"""Largest binary exponent of an argument to exp, sin, … and of an exponent."""

_contexts = threading.local()


def context(precision: int) -> Any:
    """Return an mpmath context of this thread with a precision in bits. Any: mpmath ships no types."""
    cache: dict[int, Any] = _contexts.__dict__.setdefault("by_precision", {})
    if precision not in cache:
        if len(cache) > 64:
            cache.clear()
        cache[precision] = MPContext()
        cache[precision].prec = precision
    return cache[precision]


class UndecidedError(ArithmeticError):
    """More digits would be needed than this library computes."""


def magnitude(value: Any) -> int:
    """Return the binary exponent of a number that is not zero.

    Raises:
        UndefinedError: The number is infinite or none.
    """
    if not value.context.isfinite(value):
        raise UndefinedError("an infinite value")
    return int(value.context.mag(value))


class Evaluator:
    """Evaluates expressions at one point, and remembers how many bits were lost on the way."""

    def __init__(
        self, precision: int, point: Mapping[str, Fraction], budget: Budget, *, complex_values: bool = False
    ) -> None:
        self.ctx = context(precision)
        self.lost = 0
        """Bits of accuracy that the values computed so far may have lost."""
        self.span = 0
        """Bits between the largest and the smallest term of a sum: fewer digits than that miss the smallest."""
        self._precision = precision
        self._point = point
        self._budget = budget
        self._complex = complex_values

    def value(self, node: Node) -> Any:
        """Return the value as a finite mpmath number.

        Raises:
            UndefinedError: There is none, or no real one in a real evaluation.
            UndecidedError: It is beyond what can be computed.
            TooLargeError: The budget is spent.
        """
        try:
            value = self._value(node)
        except TooLargeError:
            raise
        except (TypeError, ValueError, ZeroDivisionError, OverflowError, NotExactError) as error:
            # By these mpmath says that it has no value, or no order, for an argument.
            raise UndefinedError("it cannot be evaluated") from error
        if not self.ctx.isfinite(value):
            raise UndefinedError("an infinite value")
        return value

    def _value(self, node: Node) -> Any:
        self._budget.spend(1 + self._precision // 600)
        ctx = self.ctx
        match node:
            case Number(value=value):
                return ctx.mpf(value.numerator) / value.denominator
            case Symbol(name=name):
                value = self._point[name]
                return ctx.mpf(value.numerator) / value.denominator
            case Constant(name=name):
                return self._constant(name)
            case Sum(terms=terms):
                return self._sum([self._value(term) for term in terms])
            case Product(factors=factors):
                product = ctx.one
                for factor in factors:
                    product = product * self._value(factor)
                return product
            case Quotient(numerator=numerator, denominator=denominator):
                below = self._value(denominator)
                if not below:
                    raise UndefinedError("a division by zero")
                return self._value(numerator) / below
            case Power(base=base, exponent=exponent):
                return self._power(self._value(base), exponent)
            case Call(function=function, arguments=arguments):
                return self._call(function, arguments)
            case Apply(name=name, arguments=arguments):
                return self._unknown(name, [self._value(argument) for argument in arguments])
            case Standing():
                return self._unknown(key(node), [])
            case BaseNumeral(digits=digits, base=base):
                return ctx.mpf(int(digits, base))
        raise UndefinedError("it has no numeric value")

    def _constant(self, name: str) -> Any:
        ctx = self.ctx
        match name:
            case "pi":
                return +ctx.pi
            case "e":
                return +ctx.e
            case "i" if self._complex:
                return ctx.mpc(0, 1)
            case "degree":
                return ctx.pi / 180
            case "percent":
                return ctx.one / 100
        raise UndefinedError(f"{name} is not a number")

    def _sum(self, values: list[Any]) -> Any:
        ctx = self.ctx
        total = values[0]
        for value in values[1:]:
            total = total + value
        magnitudes = [magnitude(value) for value in values if value]
        if len(magnitudes) < 2:
            return total
        big, small = max(magnitudes), min(magnitudes)
        self.span = max(self.span, big - small)
        cancelled = big - magnitude(total) if total else self._precision
        if cancelled > self._precision - 24:
            # Nothing is left, or less than these digits show: of large terms even the digits before the point.
            self._lose(big)
            return ctx.zero
        if cancelled > 3:
            self.lost += cancelled
        return total

    def _power(self, base: Any, exponent: Node) -> Any:
        ctx = self.ctx
        try:
            power = rational(exponent, self._budget)
        except NotExactError:
            return self._general_power(base, self._value(exponent))
        if not base:
            if power <= 0:
                raise UndefinedError("zero to a power that is not positive")
            return ctx.zero
        size = power.numerator.bit_length() - power.denominator.bit_length()
        if size + abs(magnitude(base)).bit_length() > 64:
            raise UndecidedError("a power beyond computing")
        if power.denominator == 1:
            self._lose(size)
            return base ** int(power)
        if not self._complex and ctx.re(base) < 0:
            raise UndefinedError("a fractional power of a negative number")
        self._lose(size)
        return base ** (ctx.mpf(power.numerator) / power.denominator)

    def _general_power(self, base: Any, power: Any) -> Any:
        ctx = self.ctx
        if not base:
            raise UndefinedError("zero to a power")
        whole = not isinstance(power, ctx.mpc) and bool(ctx.isint(power))
        if not self._complex and base < 0 and not whole:
            raise UndefinedError("a power of a negative number")
        if power and magnitude(power) + abs(magnitude(base)).bit_length() > 64:
            raise UndecidedError("a power beyond computing")
        self._lose(magnitude(power) if power else 0)
        return base ** (int(power) if whole else power)

    def _lose(self, bits: int) -> None:
        if bits > 3:
            self.lost += bits

    def _call(self, function: str, arguments: tuple[Node, ...]) -> Any:
        ctx = self.ctx
        self._budget.spend(2)
        if function == "root":
            return self._root(self._value(arguments[0]), arguments[1])
        values = [self._value(argument) for argument in arguments]
        if function in _ELEMENTARY:
            return self._elementary(function, values[0])
        match function, values:
            case "log", [x]:
                return self._logarithm(x)
            case "log", [x, base]:
                return self._logarithm(x) / (
                    1 if arguments[1] == Constant("e") else self._logarithm(base, divisor=True)
                )
            case "abs" | "norm", [x]:
                return abs(x)
            case "sign", [x] if not self._complex:
                return ctx.sign(x)
            case "gamma", [x]:
                return self._gamma(x)
            case "conjugate", [x]:
                return ctx.conj(x)
            case "Re", [x]:
                return ctx.re(x)
            case "Im", [x]:
                return ctx.im(x)
            case "arg", [x]:
                return ctx.arg(x)
            case "max" | "min", [x] if names_in(arguments[0]) or isinstance(arguments[0], Apply):
                return self._unknown(function, [x])  # the extreme of a function, not of one number
            case "max" | "min", _ if not self._complex:
                return max(values) if function == "max" else min(values)
            case (("factorial" | "double_factorial" | "binom" | "floor" | "ceil" | "gcd" | "lcm" | "mod"), _):
                return self._whole_number_call(function, values)
        raise UndefinedError(f"{function} is not evaluated")

    def _gamma(self, x: Any) -> Any:
        if x and magnitude(x) > 12:
            raise UndecidedError("the argument of gamma is too large")
        self._lose(magnitude(x) if x else 0)
        return self.ctx.gamma(x)

    def _elementary(self, function: str, x: Any) -> Any:
        ctx = self.ctx
        size = magnitude(x) if x else 0
        if size > MAX_MAGNITUDE or (function in _EXPONENTIAL and size > 64):
            raise UndecidedError(f"the argument of {function} is too large")
        self._lose(size)
        try:
            result = _ELEMENTARY[function](ctx, x)
        except (ValueError, ZeroDivisionError) as error:
            raise UndefinedError(f"{function} has no value there") from error
        if not self._complex and isinstance(result, ctx.mpc):
            raise UndefinedError(f"{function} has no real value there")
        if function in _PERIODIC and result:
            size = magnitude(result)
            if size > self._precision // 2:
                raise UndefinedError(f"{function} has a pole there")
            if size < -self._precision // 2:
                return ctx.zero
        return result

    def _logarithm(self, x: Any, *, divisor: bool = False) -> Any:
        ctx = self.ctx
        if not x or (not self._complex and x < 0) or (divisor and x == 1):
            raise UndefinedError("a logarithm of a number that is not positive")
        result = ctx.ln(x)
        if result:
            self._lose(-magnitude(result))
        return result

    def _root(self, x: Any, index: Node) -> Any:
        ctx = self.ctx
        if index == Number(Fraction(2)):
            if not self._complex and x < 0:
                raise UndefinedError("an even root of a negative number")
            return ctx.sqrt(x)
        try:
            degree = rational(index, self._budget)
        except NotExactError:
            return self._general_power(x, 1 / self._value(index))
        if degree.denominator != 1 or not 2 <= degree <= 10_000:
            raise UndefinedError("a root of an odd degree")
        n = int(degree)
        if isinstance(x, ctx.mpc):
            return ctx.root(x, n)
        if x < 0:
            if n % 2:
                return -ctx.root(-x, n)
            if not self._complex:
                raise UndefinedError("an even root of a negative number")
        return ctx.root(x, n)

    def _whole_number_call(self, function: str, values: list[Any]) -> Any:
        ctx = self.ctx
        if any(isinstance(value, ctx.mpc) for value in values):
            raise UndefinedError(f"{function} of a complex number")
        if function in _ROUNDING and any(
            value and magnitude(value) > self._precision - 40 for value in values
        ):
            raise UndecidedError(f"{function} of a number with more digits than are computed")
        if function in ("floor", "ceil"):
            nearest = ctx.nint(values[0])
            if values[0] != nearest and abs(values[0] - nearest) < ctx.ldexp(1, -self._precision // 2):
                raise UndecidedError(f"{function} at a whole number")
            return ctx.floor(values[0]) if function == "floor" else ctx.ceil(values[0])
        if function == "mod":
            if not values[1]:
                raise UndefinedError("a remainder of a division by zero")
            return values[0] - values[1] * self._whole_number_call("floor", [values[0] / values[1]])
        if any(value != ctx.nint(value) or abs(value) > 10**6 for value in values):
            raise UndefinedError(f"{function} of a number that is not whole")
        whole = [Number(Fraction(int(value))) for value in values]
        if function == "factorial" and values[0] > MAX_FACTORIAL:
            return ctx.factorial(values[0])
        try:
            exact = rational(Call(function, tuple(whole)), self._budget)
        except NotExactError as error:
            raise UndecidedError(f"{function} is too large") from error
        return ctx.mpf(exact.numerator) / exact.denominator

    def _unknown(self, name: str, values: list[Any]) -> Any:
        """Return a value for something that is known by name only, the same at the same arguments."""
        ctx = self.ctx
        rounded = ",".join(ctx.nstr(value, 25) for value in values)
        digest = blake2b(f"{name}({rounded})".encode(), digest_size=8).digest()
        return ctx.mpf(int.from_bytes(digest, "big")) / 2**62


_ELEMENTARY: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda ctx, x: ctx.sin(x),
    "cos": lambda ctx, x: ctx.cos(x),
    "tan": lambda ctx, x: ctx.tan(x),
    "sinh": lambda ctx, x: ctx.sinh(x),
    "cosh": lambda ctx, x: ctx.cosh(x),
    "tanh": lambda ctx, x: ctx.tanh(x),
    "cot": lambda ctx, x: ctx.cos(x) / ctx.sin(x),
    "sec": lambda ctx, x: 1 / ctx.cos(x),
    "csc": lambda ctx, x: 1 / ctx.sin(x),
    "coth": lambda ctx, x: 1 / ctx.tanh(x),
    "sech": lambda ctx, x: 1 / ctx.cosh(x),
    "csch": lambda ctx, x: 1 / ctx.sinh(x),
    "arcsin": lambda ctx, x: ctx.asin(x),
    "arccos": lambda ctx, x: ctx.acos(x),
    "arctan": lambda ctx, x: ctx.atan(x),
    "arccot": lambda ctx, x: ctx.pi / 2 - ctx.atan(x),
    "arcsinh": lambda ctx, x: ctx.asinh(x),
    "arccosh": lambda ctx, x: ctx.acosh(x),
    "arctanh": lambda ctx, x: ctx.atanh(x),
}
_ROUNDING = frozenset(("floor", "ceil", "mod"))
_PERIODIC = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))
_EXPONENTIAL = frozenset(("sinh", "cosh", "tanh", "coth", "sech", "csch"))


def names_in(node: Node) -> set[str]:
    """Return the variables of an expression."""
    found: set[str] = set()
    stack: list[Node] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Symbol):
            found.add(item.name)
        elif not isinstance(item, Standing):
            stack.extend(children(item))
    return found


def is_complex(node: Node) -> bool:
    """Return whether the imaginary unit occurs in an expression."""
    stack: list[Node] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Constant) and item.name == "i":
            return True
        stack.extend(children(item))
    return False
