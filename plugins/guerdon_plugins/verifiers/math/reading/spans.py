r"""The space that vectors span: ``\operatorname{span}\{(1, 2), (0, 1)\}``."""

from __future__ import annotations

import re
from collections.abc import Callable

from guerdon_plugins.verifiers.math.nodes import Apply, Matrix, Node, Relation, Sequence, SetOf

__all__ = ["read_span"]

_SPAN = re.compile(
    r"(?:([^=<>\\]{1,12}|\\[a-z]+\s*[A-Z]?)\s*=\s*)?"
    r"(?:\\(?:operatorname|text|mathrm)\s*\{\s*[Ss]pan\s*\}|\\?[Ss]pan)"
    r"(?:\s*_\s*(?:\\mathbb\s*\{?\s*R\s*\}?|\{\s*\\mathbb\s*\{?\s*R\s*\}?\s*\}))?\s*((?:\\left\s*)?(?:\\\{|\(|\[|\\begin).*)",
    re.DOTALL,
)


def read_span(text: str, parse: Callable[[str], Node]) -> Node | None:
    """Return the span of the vectors in brackets, under its label if there is one; ``None`` for other texts."""
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    vectors = parse(match[2])
    if not isinstance(vectors, SetOf | Sequence | Matrix):
        return None
    span = Apply("span", (vectors,))
    return span if match[1] is None else Relation((parse(match[1]), span), ("=",))
