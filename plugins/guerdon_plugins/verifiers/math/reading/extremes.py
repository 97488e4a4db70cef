r"""Extreme points in words: ``max at x = -2, min at x = 2``, ``local min (1, -1), saddle point (0, 0)``."""

from __future__ import annotations

import re
from collections.abc import Callable

from guerdon_plugins.verifiers.math.nodes import Listing, Node, Relation, Sequence, Symbol, Text

__all__ = ["read_extremes"]

_LONGEST = 300
_ADJECTIVE = r"(?:the )?(?:%s(?:local|relative|absolute|global|strict)) )?"
_NOUN = (
    r"%smax(?:imum|ima|\.)?|min(?:imum|ima|\.)?|saddle (?:points?|pts?\.?)|points? of inflection|"
    r"inflection points?)"
)
_KIND = f"{_ADJECTIVE % '('}{_NOUN % '('}(?: values?| points?| pts?\\.?)?"
_CLAUSE = re.compile(
    rf"{_KIND}\s*(?:(?:is|are|of|equals|=|:)\s+)?(?:(?P<value>.+?)\s*)??"
    r"(?:,?\s*(?:is |which is |and )?(?:attained at|reached at|achieved at|occurs? at|occurring at|at|when)\b"
    r"\s*:?\s*(?P<place>.+))?",
    re.IGNORECASE,
)
_NEXT = re.compile(
    rf"\s*(?:[,;]\s*(?:and )?|\band )\s*(?={_ADJECTIVE % '(?:'}{_NOUN % '(?:'})|(?<=\))[,;] ?(?=\(|[a-z]=)",
    re.IGNORECASE,
)
_KIND_AFTER = re.compile(
    rf"^(?:at )?([^()]+|\([^()]*\)) \(({_ADJECTIVE % '(?:'}{_NOUN % '(?:'}(?: points?| values?)?)\)$",
    re.IGNORECASE,
)
"""``x = 1 (local max)``."""
_MARKUP = re.compile(
    r"\\(?:text|textbf|mathrm|mbox|operatorname)\s*\{([^{}]*)\}|\\(min|max)(?![a-z])|\$|~|\\[ ,;:]|\\quad"
)
_PREFIXES = {"relative": "local ", "strict": "", "absolute": "global "}


def read_extremes(text: str, parse: Callable[[str], Node]) -> Node | None:
    """Return the extremes that a text lists, by their kind; ``None`` for texts that say something else."""
    if len(text) > _LONGEST:
        return None
    plain = " ".join(_MARKUP.sub(lambda match: f" {match[1] or match[2] or ''} ", text).split()).strip(" .,;")
    clauses = _NEXT.split(plain)
    items: list[Node] = []
    places = 0
    for clause in clauses:
        match = _CLAUSE.fullmatch(_KIND_AFTER.sub(r"\2 \1", clause))
        if match is None or not (match["value"] or match["place"]):
            return None
        kind = f"{_prefix(match[1])}{_noun(match[2])}"
        if match["value"]:
            said = parse(match["value"])
            label = f"{kind}place" if _is_place(said) else kind
            items.append(Relation((Text(label), said), ("=",)))
        if match["place"]:
            places += 1
            items.append(Relation((Text(f"{kind}place"), parse(match["place"])), ("=",)))
    if len(clauses) == 1 and len(items) == 2:
        return None  # the minimum is -4 at x = 2: its value may be the answer
    if len(items) < 2 and not places:
        return None
    if any(
        isinstance(part, Text) for item in items if isinstance(item, Relation) for part in item.operands[1:]
    ):
        return None
    return items[0] if len(items) == 1 else Listing(tuple(items), ",")


def _is_place(node: Node) -> bool:
    match node:
        case Sequence() | Relation(operands=(Symbol(name="x" | "t" | "theta"), _), operators=("=",)):
            return True
    return False


def _prefix(word: str | None) -> str:
    word = (word or "").lower()
    return _PREFIXES.get(word, f"{word} " if word else "")


def _noun(word: str) -> str:
    word = word.lower()
    for noun in ("max", "min"):
        if word.startswith(noun):
            return f"{noun}imum"
    return "saddle" if word.startswith("saddle") else "inflection"
