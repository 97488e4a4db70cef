"""Labels that are expressions or words: ``a + b = 3`` answers 3, ``x + y = 3`` is an equation."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import contains, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    NamedSet,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    Standing,
    Symbol,
    Text,
    integer,
)

_COORDINATES = frozenset("xyz")
_NO_LABEL = frozenset(("root", "log", "factorial", "floor", "ceil"))
_WORD = re.compile(r"\w+")
_EXTREME = re.compile(
    r"max(?=imum|imal|\b|_)|min(?=imum|imal|\b|_)|largest|greatest|smallest|least|最大|最小", re.IGNORECASE
)
_EXTREME_OF = {
    **dict.fromkeys(("max", "largest", "greatest", "最大"), "max"),
    **dict.fromkeys(("min", "smallest", "least", "最小"), "min"),
}
_LONG = {
    "max": "maximum",
    "min": "minimum",
    "maximal": "maximum",
    "minimal": "minimum",
    "prob": "probability",
}
_SPACE = re.compile(r"[QRC]\^(\d{1,9})")
"""A space whose dimension is known."""
_VERB = re.compile(r"[为是等于有]+$")
_EMPTY_WORDS = frozenset("the a an of is are value answer result then 的 其".split())  # noqa: SIM905


def names_expression(left: Node, body: Node) -> bool:
    """Return whether a left side of several letters names a quantity whose value is the body, which has no letters.

    Coordinates make equations, but in a product or a quotient: ``x + y = 3`` is a line, ``xy = 3`` the value of xy.
    """
    if not isinstance(left, SCALARS) or not isinstance(body, SCALARS):
        return False
    if isinstance(left, Call) and contains(left, NamedSet) and contains(left, Symbol):
        return True  # |C(R)| is a name; |Z_5| has a value
    if _letters(body):
        return False
    match left:
        case Call(function="dim", arguments=(NamedSet(name=name),)) if match := _SPACE.fullmatch(name):
            return body == integer(int(match[1]))
        case Standing() | Call(function="dim" | "rank" | "tr" | "det" | "deg"):
            return True
        case Product(
            factors=(
                Power(base=Symbol(name="f" | "g" | "h"), exponent=Number(value=power)),
                Number() | Symbol(),
            )
        ):
            return power == -1
    if any(isinstance(node, Call) and node.function in _NO_LABEL for node in walk(left)):
        return False
    letters = _letters(left)
    if len(letters) < 2:
        return False
    return not letters & _COORDINATES or _is_monomial(left)


def _letters(node: Node) -> set[str]:
    return names_in(node) | {repr(item) for item in walk(node) if isinstance(item, Apply)}


def _is_monomial(node: Node) -> bool:
    match node:
        case Symbol():
            return True
        case Product(factors=factors):
            return all(_is_monomial(factor) for factor in factors)
        case Quotient(numerator=above, denominator=below):
            return _is_monomial(above) and _is_monomial(below)
        case Power(base=Symbol()):
            return False
    return False


def same_words_in_labels(reference: Text, answer: Text) -> bool:
    """Return whether one label in words says no more than the other: "area" and "the area of the circle"."""
    left, right = (
        {
            _LONG.get(word, word)
            for word in _WORD.findall(_VERB.sub("", label.words.casefold()))
            if word not in _EMPTY_WORDS
        }
        for label in (reference, answer)
    )
    return left <= right or right <= left


def opposite_extremes(reference: Node, answer: Node) -> bool:
    r"""Return whether one label is that of a maximum and the other that of a minimum: words and ``y_{\min}``."""
    kinds = [_extreme(label) for label in (reference, answer)]
    return "" not in kinds and kinds[0] != kinds[1]


def _extreme(label: Node) -> str:
    """Return which extreme a label names in its words or its index; empty for none and for both."""
    match label:
        case Text(words=name) | Symbol(name=name):
            found = {_EXTREME_OF[word.casefold()] for word in _EXTREME.findall(name)}
            return found.pop() if len(found) == 1 else ""
    return ""


def split_titles(*nodes: Node) -> tuple[list[Text | None], list[Node]]:
    """Split ``HA: y = 2`` into its words and the relation after them, which has a label of its own."""
    titles: list[Text | None] = []
    bodies: list[Node] = []
    for node in nodes:
        match node:
            case Relation(operands=(Text() as title, left, right), operators=("=", sign)):
                titles.append(title)
                bodies.append(Relation((left, right), (sign,)))
            case _:
                titles.append(None)
                bodies.append(node)
    return titles, bodies


def same_titles(reference: Text | None, answer: Text | None) -> bool:
    """Return whether two titles may be those of one relation; a side may leave its title out."""
    return reference is None or answer is None or same_words_in_labels(reference, answer)
