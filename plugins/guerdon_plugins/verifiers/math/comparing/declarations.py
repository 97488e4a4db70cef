r"""What an answer says about its letters: ``2n+1, n \in \mathbb{N}`` is a body and the domain of ``n``."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import INDEX_LETTERS, INTEGERS, Domain, declaration
from guerdon_plugins.verifiers.math.comparing.exact import UndefinedError
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, UndecidedError, names_in
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body
from guerdon_plugins.verifiers.math.comparing.scalars import POINT_PRECISION
from guerdon_plugins.verifiers.math.comparing.trees import substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Conditional,
    Listing,
    Node,
    Relation,
    Sequence,
    SetBuilder,
    Sum,
    Symbol,
    Text,
    integer,
)
from guerdon_plugins.verifiers.math.reading.vocabulary import ORDER

_OUTSIDE = (Fraction(1, 1009), Fraction(1, 7), Fraction(1), Fraction(19, 6), Fraction(40), Fraction(1001))
"""How far outside of a domain a body must have no value for its natural domain to be that one."""
_PARAMETERS = INDEX_LETTERS | frozenset("st")
"""Letters that may number the points of a family."""
_MAX_DECLARING = 64
"""Items of a list in which declarations are looked for."""


@dataclass(frozen=True, slots=True)
class Declared:
    """An answer apart from its declarations."""

    body: Node
    domains: dict[str, Domain] = field(default_factory=dict)

    def renamed(self, old: str, new: str) -> Declared:
        """Return the same with another letter."""
        body: Node = substitute(self.body, old, Symbol(new))
        return Declared(body, {new if name == old else name: where for name, where in self.domains.items()})


def split_declarations(node: Node, budget: Budget) -> Declared:
    r"""Split off what only declares a letter that the rest uses; ``x > 2, x \in \mathbb{N}`` is a set, and whole."""
    match node:
        case Conditional(value=value, condition=condition):
            found = declaration(condition, budget)
            if found and _is_membership(condition) and _uses(value, found[0]):
                return Declared(value, dict((found,)))
        case SetBuilder(element=element, condition=condition) if not isinstance(element, Symbol | Relation):
            found = declaration(condition, budget)
            if found and (found[1].whole or isinstance(element, Sequence)) and _uses(element, found[0]):
                return Declared(element, dict((found,)))
        case SetBuilder(element=Symbol() as element, condition=Listing(items=items, joiner="," | "and")):
            inner = _split_listing(Listing(items, ","), budget)
            match inner.body:
                case Relation(operands=(left, right), operators=("=",)) if left == element and inner.domains:
                    return Declared(right, inner.domains)
        case Listing():
            return _split_listing(node, budget)
    return Declared(node)


def _split_listing(node: Listing, budget: Budget) -> Declared:
    if len(node.items) > _MAX_DECLARING:
        return Declared(node)
    found = {
        index: declared
        for index, item in enumerate(node.items)
        if (node.joiner != "or" or _is_membership(item)) and (declared := declaration(item, budget))
    }
    domains: dict[str, Domain] = {}
    dropped: set[int] = set()
    for index, (letter, domain) in found.items():
        rest = [item for place, item in enumerate(node.items) if found.get(place, ("",))[0] != letter]
        if not rest or not any(_uses(item, letter) for item in rest):
            continue
        if any(_is_inequality(item, letter, _is_membership(node.items[index])) for item in rest):
            continue  # together they are a set of numbers
        domains[letter] = domains[letter].intersection(domain) if letter in domains else domain
        dropped.add(index)
    kept = tuple(item for index, item in enumerate(node.items) if index not in dropped)
    if not dropped or not kept:
        return Declared(_without_membership_of_label(node))
    return Declared(kept[0] if len(kept) == 1 else Listing(kept, node.joiner), domains)


def _without_membership_of_label(node: Listing) -> Node:
    r"""Read ``x = 5, x \in \mathbb{N}`` as ``x = 5``."""
    labels = {
        item.operands[0]
        for item in node.items
        if isinstance(item, Relation) and item.operators == ("=",) and isinstance(item.operands[0], Symbol)
    }
    kept = tuple(
        item
        for item in node.items
        if not (_is_membership(item) and item.operands[0] in labels)  # type: ignore[attr-defined]
    )
    if not kept or len(kept) == len(node.items):
        return node
    return kept[0] if len(kept) == 1 else Listing(kept, node.joiner)


def _is_inequality(node: Node, letter: str, alone: bool) -> bool:
    """Return whether a node is an inequality; if alone, of one letter only."""
    if not isinstance(node, Relation) or not ORDER.intersection(node.operators):
        return False
    return names_in(node) == {letter} if alone else letter in names_in(node)


def _is_membership(node: Node | None) -> bool:
    return isinstance(node, Relation) and node.operators == ("∈",)


def _uses(node: Node, letter: str) -> bool:
    return any(item == Symbol(letter) for item in walk(node))


def in_one_letter(reference: Declared, answer: Declared) -> Declared:
    r"""Return the answer with the reference's index letter: ``2n\pi`` as ``2k\pi`` if the reference has ``k \in Z``."""
    if len(reference.domains) != 1:
        return answer
    (letter,) = reference.domains
    if len(answer.domains) == 1:
        (other,) = answer.domains
    elif answer.domains:
        return answer
    else:
        others = _free_letters(label_and_body(answer.body)[1]) - _free_letters(reference.body)
        letters = _PARAMETERS if isinstance(reference.body, Sequence) else INDEX_LETTERS
        if len(others) != 1 or not others <= letters or _uses(answer.body, letter):
            return answer
        (other,) = others
    return answer if other == letter or _uses(answer.body, letter) else answer.renamed(other, letter)


