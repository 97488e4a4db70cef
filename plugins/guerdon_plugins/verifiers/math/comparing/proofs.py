"""The slow exact tier: sympy shows that a difference is zero, within a bounded number of lines.

Asked only where values do not decide: no point has a value on both sides, or more digits cancel than are computed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from guerdon_plugins.verifiers.math.comparing.domains import REALS, Domain, Domains
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import (
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
)

MAX_NODES = 60
MAX_NUMERAL = 10**6
MAX_EXPONENT = 64
MAX_LINES = 500_000
"""Lines of Python that a proof may run through: a count, so that every machine gives the same verdict."""
_GROWING = frozenset(("factorial", "double_factorial", "gamma", "binom"))


class _SpentError(BaseException):
    """The lines are spent. A BaseException, so that no handler inside sympy takes it for its own."""


class _UnknownError(Exception):
    """sympy gets no expression of this kind."""


def proves_equal(reference: Node, answer: Node, domains: Domains) -> bool:
    """Return whether sympy shows that two expressions are equal; False also where it does not find out."""
    nodes = [*walk(reference), *walk(answer)]
    if len(nodes) > MAX_NODES or not all(map(_is_known, nodes)) or any(map(_is_large, nodes)):
        return False
    import sympy
    import sympy.combinatorics  # trigsimp loads it, which is not to count as a proof's lines

    def prove() -> bool:
        translator = _Translator(sympy, domains)
        return _is_zero(sympy, translator.expression(reference), translator.expression(answer))

    return _counted(prove)


def _is_known(node: Node) -> bool:
    """Return whether sympy has an expression of this kind: asked before sympy is loaded."""
    match node:
        case Call(function=function):
            return function in _NAMES or function in ("root", "log", "mod")
        case Standing(operator=operator, variable=variable):
            return operator in ("sum", "prod") and variable is not None
    return isinstance(node, Number | Symbol | Constant | Sum | Product | Quotient | Power)


def _is_large(node: Node) -> bool:
    """Return whether sympy might compute a huge number at once: it has no bound there that lines could count."""
    match node:
        case Number(value=value):
            return max(abs(value.numerator), value.denominator) > MAX_NUMERAL
        case Power(base=base, exponent=exponent):
            if names_in(exponent):
                return any(isinstance(item, Power) for part in (base, exponent) for item in walk(part))
            return not _is_small(exponent, MAX_EXPONENT)
        case Call(function=function, arguments=arguments) if function in _GROWING:
            return any(
                not names_in(argument) and not _is_small(argument, MAX_EXPONENT) for argument in arguments
            )
        case Standing(parts=(_, *bounds)):
            return any(not names_in(bound) and not _is_small(bound, MAX_EXPONENT) for bound in bounds)
    return False


def _is_small(node: Node, limit: int) -> bool:
    """Return whether a constant is a small numeral, a quotient of such, or free of powers and factorials."""
    return all(
        (not isinstance(item, Number) or abs(item.value) <= limit)
        and not isinstance(item, Power | Standing)
        and not (isinstance(item, Call) and item.function in _GROWING)
        for item in walk(node)
    ) and not isinstance(node, Product)


def _is_zero(sympy: Any, left: Any, right: Any) -> bool:
    sympy.core.cache.clear_cache()
    difference = left - right
    # simplify() tries these and more; it also loads half of sympy.
    for change in (
        lambda expression: expression,
        sympy.expand_func,
        sympy.gammasimp,
        sympy.trigsimp,
        lambda expression: sympy.powsimp(sympy.expand(sympy.sqrtdenest(expression))),
    ):
        difference = change(difference)
        if difference == 0:
            return True
    return False


def _counted(work: Callable[[], bool]) -> bool:
    """Return the result of some work, or False once it has run through too many lines."""
    left = MAX_LINES

    def count(*_: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _SpentError
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        return work()
    except (_SpentError, _UnknownError, ArithmeticError, TypeError, ValueError, NotImplementedError):
        return False
    except (RecursionError, AttributeError, LookupError):
        return False
    finally:
        sys.settrace(before)


class _Translator:
    """Makes sympy's expressions of trees."""

    def __init__(self, sympy: Any, domains: Domains) -> None:
        self._sympy = sympy
        self._domains = domains

    def expression(self, node: Node) -> Any:
        sympy = self._sympy
        match node:
            case Number(value=value):
                return sympy.Rational(value.numerator, value.denominator)
            case Symbol(name=name):
                return self._symbol(name, self._domains.get(name, REALS))
            case Constant(name=name):
                return self._constant(name)
            case Sum(terms=terms):
                return sympy.Add(*map(self.expression, terms))
            case Product(factors=factors):
                return sympy.Mul(*map(self.expression, factors))
            case Quotient(numerator=numerator, denominator=denominator):
                return self.expression(numerator) / self.expression(denominator)
            case Power(base=base, exponent=exponent):
                return self.expression(base) ** self.expression(exponent)
            case Call(function=function, arguments=arguments):
                return self._call(function, [self.expression(argument) for argument in arguments])
            case Standing(operator="sum" | "prod" as operator, variable=str(name), parts=(body, low, high)):
                bounds = (self._symbol(name, REALS), self.expression(low), self.expression(high))
                return (sympy.Sum if operator == "sum" else sympy.Product)(
                    self.expression(body), bounds
                ).doit()
        raise _UnknownError

    def _symbol(self, name: str, domain: Domain) -> Any:
        positive = domain.low is not None and (domain.low > 0 or (domain.low == 0 and domain.low_open))
        return self._sympy.Symbol(name, real=True, integer=domain.whole or None, positive=positive or None)

    def _constant(self, name: str) -> Any:
        sympy = self._sympy
        constants = {
            "pi": sympy.pi,
            "e": sympy.E,
            "i": sympy.I,
            "degree": sympy.pi / 180,
            "percent": sympy.Rational(1, 100),
        }
        if name not in constants:
            raise _UnknownError
        return constants[name]

    def _call(self, function: str, arguments: list[Any]) -> Any:
        sympy = self._sympy
        match function, arguments:
            case "root", [value, index]:
                return sympy.real_root(value, index) if index.is_odd else value ** (1 / index)
            case "log", [value, *base]:
                return sympy.log(value, *base)
            case "mod", [value, modulus]:
                return sympy.Mod(value, modulus)
            case _, _ if (name := _NAMES.get(function)) is not None:
                return getattr(sympy, name)(*arguments)
        raise _UnknownError


_NAMES = {
    **{
        name: name
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "factorial", "gamma")
    },
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "abs": "Abs",
    "sign": "sign",
    "floor": "floor",
    "ceil": "ceiling",
    "binom": "binomial",
    "max": "Max",
    "min": "Min",
    "conjugate": "conjugate",
}
