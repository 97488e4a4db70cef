r"""Groups under other names: ``\mathbb{Z}_2 \times \mathbb{Z}_3`` is ``\mathbb{Z}_6``, and ``D_3`` is ``S_3``.

A letter with an index may be anything, so it is read as a group only where the other side can be nothing else.
"""

from __future__ import annotations

import re
from collections import Counter

from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    NamedSet,
    Node,
    Number,
    Power,
    Product,
    Symbol,
    Text,
)

__all__ = ["contradicts_group", "same_group"]

_LARGEST = 10_000
_MOST_FACTORS = 12
_CYCLIC = re.compile(r"[CZ]_\{?(\d{1,4})\}?")
_SMALL = {
    "V_4": Counter({2: 2}),
    "K_4": Counter({2: 2}),
    "A_3": Counter({3: 1}),
    "S_2": Counter({2: 1}),
}
"""The groups of Klein, and an alternating and a symmetric group that are cyclic."""
_CYCLIC_IN_WORDS = re.compile(r"(?:the |a )?cyclic group of order (\d{1,4})")
_KLEIN_IN_WORDS = re.compile(r"(?:the )?klein (?:four|4)[- ]group|(?:the )?klein group", re.IGNORECASE)
_FREE = re.compile(r"F_\{?(\d{1,2})\}?")
_CIRCLE = "the circle"
_SYMMETRIC = "the permutations of three"


def same_group(reference: Node, answer: Node) -> bool:
    r"""Return whether two answers name one group: ``D_3`` and ``S_3``, ``V_4`` and ``\mathbb{Z}_2^2``."""
    left, right = _infinite_or_symmetric(reference), _infinite_or_symmetric(answer)
    if left is not None or right is not None:
        return left is not None and right is not None and left[0] == right[0] and (left[1] or right[1])
    for one, other in ((reference, answer), (answer, reference)):
        if isinstance(one, NamedSet | Power | Product) and (orders := _elementary_divisors(one)) is not None:
            return orders == _elementary_divisors(other, letters=True)
    return False


def contradicts_group(left: Node, right: Node) -> bool:
    r"""Return whether the left side of ``\mathbb{Z}_2^2 \cong \mathbb{Z}_4`` is a group, and another one."""
    named = _infinite_or_symmetric(left)
    is_group = named[1] if named is not None else _elementary_divisors(left) is not None
    return is_group and left != right and not same_group(left, right)


def _infinite_or_symmetric(node: Node) -> tuple[str, bool] | None:
    """Return which group a node is, and whether it can be nothing else."""
    match node:
        case Symbol(name="S_3" | "D_3"):
            return _SYMMETRIC, True
        case Symbol(name=name) if match := _FREE.fullmatch(name):
            return f"free of {match[1]}", False
        case Apply(name="free product", arguments=parts) if all(part == NamedSet("Z") for part in parts):
            return f"free of {len(parts)}", True
        case Text(words="compound SO(2)") | Product(factors=(Symbol(name="SO"), Number(value=2))):
            return _CIRCLE, True
        case Product(factors=(Symbol(name="U"), Number(value=1))):
            return _CIRCLE, True
        case Power(base=Symbol(name="S" | "mathbb S"), exponent=Number(value=1)):
            return _CIRCLE, False
    return None


def _elementary_divisors(node: Node, *, letters: bool = False) -> Counter[int] | None:
    """Return the prime powers of the cyclic groups in a product; ``None`` for other nodes.

    Two finite abelian groups are isomorphic if and only if these agree.

    Args:
        node: What may be a group.
        letters: Whether letters such as ``C_6`` and words are groups as well.
    """
    match node:
        case Symbol(name=name) if letters:
            cyclic = _CYCLIC.fullmatch(name)
            return Counter(_prime_powers(int(cyclic[1]))) if cyclic and int(cyclic[1]) else _SMALL.get(name)
        case Text(words=words) if letters:
            cyclic = _CYCLIC_IN_WORDS.fullmatch(words)
            if cyclic and int(cyclic[1]):
                return Counter(_prime_powers(int(cyclic[1])))
            return _SMALL["V_4"] if _KLEIN_IN_WORDS.fullmatch(words) else None
        case Apply(name="direct sum", arguments=factors) if letters:
            return _elementary_divisors(Product(factors), letters=True)
        case NamedSet(name=name) if (
            name[:1] == "Z" and name[1:].isdecimal() and 0 < int(name[1:]) <= _LARGEST
        ):
            return Counter(_prime_powers(int(name[1:])))
        case Power(base=NamedSet() | Symbol() as base, exponent=Number(value=power)) if power in range(
            1, _MOST_FACTORS
        ):
            found = _elementary_divisors(base, letters=letters)
            return (
                None
                if found is None
                else Counter({size: count * int(power) for size, count in found.items()})
            )
        case Product(factors=factors) if len(factors) <= _MOST_FACTORS:
            total: Counter[int] = Counter()
            for factor in factors:
                part = _elementary_divisors(factor, letters=letters)
                if part is None:
                    return None
                total += part
            return total
    return None


def _prime_powers(number: int) -> list[int]:
    powers = []
    prime = 2
    while number > 1:
        power = 1
        while number % prime == 0:
            number //= prime
            power *= prime
        if power > 1:
            powers.append(power)
        prime += 1
    return powers
