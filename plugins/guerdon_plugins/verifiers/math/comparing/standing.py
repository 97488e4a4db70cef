"""Carrying out what was left standing: finite sums, finite products, determinants."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import contains, rebuild, substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    Constant,
    Matrix,
    Node,
    Number,
    Product,
    Standing,
    Sum,
    integer,
    negate,
)

MAX_TERMS = 1_000
MAX_ORDER = 5
"""Of a determinant, which is expanded by its first row."""


def carry_out(node: Node, budget: Budget) -> Node:
    """Return the expression with its finite sums, products and determinants written out; others stay as they are.

    Raises:
        TooLargeError: The budget is spent.
    """
    budget.spend()
    expanded: Node = rebuild(node, lambda child: carry_out(child, budget))
    match expanded:
        case Standing(operator="det", parts=(Matrix(rows=rows),)) if len(rows) == len(rows[0]) <= MAX_ORDER:
            return _determinant(rows, budget)
        case Standing(operator="sum" | "prod" as operator, variable=str(name), parts=(body, lower, upper)):
            bounds = _whole(lower, budget), _whole(upper, budget)
            if bounds[0] is None or bounds[1] is None or not -1 <= bounds[1] - bounds[0] < MAX_TERMS:
                return expanded
            if bounds[1] < bounds[0]:
                return integer(0 if operator == "sum" else 1)
            size = sum(1 for _ in walk(body))
            terms = []
            for value in range(bounds[0], bounds[1] + 1):
                budget.spend(1 + size // 4)
                term = _at(body, name, value)
                terms.append(carry_out(term, budget) if contains(term, Standing) else term)
            return Sum(tuple(terms)) if operator == "sum" else Product(tuple(terms))
    return expanded


def summed_to(*nodes: Node) -> str | None:
    """Return the one letter in the bounds of finite sums and products; ``None`` if there is another or none."""
    standing = [item for node in nodes for item in walk(node) if isinstance(item, Standing)]
    letters = {
        name
        for item in standing
        if item.operator in ("sum", "prod") and len(item.parts) == 3
        for bound in item.parts[1:]
        for name in names_in(bound)
    } - {item.variable for item in standing}
    return letters.pop() if len(letters) == 1 else None


def is_calculation(node: Node) -> bool:
    """Return whether it is unfinished arithmetic: a sum, difference or product of numerals, ``12 + 3 * 10``.

    Fractions, powers and factors of ten (``3 million``, ``7 * 1000``) are ways to write a number.
    """
    match node:
        case Sum(terms=parts):
            return all(isinstance(part, Number) or is_calculation(part) for part in parts)
        case Product(factors=factors):
            rest = [factor for factor in factors if not _is_power_of_ten(factor)]
            undone = sum(is_calculation(factor) for factor in rest)
            numerals = sum(isinstance(factor, Number) for factor in rest)
            return undone + numerals == len(rest) and (undone > 0 or numerals > 1)
    return False


def _is_power_of_ten(node: Node) -> bool:
    """Return whether it only moves the point or turns the sign: 1, -1, 10, 1000 and so on."""
    if not isinstance(node, Number) or node.value.denominator != 1:
        return False
    return str(abs(node.value.numerator)).rstrip("0") == "1"


def _at(body: Node, name: str, value: int) -> Node:
    if name == "i":  # read as the imaginary unit everywhere else
        return _replace_unit(body, Number(Fraction(value)))
    result: Node = substitute(body, name, Number(Fraction(value)))
    return result


def _replace_unit(node: Node, value: Node) -> Node:
    if node == Constant("i"):
        return value
    result: Node = rebuild(node, lambda child: _replace_unit(child, value))
    return result


def _whole(node: Node, budget: Budget) -> int | None:
    try:
        value = rational(node, budget)
    except (NotExactError, UndefinedError):
        return None
    return int(value) if value.denominator == 1 else None


def _determinant(rows: tuple[tuple[Node, ...], ...], budget: Budget) -> Node:
    budget.spend(len(rows))
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, entry in enumerate(rows[0]):
        minor = tuple(row[:column] + row[column + 1 :] for row in rows[1:])
        term = Product((entry, _determinant(minor, budget)))
        terms.append(negate(term) if column % 2 else term)
    return Sum(tuple(terms))
