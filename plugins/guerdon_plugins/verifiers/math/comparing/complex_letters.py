r"""Letters of complex numbers: under ``\operatorname{Re}``, ``z`` next to ``\bar z``, ``z`` in ``|z|``."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.comparing.numeric import is_complex, names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute, walk
from guerdon_plugins.verifiers.math.nodes import Call, Constant, Node, Product, Sum, Symbol

_OF_COMPLEX = frozenset(("Re", "Im", "arg", "conjugate"))
_IMAGINARY_PART = " imaginary"


def complex_letters(*nodes: Node) -> set[str]:
    """Return the letters that one of the nodes treats as complex.

    ``x`` and ``y`` in the real part of ``x + iy`` are not.
    """
    found = _in_bars(nodes)
    for node in nodes:
        for item in walk(node):
            if isinstance(item, Call) and item.function in _OF_COMPLEX:
                names = names_in(item)
                found |= {name for name in names if name[0] in "zw"} if is_complex(item) else names
            elif isinstance(item, Symbol) and item.name in ("bar z", "bar w"):
                found.add(item.name[4:])
    return {
        name
        for name in found
        if not name.endswith(_IMAGINARY_PART) and f"{name}{_IMAGINARY_PART}" not in found
    }


def _in_bars(nodes: tuple[Node, ...]) -> set[str]:
    """``z`` and ``w`` in an absolute value, without real letters next to them."""
    bars = [
        item for node in nodes for item in walk(node) if isinstance(item, Call) and item.function == "abs"
    ]
    if not bars:
        return set()
    names = set().union(*map(names_in, nodes))
    return set().union(*map(names_in, bars)) if names and all(name[0] in "zw" for name in names) else set()


def in_real_parts(node: Node, letters: set[str]) -> Node:
    """Return the node with each of the letters as a sum of a real and an imaginary part."""
    for letter in letters:
        imaginary = Product((Constant("i"), Symbol(f"{letter}{_IMAGINARY_PART}")))
        value = Sum((Symbol(letter), imaginary))
        node = substitute(node, letter, value)
        node = substitute(node, f"bar {letter}", Call("conjugate", (value,)))
    return node
