r"""Derivatives of unknown functions in one notation: ``f'(x)`` and ``\frac{d}{dx}f(x)``, ``\dot x`` and ``dx/dt``."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.comparing.trees import rebuild, substitute, walk
from guerdon_plugins.verifiers.math.nodes import Apply, Node, Number, Product, Quotient, Standing, Symbol

__all__ = ["with_the_same_derivatives"]

_FRACTION = re.compile(r"d(?:\^(\d))?([a-zA-Z]+)/d([a-z])")
_PRIMES = re.compile(r"([a-zA-Z]+)('+)")
_DOTS = re.compile(r"(d{0,3})dot ([a-zA-Z]+)")
_MOST_PRIMES = 3
_D = Symbol("d")


def with_the_same_derivatives(
    reference: Node, answer: Node, left: set[str], right: set[str]
) -> tuple[Node, Node]:
    """Return both with one sign for each derivative that has the same function and order on both sides.

    Args:
        reference: The reference.
        answer: The answer.
        left: The reference's names.
        right: The answer's names.
    """
    for name in right - left:
        if given := _derivative(name):
            for other in left - right:
                wanted = _derivative(other)
                if wanted and given[:2] == wanted[:2] and _same_variable(given[2], wanted[2]):
                    answer = substitute(answer, name, Symbol(other))
    left_primes, right_primes = (_primed(node) for node in (reference, answer))
    return (
        reference if left_primes else _as_primed(reference, right_primes),
        answer if right_primes else _as_primed(answer, left_primes),
    )


def _derivative(name: str) -> tuple[str, int, str] | None:
    """Return the function, the order and the variable that a name such as ``d^2x/dt`` says; time for dots."""
    if match := _FRACTION.fullmatch(name):
        return match[2], int(match[1] or 1), match[3]
    if match := _PRIMES.fullmatch(name):
        return match[1], len(match[2]), ""
    if match := _DOTS.fullmatch(name):
        return match[2], len(match[1]) + 1, "t"
    return None


def _same_variable(one: str, other: str) -> bool:
    return not one or not other or one == other


def _primed(node: Node) -> set[Apply]:
    """Return the derivatives in primes of functions of a letter: ``f''(x)``."""
    return {
        item
        for item in walk(node)
        if isinstance(item, Apply) and item.name.endswith("'") and isinstance(item.arguments[0], Symbol)
    }


def _as_primed(node: Node, primed: set[Apply]) -> Node:
    """Return a node with those derivatives in primes that it writes as fractions."""
    if not primed:
        return node
    found = _fraction(node)
    if found is not None and (derivative := Apply(f"{found[0]}{chr(39) * found[1]}", (found[2],))) in primed:
        return derivative
    changed: Node = rebuild(node, lambda child: _as_primed(child, primed))
    return changed


def _fraction(node: Node) -> tuple[str, int, Symbol] | None:
    """Return the function, the order and the variable of ``d/dx f(x)``, ``df(x)/dx`` or ``df/dx``."""
    match node:
        case Standing(
            operator="derivative",
            variable=str(variable),
            parts=(Apply(name=name, arguments=(Symbol() as argument,)), Number(value=order)),
        ) if argument.name == variable and order in range(1, _MOST_PRIMES + 1):
            return name, int(order), argument
        case Quotient(
            numerator=Product(factors=(above, Apply(name=name, arguments=(Symbol() as argument,)))),
            denominator=Product(factors=(below, variable)),
        ) if above == below == _D and variable == argument:
            return name, 1, argument
        case Symbol(name=name) if "/" in name and (found := _derivative(name)):
            return found[0], found[1], Symbol(found[2])
    return None
