"""The parts of a question and their answers: ``(a) 3 (b) 4``, ``(1)见解析;(2)3``."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.nodes import Listing, Node, Relation, Symbol

_PART = re.compile(
    r"(?:^|(?<=[\s;,}])|(?<=quad)|(?=\\text\{))(?:\\text\{\s*)?"
    r"(?:(?:[Pp]art\s*)?\(([a-f]|[1-6]|i{1,3}|iv|v|I{1,3}|IV|V)\)\s*:?|([a-f]|[1-6]|i{1,3}|iv|v)\)|[Pp]art\s+([a-fA-F]|[1-6])\s*[:.]|(?:^|(?<=\n))([1-6])\.\s)"
    r"\s*\}?\s*"
)
_PROOF = re.compile(
    r"(?:\\text\{)?(?:证明)?(?:见解析|略|证明过程略|证明见解析|见证明|proof|see (?:the )?proof|proved)\}?",
    re.IGNORECASE,
)
"""A part that asks for a proof: it has no answer to compare."""
_PART_NAMES = ("123456", "abcdef", ("i", "ii", "iii", "iv", "v"), ("I", "II", "III", "IV", "V"))


def question_parts(text: str) -> list[tuple[str, str]] | None:
    """Return the numbers and answers of the parts of a question: ``(a) 3 (b) 4``; ``None`` for other answers."""
    if (")" not in text and "art" not in text and "\n" not in text) or not (first := _PART.match(text)):
        return None
    marks = [first, *_PART.finditer(text, first.end())]
    names = [_name(mark) for mark in marks]
    if len(names) < 2 or not any(names == list(kind[: len(names)]) for kind in _PART_NAMES):
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    answers = [_balanced(text[mark.end() : end].strip(" ,;.")) for mark, end in zip(marks, ends, strict=True)]
    if not all(answers):
        return None
    said = [(str(place), answer) for place, answer in enumerate(answers, 1) if not _PROOF.fullmatch(answer)]
    return said or None


def _name(mark: re.Match[str]) -> str:
    return mark[1] or mark[2] or (mark[3] or mark[4]).lower()


def _balanced(text: str) -> str:
    """Return a part without the brace of the group around all parts."""
    return text[:-1].rstrip(" ,;.") if text.endswith("}") and text.count("}") > text.count("{") else text


def only_part(node: Node) -> str | None:
    """Return the number of the only part with an answer, where the others are proofs; ``None`` for other answers."""
    match node:
        case Listing(items=(Relation(operands=(Symbol(name=name), _)),)) if name.startswith("part "):
            return name.removeprefix("part ")
    return None


def marked_part(text: str) -> tuple[str, str] | None:
    """Return the number and the answer of one part: ``(2)3``, not a product next to a part of a question."""
    match = _PART.match(text.strip())
    if match is None or question_parts(text.strip()) is not None:
        return None
    rest = text.strip()[match.end() :]
    name = _name(match)
    number = next(names.index(name) for names in map(list, _PART_NAMES) if name in names) + 1
    return (str(number), rest) if rest else None
