r"""Operations whose operands have an order, such as ``A^T B`` and ``f \circ g``, and moments of random variables.

An unknown function keeps its arguments in order and is equal to itself at equal arguments only, so each of these
is one.
"""

from __future__ import annotations

from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    NamedSet,
    Node,
    Number,
    Power,
    Product,
    Sum,
    Symbol,
    integer,
)

__all__ = [
    "EXPECTATIONS",
    "MATRICES",
    "ORDERED",
    "expectation",
    "joined",
    "ordered_product",
    "reversed_product",
]

ORDERED = {
    "\\otimes": "tensor",
    "\\circ": "compose",
    "\\exterior": "wedge",
    "\\oplus": "direct sum",
    "\\freeproduct": "free product",
    "\\rtimes": "semidirect product",
    "\\ltimes": "semidirect product to the left",
    "\\wr": "wreath product",
}
"""Signs of operations that are not a product of numbers, and the name of each."""
_WITHOUT_ORDER = frozenset(("direct sum", "free product"))
EXPECTATIONS = frozenset(("E", "Var", "Cov", "Corr"))
_PRODUCT = "product of matrices"
MATRICES = frozenset("ABCDPQSUXYZ")
"""Letters whose inverses are matrices. ``M L^{-1} T^{-1}`` is a dimension, and a product of numbers."""
_TRANSPOSES = (Symbol("T"), Symbol("dagger"))
_STAR = Symbol("star")
"""The adjoint of a matrix, or the conjugate of a number."""
_INVERSE = integer(-1)


def ordered_product(factors: list[Node]) -> Node | None:
    """Return a product of matrices or of elements of a group in its order; ``None`` for a product of numbers."""
    if not any(type(factor) is Power and _is_mark(factor.exponent) for factor in factors):
        return None
    numbers = [factor for factor in factors if isinstance(factor, Number)]
    operands: list[Node] = []
    for factor in factors:
        if isinstance(factor, Symbol) and _is_row(factor):
            operands.extend(map(Symbol, factor.name))
        elif isinstance(factor, Apply) and factor.name == _PRODUCT:
            operands.extend(factor.arguments)
        elif not isinstance(factor, Number):
            operands.append(factor)
    if len(operands) < 2 or not (_are_matrices(operands) or _conjugates(operands)):
        return None
    product = Apply(_PRODUCT, tuple(operands))
    return Product((*numbers, product)) if numbers else product


def reversed_product(base: Node, exponent: Node) -> Node | None:
    r"""Return ``(AB)^T`` as ``B^T A^T``; ``None`` for a power of something else."""
    if not _is_mark(exponent):
        return None
    match base:
        case Symbol(name=name) if _is_row(base) and (exponent != _INVERSE or MATRICES.issuperset(name)):
            operands: tuple[Node, ...] = tuple(map(Symbol, name))
        case Apply(name=name, arguments=operands) if name == _PRODUCT:
            pass
        case Product(factors=operands) if all(map(_is_matrix, operands)) and _are_matrices(
            [Power(operand, exponent) for operand in operands]
        ):
            pass
        case _:
            return None
    return Apply(_PRODUCT, tuple(_marked(operand, exponent) for operand in reversed(operands)))


def joined(operation: str, left: Node, right: Node) -> Apply:
    """Return an operation; of several in a row the brackets do not count.

    Direct sums, free products and tensor products of groups have no order, up to isomorphism.
    """
    operands = [
        operand
        for side in (left, right)
        for operand in (side.arguments if isinstance(side, Apply) and side.name == operation else (side,))
    ]
    of_groups = operation == "tensor" and all(isinstance(operand, NamedSet) for operand in operands)
    if of_groups or operation in _WITHOUT_ORDER:
        operands.sort(key=repr)
    return Apply(operation, tuple(operands))


def expectation(function: str, arguments: tuple[Node, ...]) -> Node:
    """Return ``E`` or a moment of random variables; ``E`` of a sum is a sum, and numbers come out of it."""
    if function != "E" or len(arguments) != 1:
        return Apply(function, arguments)
    (argument,) = arguments
    match argument:
        case Number():
            return argument
        case Sum(terms=terms):
            return Sum(tuple(expectation(function, (term,)) for term in terms))
        case Product(factors=factors):
            numbers = tuple(factor for factor in factors if isinstance(factor, Number))
            rest = tuple(factor for factor in factors if not isinstance(factor, Number))
            if numbers and rest:
                return Product((*numbers, Apply("E", (rest[0] if len(rest) == 1 else Product(rest),))))
    return Apply(function, arguments)


def _marked(operand: Node, exponent: Node) -> Node:
    if isinstance(operand, Power) and operand.exponent == exponent != _STAR:
        return operand.base  # twice is none
    return Power(operand, exponent)


def _is_mark(exponent: Node) -> bool:
    return exponent in (_INVERSE, _STAR, *_TRANSPOSES)


def _is_row(node: Symbol) -> bool:
    return len(node.name) > 1 and node.name.isascii() and node.name.isalpha() and node.name.isupper()


def _is_matrix(node: Node) -> bool:
    return isinstance(node, Symbol) and node.name[0].isupper() and len(node.name.split("_")[0]) == 1


def _are_matrices(operands: list[Node]) -> bool:
    """Return whether a product is one of matrices: by a transpose, or by capital letters of which one is inverted."""
    marks = [mark for operand in operands for mark in _marks(operand)]
    if any(mark in _TRANSPOSES for mark in marks):
        return True
    bases = list(map(_base, operands))
    if not all(map(_is_matrix, bases)):
        return False
    return bool(marks) and (
        marks != [_INVERSE] * len(marks)
        or all(isinstance(base, Symbol) and base.name[0] in MATRICES for base in bases)
    )


def _marks(node: Node) -> list[Node]:
    if not isinstance(node, Power) or not _is_mark(node.exponent):
        return []
    return [node.exponent, *_marks(node.base)]


def _base(node: Node) -> Node:
    return _base(node.base) if isinstance(node, Power) else node


def _conjugates(operands: list[Node]) -> bool:
    """Return whether a letter and its inverse are both written: a product of numbers would leave both out."""
    inverses = [
        operand.base for operand in operands if isinstance(operand, Power) and operand.exponent == _INVERSE
    ]
    return any(isinstance(base, Symbol) and base in operands for base in inverses)
