"""The typed tree that an answer is read into: numbers and expressions first, then the structures made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any


class Node:
    """A node of the tree; its fields are other nodes, tuples of them, or plain values."""

    __slots__: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A numeral: integer, decimal, repeating decimal or mixed number, with its exact value."""

    value: Fraction
    decimal: bool = False
    """Written with a decimal point, so perhaps rounded."""


@dataclass(frozen=True, slots=True)
class Symbol(Node):
    r"""A variable, or a name such as ``AB``, ``x_1`` or ``\angle ABC``."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """``pi``, ``e``, ``i``, ``infinity``, ``degree`` (pi/180) or ``percent`` (1/100)."""

    name: str


@dataclass(frozen=True, slots=True)
class Sum(Node):
    """Terms that are added; subtraction is a product with -1."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Product(Node):
    """Factors in the order in which they are written."""

    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quotient(Node):
    """A fraction or a division."""

    numerator: Node
    denominator: Node


@dataclass(frozen=True, slots=True)
class Power(Node):
    """A base and its exponent."""

    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A known function: ``root`` (radicand, index), ``log`` (argument, and the base if it is written), ``sin`` etc."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Apply(Node):
    """An unknown function or an indexed name: ``f(x)``, ``a_{n+1}``. Equal to itself at equal arguments only."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class PlusMinus(Node):
    r"""A term under ``\pm`` (``sign`` 1) or ``\mp`` (``sign`` -1)."""

    term: Node
    sign: int


@dataclass(frozen=True, slots=True)
class Standing(Node):
    """An unevaluated operation: ``sum``, ``prod``, ``int``, ``lim``, ``derivative`` or ``det``."""

    operator: str
    variable: str | None
    parts: tuple[Node, ...]
    """Body first, then lower and upper bound (sums, integrals), the point (limits); the rows' matrix (det)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Powers of unit names, sorted: ``(("cm", 2),)``, ``(("hour", -1), ("km", 1))``."""

    powers: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return " ".join(name if power == 1 else f"{name}^{power}" for name, power in self.powers)


@dataclass(frozen=True, slots=True)
class Quantity(Node):
    """A value with a unit."""

    value: Node
    unit: Unit


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """Items in brackets: a point, a vector, or (with two items) an interval."""

    items: tuple[Node, ...]
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class SetOf(Node):
    """A finite set in braces."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class SetBuilder(Node):
    """``{element | condition}``."""

    element: Node
    condition: Node


@dataclass(frozen=True, slots=True)
class NamedSet(Node):
    """``R``, ``Q``, ``Z``, ``N`` or ``C``."""

    name: str


@dataclass(frozen=True, slots=True)
class SetOperation(Node):
    """``union``, ``intersection`` or ``difference``."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Listing(Node):
    """Several answers side by side: ``2, 3``; ``x<1 or x>2``. ``joiner`` is ``,``, ``;``, ``and`` or ``or``.

    A semicolon joins values only: these answer several questions, so their order counts.
    """

    items: tuple[Node, ...]
    joiner: str


@dataclass(frozen=True, slots=True)
class Relation(Node):
    """A chain ``a = b < c``: n operands and n - 1 operators out of ``= ≠ < ≤ > ≥ ≈ ∈ →``."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Congruence(Node):
    """``left ≡ right (mod modulus)``."""

    left: Node
    right: Node
    modulus: Node


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """A value that holds under a condition; ``None`` is "otherwise"."""

    value: Node
    condition: Node | None


@dataclass(frozen=True, slots=True)
class Cases(Node):
    """The rows of a ``cases`` environment: a system, or a piecewise definition."""

    rows: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Matrix(Node):
    """Rows of entries, all of one length."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Ratio(Node):
    """``a : b : c``."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Dimensions(Node):
    """``4 by 6``. Of lengths the order does not count, of plain numbers it does: a matrix has rows and columns."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Clock(Node):
    """A time of day; ``half`` is ``am``, ``pm`` or empty."""

    hour: int
    minute: int
    half: str
    second: int = 0


@dataclass(frozen=True, slots=True)
class Span(Node):
    """Numbers that hyphens join, or "to": a range ``3-5``, a score, a phone number. It is not a subtraction."""

    parts: tuple[Node, ...]
    or_ratio: bool = field(default=False, compare=False)
    """Joined by the English "to", which a ratio has too."""


@dataclass(frozen=True, slots=True)
class Date(Node):
    """A day of the calendar; ``year`` or ``day`` is 0 where it is not said."""

    year: int
    month: int
    day: int


@dataclass(frozen=True, slots=True)
class BaseNumeral(Node):
    """A numeral written in a base: ``4210_5``."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Proposition(Node):
    r"""A formula of sets or of statements, by its value for each choice of its letters: ``A \cap B``."""

    letters: tuple[str, ...]
    values: tuple[bool, ...]
    """The letter of place ``k`` is true in the rows whose bit ``k`` is set."""


@dataclass(frozen=True, slots=True)
class Dots(Node):
    """Dots in a list."""


@dataclass(frozen=True, slots=True)
class Text(Node):
    """Words: a name, a choice, a sentence. Compared as words."""

    words: str


SCALARS = (Number, Symbol, Constant, Sum, Product, Quotient, Power, Call, Apply, PlusMinus, Standing)


def integer(value: int) -> Number:
    """Return the numeral of an integer."""
    return Number(Fraction(value))


MINUS_ONE = integer(-1)


def negate(node: Node) -> Node:
    """Return the node under a minus sign; numerals take the sign in."""
    if isinstance(node, Number):
        return Number(-node.value, node.decimal)
    if isinstance(node, Product):
        return Product((MINUS_ONE, *node.factors))
    if isinstance(node, Quantity):
        return Quantity(negate(node.value), node.unit)
    return Product((MINUS_ONE, node))


def fields(node: Node) -> list[Any]:
    """Return the values of a node's fields, in order."""
    return [getattr(node, name) for name in node.__slots__]


def children(node: Node) -> list[Node]:
    """Return the nodes directly under a node."""
    found: list[Node] = []
    for name in node.__slots__:
        value = getattr(node, name)
        if isinstance(value, Node):
            found.append(value)
        elif type(value) is tuple:
            _collect(value, found)
    return found


def _collect(values: tuple[object, ...], found: list[Node]) -> None:
    for value in values:
        if isinstance(value, Node):
            found.append(value)
        elif type(value) is tuple:
            _collect(value, found)
