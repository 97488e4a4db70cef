r"""Equations, inequalities and labels: ``y = 2x + 3``, ``A = 3 \cdot 7 = 21``, ``x + y < 3``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.groups import contradicts_group
from guerdon_plugins.verifiers.math.comparing.labels import (
    names_expression,
    opposite_extremes,
    same_words_in_labels,
)
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, names_in
from guerdon_plugins.verifiers.math.comparing.scalars import POINT_PRECISION, Finding, same_value
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    Constant,
    Matrix,
    NamedSet,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Ratio,
    Relation,
    Sequence,
    SetBuilder,
    SetOf,
    SetOperation,
    Standing,
    Sum,
    Symbol,
    Text,
)

_EXTREMES = frozenset(("max", "min", "gcd", "lcm", "Re", "Im", "arg", "conjugate"))
_NAMING = _EXTREMES | frozenset(
    ("sup", "inf", "ker", "dim", "rank", "deg", "abs", "norm", "sin", "cos", "tan", "cot", "sec", "csc")
)
"""Functions of a letter that name a quantity; a root or a logarithm of a letter never does."""
_UNKNOWNS = frozenset("xytuvw")
ROUNDED = 0.01
"""How far an approximation in a chain may be from the exact value before it."""


def label_and_body(node: Node) -> tuple[Node | None, Node]:
    r"""Split ``A = 3 \cdot 7 = 21`` into its label ``A`` and the rest; no label if the left side is not a name."""
    match node:
        case Relation(operands=(Symbol() | Sequence() as element, SetOf() as members), operators=("∈",)):
            return element, members
        case Relation(
            operands=(Symbol() as variable, Product(factors=(Symbol(), Sequence())) as law), operators=("∼",)
        ):
            return variable, law
        case Call(function="rank" | "dim" | "deg" as function, arguments=(Number() as value,)):
            return Symbol(function), value  # rank 2
        case Relation(operands=(left, SetOf() | SetBuilder() | Sequence() as members), operators=("=",)) if (
            isinstance(left, SetOperation) or _is_complement(left)
        ):
            return left, members  # A \cap B = \{3\}
        case Relation(operands=(left, right), operators=("=" | "≅",)) if contradicts_group(left, right):
            return None, node
        case Relation(operands=(left, NamedSet() | Apply() as group), operators=("=" | "≅",)) if isinstance(
            left, SCALARS
        ):
            return left, group  # \pi_1(X) = \mathbb{Z}
        case Relation(operands=(left, Matrix() as matrix), operators=("=",)) if isinstance(left, SCALARS):
            if not any(isinstance(item, Matrix) for item in walk(left)):
                return left, matrix
        case Relation(operands=(left, Product(factors=(*scalars, Matrix())) as matrix), operators=("=",)) if (
            isinstance(left, SCALARS) and all(isinstance(item, SCALARS) for item in scalars)
        ):
            if not any(isinstance(item, Matrix) for item in walk(left)):
                return left, matrix
        case Relation(operands=(first, *rest), operators=("=" | "≈", *operators)) if is_label(
            first
        ) or names_expression(first, rest[-1]):
            body = rest[0] if len(rest) == 1 else Relation(tuple(rest), tuple(operators))
            names_only = len(rest) > 1 and all(isinstance(item, Symbol) for item in (first, *rest))
            rounds_letters = "≈" in node.operators and bool(names_in(rest[-1]))
            if not names_only and not rounds_letters and not any(first == item for item in walk(body)):
                return first, body
    return None, node


def _is_complement(node: Node) -> bool:
    r"""Return whether a node is ``C_U A``, the complement of a set."""
    match node:
        case Product(factors=(Symbol(name=name), Symbol() | Sequence() | SetOperation())):
            return len(name) == 3 and name.startswith("C_")
    return False


def is_label(node: Node) -> bool:
    """Return whether a left side only names what the right side is, rather than being half of an equation."""
    match node:
        case Symbol() | Apply() | Text() | Constant(name="e"):  # e is an eccentricity as well
            return True
        case Power(base=Symbol(name="s" | "S" | "sigma"), exponent=Number(value=power)):
            return power == 2  # a variance
        case Ratio(parts=parts):
            return all(is_label(part) for part in parts)
        case Sequence(items=items):
            return all(isinstance(item, Symbol) for item in items)
        case Call(function=function, arguments=arguments):
            return function in _NAMING and all(_is_given(item, function) for item in arguments[:1])
        case Quotient(numerator=Symbol(name=above), denominator=Symbol(name=below)):
            return len(above) > 1 and len(below) > 1
        case Product(factors=(Symbol(name=name), argument)):
            if name in ("nabla", "Delta"):
                return isinstance(argument, Symbol)
            if name == "m" and isinstance(argument, Symbol):
                return argument.name.startswith("angle")
            return (
                len(name) == 1
                and name.isupper()
                and isinstance(argument, Number | Symbol | Relation | Sequence)
            )
        case Product(factors=(Power(base=Symbol(), exponent=Number(value=power)), Symbol())):
            return power == -1
    return False


def _is_given(node: Node, function: str) -> bool:
    r"""Whether an argument is a thing of its own: ``|AB|`` and ``\sin A`` have values, ``|x| = 3`` is to be solved."""
    return isinstance(node, Symbol) and (function in _EXTREMES or node.name not in _UNKNOWNS)


def settle_chain(node: Node, budget: Budget) -> tuple[Node, Finding | None]:
    r"""Return the value of a chain ``3 \cdot 7 = 21 \approx 21.0`` once every step holds, or why it does not hold."""
    if not isinstance(node, Relation) or not set(node.operators) <= {"=", "≈"}:
        return node, None
    match node.operands:
        case (*steps, Quantity(value=value, unit=unit)) if set(node.operators) == {"="}:
            counted, broken = settle_chain(Relation((*steps, value), node.operators), budget)
            return (node, broken) if isinstance(counted, Relation) else (Quantity(counted, unit), broken)
    if not all(isinstance(operand, SCALARS) for operand in node.operands):
        return node, None
    if names_in(Sum(node.operands)) and len(node.operands) == 2:
        return node, None
    exact = [node.operands[0]]
    for operator, operand in zip(node.operators, node.operands[1:], strict=True):
        if isinstance(exact[-1], Standing):
            exact = [operand]  # an integral is not carried out
            continue
        if operator == "≈":
            if not _close(exact[-1], operand, budget):
                return node, Finding(
                    False, "chain", "a step of the chain is false: the approximation is far off"
                )
            continue
        step = same_value(exact[-1], operand, budget)
        if not step:
            return node, Finding(False, "chain", f"a step of the chain is false: {step.reason}", step.witness)
        exact.append(operand)
    return exact[-1], None


def _close(value: Node, approximation: Node, budget: Budget) -> bool:
    try:
        left, right = (Evaluator(POINT_PRECISION, {}, budget).value(node) for node in (value, approximation))
    except (ArithmeticError, KeyError):
        return False
    return bool(abs(left - right) <= ROUNDED * abs(left))


def same_label(reference: Node, answer: Node) -> bool:
    """Return whether two labels may name the same thing: equal names, or words on one side."""
    if isinstance(reference, Text) and isinstance(answer, Text):
        return same_words_in_labels(reference, answer)
    if opposite_extremes(reference, answer):
        return False
    if isinstance(reference, Text) or isinstance(answer, Text) or key(reference) == key(answer):
        return True
    if _angle(reference) is not None and _angle(reference) == _angle(answer):
        return True
    segment = _length(reference)
    if segment is not None and segment == _length(answer):
        return True
    matrix = _matrix_of_determinant(reference)
    if matrix is not None and matrix == _matrix_of_determinant(answer):
        return True
    left, right = _function(reference), _function(answer)
    if left is None or right is None or left.order != right.order or (left.applied and right.applied):
        return False
    if left.by and right.by and left.by != right.by:
        return False
    return left.name == right.name or any(
        one.name == "y" and other.applied for one, other in ((left, right), (right, left))
    )


def _angle(label: Node) -> str | None:
    r"""Return the angle that a label is, by its vertex or by three points: ``\angle A``, or ``A`` alone."""
    if not isinstance(label, Symbol):
        return None
    name = label.name.removeprefix("angle ").strip()
    if name != label.name and len(name) == 3 and name.isupper():
        return min(name, name[::-1])
    return name if len(name) == 1 and name.isupper() else None


def _matrix_of_determinant(label: Node) -> str | None:
    r"""Return the name of the matrix whose determinant a label is: ``\det A``, ``|A|``."""
    match label:
        case (
            Standing(operator="det", parts=(Symbol(name=name),))
            | Call(function="abs", arguments=(Symbol(name=name),))
        ):
            return name if len(name) == 1 and name.isupper() else None
    return None


def _length(label: Node) -> str | None:
    """Return the segment whose length a label is: ``AB``, ``|AB|``."""
    match label:
        case Call(function="abs", arguments=(Symbol(name=name),)) | Symbol(name=name):
            name = name.removeprefix("bar ")
            return name if len(name) == 2 and name.isupper() else None
    return None


@dataclass(frozen=True, slots=True)
class _Function:
    """A function on the left of its formula: ``f(x)``, ``y``, or a derivative of one."""

    name: str
    order: int
    applied: bool
    """Written with its argument: ``y`` may name it as well."""
    by: str = ""
    """The variable of a derivative, if it is written."""


_DERIVATIVE = re.compile(r"d(?:\^(\d))?([a-zA-Z])/d([a-z])")
_SUBSCRIPTED = re.compile(r"([a-zA-Z])_([xyzt])")
_PRIMED = re.compile(r"([a-zA-Z])('{0,4})")


def _function(label: Node) -> _Function | None:
    match label:
        case Symbol(name=name) if found := _DERIVATIVE.fullmatch(name):
            return _Function(found[2], int(found[1] or 1), applied=False, by=found[3])
        case Symbol(name=name) if found := _SUBSCRIPTED.fullmatch(name):
            return _Function(found[1], 1, applied=False, by=found[2])
        case Symbol(name=name) if found := _PRIMED.fullmatch(name.removeprefix("hat ")):
            return _Function(found[1], len(found[2]), applied=False)
        case Apply(name=name, arguments=(Symbol(name=argument),)) if argument.islower() and (
            found := _PRIMED.fullmatch(name)
        ):
            return _Function(found[1], len(found[2]), applied=True)
        case Product(factors=(Power(base=Symbol(name=name), exponent=Number(value=power)), Symbol())):
            return _Function(f"{name}^-1", 0, applied=True) if power == -1 else None
    return None
