r"""Letters that the two sides group in different ways: ``2GM`` against ``2 G M``, ``2i + 3j`` against a point."""

from __future__ import annotations

from dataclasses import replace

from guerdon_plugins.verifiers.math.comparing.derivatives import with_the_same_derivatives
from guerdon_plugins.verifiers.math.comparing.geometry import with_vectors_of_points
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import rebuild, substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    Constant,
    Node,
    Product,
    Sequence,
    Standing,
    Sum,
    Symbol,
    Text,
    integer,
)

_UNIT_VECTORS = ("i", "j", "k")
_PLAIN_LETTERS = (Constant("i"), Symbol("j"), Symbol("k"))
_HATS = ("hat ", "vec ", "bar ")
_INTEGRATION_LETTERS = ("C", "c", "K", "k")


def with_names_apart(reference: Node, answer: Node) -> tuple[Node, Node]:
    """Return both nodes, a name in capitals as a product where the other side writes its letters one by one."""
    left, right = names_in(reference), names_in(answer)
    if left == right:
        return reference, answer
    if ("ell" in left) != ("ell" in right) and "l" in left ^ right:
        reference, answer = (substitute(node, "ell", Symbol("l")) for node in (reference, answer))
        left, right = names_in(reference), names_in(answer)
    reference, answer = with_the_same_derivatives(reference, answer, left, right)
    reference, answer = with_vectors_of_points(reference, answer, left, right)
    return _apart(reference, left, right), _apart(answer, right, left)


def _apart(node: Node, names: set[str], others: set[str]) -> Node:
    for name in names - others:
        if len(name) > 1 and name.isalpha() and name.isupper() and set(name) <= others:
            node = substitute(node, name, Product(tuple(map(Symbol, name))))
    return node


def coordinates(node: Node, size: int) -> Sequence | None:
    """Return the point that a sum of multiples of unit vectors is; ``None`` for any other node."""
    found: dict[int, Node] = {}
    marked = False
    for term in node.terms if isinstance(node, Sum) else (node,):
        factors = term.factors if isinstance(term, Product) else (term,)
        places = [_axis(factor) for factor in factors]
        axes = [place for place in places if place is not None]
        if len(axes) != 1 or axes[0] >= size or axes[0] in found:
            return None
        marked = marked or not any(factor in _PLAIN_LETTERS for factor in factors)
        rest = tuple(factor for factor, place in zip(factors, places, strict=True) if place is None)
        found[axes[0]] = rest[0] if len(rest) == 1 else Product(rest) if rest else integer(1)
    items = tuple(found.get(place, integer(0)) for place in range(size))
    known = marked or len(found) > 1  # i alone is the imaginary unit
    return Sequence(items, "(", ")") if known and size <= len(_UNIT_VECTORS) else None


def _axis(node: Node) -> int | None:
    """Return which unit vector a letter is: ``i``, a letter under a hat, in bold or under an arrow."""
    if isinstance(node, Apply) and node.name in ("hat", "vec") and len(node.arguments) == 1:
        node = node.arguments[0]
    if not isinstance(node, Symbol | Constant):
        return None
    name = node.name
    for hat in _HATS:
        name = name.removeprefix(hat)
    return _UNIT_VECTORS.index(name) if name in _UNIT_VECTORS else None


def with_constant_of_integration(reference: Node, answer: Node) -> Node:
    """Return the answer with the reference's ``C`` where it adds another letter that occurs nowhere else."""
    wanted, given = _constant(reference), _constant(answer)
    if wanted != "C" or given is None or wanted == given:
        return answer
    if wanted in names_in(answer) or given in names_in(reference):
        return answer
    renamed: Node = substitute(answer, given, Symbol(wanted))
    return renamed


def _constant(node: Node) -> str | None:
    """Return the letter of integration that a sum ends in, against terms that depend on something else."""
    if not isinstance(node, Sum):
        return None
    for term in node.terms:
        if isinstance(term, Symbol) and term.name in _INTEGRATION_LETTERS:
            rest = [names_in(other) for other in node.terms if other is not term]
            if any(rest) and not any(term.name in names for names in rest):
                return term.name
    return None


def with_the_same_index(reference: Node, answer: Node) -> Node:
    r"""Return the answer with the reference's letter under its sum, limit or integral: ``\sum_k`` as ``\sum_n``."""
    left, right = (
        [item for item in walk(node) if isinstance(item, Standing) and _binds(item)]
        for node in (reference, answer)
    )
    if len(left) != 1 or len(right) != 1 or left[0].variable == right[0].variable:
        return answer
    wanted, given = left[0].variable, right[0]
    if wanted is None or given.variable is None or any(item == _letter(wanted) for item in walk(answer)):
        return answer
    renamed = replace(
        given,
        variable=wanted,
        parts=(_replaced(given.parts[0], _letter(given.variable), _letter(wanted)), *given.parts[1:]),
    )
    return _replaced(answer, given, renamed)


def _binds(node: Standing) -> bool:
    """Whether the letter of an operation is only inside of it, unlike that of a derivative."""
    bounded = node.operator == "int" and node.parts[1] != Text("")
    return node.variable is not None and (
        bounded or node.operator in ("sum", "prod", "lim", "limsup", "liminf")
    )


def _letter(name: str) -> Node:
    return Constant(name) if name in ("i", "e") else Symbol(name)


def _replaced(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    result: Node = rebuild(node, lambda item: _replaced(item, old, new))
    return result