def with_shifted_index(reference: Declared, answer: Declared, budget: Budget) -> Declared:
    r"""Return ``[k\pi+\pi, k\pi+2\pi]`` with the index at which it starts where the reference does.

    Over all integers a shift of the index changes nothing.
    """
    letters = {*reference.domains, *answer.domains}
    if len(letters) != 1 or any(
        domain != INTEGERS for domain in (*reference.domains.values(), *answer.domains.values())
    ):
        return answer
    (letter,) = letters
    left, right = (_first_bound(side.body, letter) for side in (reference, answer))
    if left is None or right is None:
        return answer
    try:
        start, following, other = (
            Evaluator(POINT_PRECISION, {letter: Fraction(place)}, budget).value(bound)
            for bound, place in ((left, 0), (left, 1), (right, 0))
        )
        turns = round(float((start - other) / (following - start)))
    except (ArithmeticError, KeyError, ValueError):
        return answer
    if not turns:
        return answer
    shifted: Node = substitute(answer.body, letter, Sum((Symbol(letter), integer(turns))))
    return Declared(shifted, answer.domains)


def _first_bound(node: Node, letter: str) -> Node | None:
    """Return the first bound of an interval, or the first entry of a point, that has a letter.

    A name may number its intervals, so only words may come before them.
    """
    label = label_and_body(node)[0]
    if label is not None and not isinstance(label, Text):
        return None
    for item in walk(node):
        if isinstance(item, Sequence):
            return next(
                (entry for entry in item.items if isinstance(entry, SCALARS) and names_in(entry) == {letter}),
                None,
            )
    return None


def _free_letters(node: Node) -> set[str]:
    return {item.name for item in walk(node) if isinstance(item, Symbol)}


def shared_domains(reference: Declared, answer: Declared) -> dict[str, Domain]:
    """Return the domain of each letter that either side declares."""
    return {**answer.domains, **reference.domains}


def disagreement(reference: Declared, answer: Declared, budget: Budget) -> str:
    """Which letter has another domain, in words; empty where the domains agree or one side need not name them."""
    for letter, domain in chain(reference.domains.items(), answer.domains.items()):
        left, right = reference.domains.get(letter), answer.domains.get(letter)
        if left is None or right is None:
            usual = domain.is_usual() or _is_time(domain, letter)
            if not usual and not _is_natural(domain, letter, reference.body, budget):
                return f"only one side says where {letter} lies"
        elif not left.same(right):
            return f"{letter} has another domain"
    return ""


def _is_time(domain: Domain, letter: str) -> bool:
    r"""Return whether a domain is ``t \ge 0``: time starts at zero, so it may be left unsaid."""
    return (
        letter == "t" and domain.low == 0 and domain.high is None and not domain.whole and not domain.without
    )


def _is_natural(domain: Domain, letter: str, body: Node, budget: Budget) -> bool:
    r"""Return whether a body has no value outside a domain: ``\sqrt{x-1}, x \ge 1`` says no more than its root."""
    body = label_and_body(body)[1]
    outside = set(domain.without)
    for bound, is_open, sign in ((domain.low, domain.low_open, -1), (domain.high, domain.high_open, 1)):
        if bound is not None:
            outside.update(bound + sign * distance for distance in _OUTSIDE)
            outside.update((bound,) if is_open else ())
    if domain.whole or not outside or not isinstance(body, SCALARS) or letter not in names_in(body):
        return False
    others = dict.fromkeys(names_in(body), Fraction(3, 2))
    return not any(_has_value(body, {**others, letter: value}, budget) for value in outside)


def _has_value(body: Node, point: dict[str, Fraction], budget: Budget) -> bool:
    try:
        Evaluator(POINT_PRECISION, point, budget).value(body)
    except UndefinedError:
        return False
    except (UndecidedError, KeyError):
        return True
    return True


def is_scalar_family(node: Node) -> bool:
    """Return whether a body may be a family of numbers, each under the same label or none."""
    items = node.items if isinstance(node, Listing) else (node,)
    return all(
        isinstance(item, SCALARS)
        or (isinstance(item, Relation) and item.operators == ("=",) and isinstance(item.operands[0], Symbol))
        for item in items
    )
