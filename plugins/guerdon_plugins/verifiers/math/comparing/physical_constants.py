r"""Constants of physics that others define: ``\hbar = h/2\pi``, ``k = 1/4\pi\epsilon_0``."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.nodes import Constant, Node, Product, Quotient, Symbol, integer

__all__ = ["in_common_constants"]

_PI = Constant("pi")
_DERIVED: tuple[tuple[str, str, Node], ...] = (
    ("hbar", "h", Quotient(Symbol("h"), Product((integer(2), _PI)))),
    *(
        (coulomb, permittivity, Quotient(integer(1), Product((integer(4), _PI, Symbol(permittivity)))))
        for coulomb in ("k", "k_e")
        for permittivity in ("epsilon_0", "varepsilon_0")
    ),
)
"""A constant, the one that defines it, and its value."""


def in_common_constants(reference: Node, answer: Node) -> tuple[Node, Node]:
    """Return both nodes, a derived constant in the terms of the constant that the other node has instead."""
    names = names_in(reference), names_in(answer)
    left, right = names[0] - names[1], names[1] - names[0]
    for name, base, value in _DERIVED:
        if name in left and base in right:
            return substitute(reference, name, value), answer
        if name in right and base in left:
            return reference, substitute(answer, name, value)
    return reference, answer
