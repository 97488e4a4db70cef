"""Answers in words: the same words in the same order, and the mathematics between them sign by sign."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.comparing.trees import letters
from guerdon_plugins.verifiers.math.nodes import Node, Text

_OPTION = re.compile(r"\(?\s*([^\W\d_])\s*\)?\s*\.?")
"""A single letter counts with its case, in brackets or not."""
_QUOTES = re.compile(r"[\"'`“”‘’]")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_]{2})")
_STOP = re.compile(r"(?<=[^\W\d_])\s*[.,;:!?。，；：]+(?=\s|$)|\s*[.。;；!]+\s*$")
"""Marks after a word: they say nothing. Between digits and beside brackets they do."""
_ARTICLE = re.compile(r"\bthe\s+(?=[^\W\d_]{2})|^an?\s+(?!and\b|or\b|is\b|are\b)(?=[^\W\d_]{2})")
_SPACES = re.compile(r"\s+")
_BESIDE_SIGNS = re.compile(r"(?<=[^\w\s]) | (?=[^\w\s])")
"""The reader puts a space between the signs of a formula, the writer may not."""


def same_words(reference: Node, answer: Node) -> Finding:
    """Compare two answers of which one at least is words."""
    left, right = (node.words if isinstance(node, Text) else letters(node) for node in (reference, answer))
    if left is None or right is None:
        return Finding(False, "text", "words are not a number")
    left, right = _plain(left), _plain(right)
    return Finding(True, "text") if left == right and left else Finding(False, "text", "the words differ")


def _plain(words: str) -> str:
    """Return words without case, quotes, articles and the marks after them; every sign of mathematics stays."""
    if option := _OPTION.fullmatch(words.strip()):
        return option[1]
    words = _STOP.sub(" ", _HYPHEN.sub(" ", _QUOTES.sub("", words)))
    words = _SPACES.sub(" ", _ARTICLE.sub("", words.casefold()))
    return _BESIDE_SIGNS.sub("", words).strip()
