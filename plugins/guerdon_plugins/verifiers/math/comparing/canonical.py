"""A text for a tree in which the order of terms, factors and set members does not count."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.nodes import (
    Node,
    Number,
    Product,
    SetOf,
    SetOperation,
    Span,
    Sum,
    Text,
    Unit,
    fields,
)


def key(node: Node) -> str:
    """Return the canonical text; equal texts mean equal trees up to the order of operands that commute."""
    return _key(node)


def _key(value: object) -> str:
    match value:
        case Number(value=number):
            return _number(number)
        case Sum(terms=terms):
            return f"({'+'.join(sorted(_terms(terms)))})"
        case Product(factors=factors):
            return f"({'*'.join(sorted(_factors(factors)))})"
        case SetOperation(operator="union" | "intersection" as operator, operands=operands):
            return f"{operator}({','.join(sorted(map(_key, operands)))})"
        case SetOf(items=items):
            return f"{{{','.join(sorted(map(_key, items)))}}}"
        case Text(words=words):
            return f"'{' '.join(words.split())}'"
        case Span(parts=parts):
            return f"Span({_key(parts)})"
        case Unit():
            return str(value)
        case tuple():
            return f"[{','.join(map(_key, value))}]"
        case str() | int() | None | Fraction():
            return str(value)
        case Node():
            return f"{type(value).__name__}({','.join(map(_key, fields(value)))})"
    raise TypeError(f"no field of a node: {type(value).__name__}")


def _number(value: Fraction) -> str:
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    return str(value) if bits < 4000 else f"{value.numerator:x}/{value.denominator:x}"


def _terms(terms: tuple[Node, ...]) -> list[str]:
    return [
        text for term in terms for text in (_terms(term.terms) if isinstance(term, Sum) else [_key(term)])
    ]


def _factors(factors: tuple[Node, ...]) -> list[str]:
    return [
        text
        for factor in factors
        for text in (_factors(factor.factors) if isinstance(factor, Product) else [_key(factor)])
    ]
