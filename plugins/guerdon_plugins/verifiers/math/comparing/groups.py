r"""Finite abelian groups as products of cyclic ones: ``\\mathbb{Z}_2 \\times \\mathbb{Z}_3`` is ``\\mathbb{Z}_6``."""

from __future__ import annotations

from collections import Counter

from guerdon_plugins.verifiers.math.nodes import NamedSet, Node, Number, Power, Product

__all__ = ["elementary_divisors"]

_LARGEST = 10_000
_MOST_FACTORS = 12


def elementary_divisors(node: Node) -> Counter[int] | None:
    """Return the prime powers of the cyclic groups in a product; ``None`` for other nodes.

    Two finite abelian groups are isomorphic if and only if these agree.
    """
    match node:
        case NamedSet(name=name) if (
            name[:1] == "Z" and name[1:].isdecimal() and 0 < int(name[1:]) <= _LARGEST
        ):
            return Counter(_prime_powers(int(name[1:])))
        case Power(base=NamedSet() as base, exponent=Number(value=power)) if power in range(1, _MOST_FACTORS):
            found = elementary_divisors(base)
            return (
                None
                if found is None
                else Counter({size: count * int(power) for size, count in found.items()})
            )
        case Product(factors=factors) if len(factors) <= _MOST_FACTORS:
            total: Counter[int] = Counter()
            for factor in factors:
                part = elementary_divisors(factor)
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
