"""The grammar of environments: matrices, systems of relations, piecewise definitions."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.errors import UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    Cases,
    Conditional,
    Congruence,
    Listing,
    Matrix,
    Node,
    Number,
    Relation,
    Standing,
    Symbol,
    Text,
)
from guerdon_plugins.verifiers.math.reading.primaries import PrimaryParser
from guerdon_plugins.verifiers.math.reading.vocabulary import MATRICES, OTHERWISE, RELATIONS, ROWS

_PIECEWISE = frozenset(("cases", "dcases", "rcases", "numcases"))
_PUNCTUATION = frozenset((",", ".", ";"))


class EnvironmentParser(PrimaryParser):
    r"""Reads the content between ``\begin`` and ``\end``."""

    def _environment(self, name: str) -> Node:
        if name not in MATRICES and name not in ROWS:
            raise UnreadableError(f"unknown environment {name!r}")
        end = f"\\end{{{name}}}"
        if name in ROWS - _PIECEWISE or self._has_aligned_signs(end):
            self._drop_alignment(end)
        rows: list[list[Node]] = [[]]
        while not self._accept(end):
            if self._accept("\\\\"):
                rows.append([])
            elif not self._accept("&"):
                rows[-1].append(self._nested(self._cell))
        rows = [row for row in rows if row]
        if not rows:
            raise UnreadableError("an empty environment")
        if name in ROWS or _is_system(rows):
            return Cases(tuple(_case(row) for row in rows))
        if len({len(row) for row in rows}) != 1:
            raise UnreadableError("a matrix with rows of unequal length")
        matrix = Matrix(tuple(tuple(row) for row in rows))
        return Standing("det", None, (matrix,)) if name == "vmatrix" else matrix

    def _cell(self) -> Node:
        cell = self._listing()
        while self._kind() == "op" and self._peek() in _PUNCTUATION:
            self._position += 1
        return cell

    def _alignment_marks(self, end: str) -> list[int]:
        """Return the places of ``&`` up to the end of the environment, outside of environments within it."""
        marks: list[int] = []
        depth = 0
        for place in range(self._position, len(self._tokens)):
            text = self._tokens[place].text
            if text == end and not depth:
                break
            depth += text.startswith("\\begin{") - text.startswith("\\end{")
            if text == "&" and not depth:
                marks.append(place)
        return marks

    def _has_aligned_signs(self, end: str) -> bool:
        """Return whether ``&`` occurs on both sides of a relation's sign: columns that only align."""
        marks = set(self._alignment_marks(end))
        return any(place + 2 in marks and self._tokens[place + 1].text in RELATIONS for place in marks)

    def _drop_alignment(self, end: str) -> None:
        for place in reversed(self._alignment_marks(end)):
            del self._tokens[place]


def _is_system(rows: list[list[Node]]) -> bool:
    """Return whether the rows of an array are relations, or values with conditions, rather than a matrix's."""
    relations = [any(isinstance(cell, Relation | Conditional) for cell in row) for row in rows]
    return all(relations) or (
        len(rows) > 1 and all(relations[:-1]) and len(rows[-1]) == 2 and _is_otherwise(rows[-1][-1])
    )


def _is_otherwise(node: Node) -> bool:
    return isinstance(node, Text) and node.words.lower().strip(" .,") in OTHERWISE


def _case(row: list[Node]) -> Node:
    if len(row) == 1:
        return _value_and_condition(row[0])
    if len(row) == 2:
        value, condition = row
        if isinstance(value, Listing) and len(value.items) == 1:
            value = value.items[0]
        return Conditional(value, None if _is_otherwise(condition) else condition)
    raise UnreadableError("a case with more than two columns")


def _value_and_condition(node: Node) -> Node:
    """Read ``-x, x < 0`` in one column as a value under a condition."""
    match node:
        case Listing(items=(value, Relation(operators=operators) as condition), joiner=",") if not isinstance(
            value, Relation
        ) and set(operators) - {"="}:
            return Conditional(value, condition)
        case Listing(
            items=(Number() as value, Relation(operands=(Symbol(), Number())) as condition), joiner=","
        ):
            return Conditional(value, condition)  # 1, n = 1
        case Listing(items=(value, Congruence() as condition), joiner=",") if not isinstance(value, Relation):
            return Conditional(value, condition)
    return node
