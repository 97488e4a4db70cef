r"""Named objects before their value: ``\operatorname{Gal}(K/\mathbb{Q}) \cong S_3``, ``\iint_D f\,dA = \frac13``.

The grammar does not know these objects, so nothing in them can contradict the value.
"""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading.vocabulary import FUNCTIONS

__all__ = ["split_named_object"]

_LONGEST = 300
_SIGN = re.compile(
    r"\\(?:cong|simeq|equiv|neq?|not|leq?|geq?|approx|sim|in|to|mid)(?![a-zA-Z])|[=<>≅≠≈≤≥]|:="
)
_IS = frozenset(("=", "\\cong", "\\simeq", "≅"))
_NAME = r"(?:\\(?:operatorname\*?|mathrm|mathbf|mathcal)\s*\{\s*([A-Za-z]+)\s*\}|\\([a-zA-Z]+)|([A-Z]))"
_SCRIPT = r"[_^]\s*(?:\{(?:[^{}]|\{[^{}]*\})*\}|[A-Za-z0-9*]|\\[a-zA-Z]+)"
_APPLIED = re.compile(
    rf"{_NAME}\s*(?:{_SCRIPT}\s*){{0,2}}(?:\\left\s*)?\(((?:[^()]|\([^()]*\))*?)(?:\\right\s*)?\)"
)
"""A name with its argument: ``\\pi_1(\\mathbb{RP}^2)``."""
_INTEGRAL = re.compile(r"\\(?:oi|i{1,3})nt(?![a-zA-Z]).*d\s*[A-Za-z\\]\S*", re.DOTALL)
_NO_NAMES = FUNCTIONS | frozenset(("frac", "dfrac", "tfrac", "sqrt", "binom", "text", "not"))
_RELATION_INSIDE = re.compile(r"[=<>]|\\(?:n?eq|leq?|geq?|approx|text)(?![a-zA-Z])")


def split_named_object(text: str) -> tuple[str, str] | None:
    """Return a named object and the value that follows its only sign, which says what it is; ``None`` otherwise."""
    if len(text) > _LONGEST:
        return None
    signs = list(_SIGN.finditer(text))
    outside = [sign for sign in signs if text[: sign.start()].count("{") == text[: sign.start()].count("}")]
    if len(outside) != 1 or outside[0][0] not in _IS:
        return None
    left, right = text[: outside[0].start()].strip(), text[outside[0].end() :].strip()
    return (left, right) if right and _is_object(left) else None


def _is_object(text: str) -> bool:
    if _INTEGRAL.fullmatch(text):
        return True
    match = _APPLIED.fullmatch(text)
    if match is None or _RELATION_INSIDE.search(match[4]):
        return False
    return (match[1] or match[2] or match[3]) not in _NO_NAMES
