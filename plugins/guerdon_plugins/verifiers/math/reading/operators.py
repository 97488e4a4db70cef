r"""Labels that name what an operator makes: ``\mathcal{L}\{f\} = …``, ``\frac{d}{dx}f(x) = …``."""

from __future__ import annotations

import re

__all__ = ["with_plain_labels"]

_TRANSFORM = re.compile(
    r"(?:\\math(?:cal|scr)\s?\{?\s?([LF])\s?\}?|(?<![a-zA-Z])([LF])(?=\s?\\(?:left\s?\\)?\{))\s?(?:\^\s?\{?\s?(-1)\s?\}?)?\s?"
    r"(?:\\left\s?)?(?:\\\{[^=]{1,200}?\\\}|\[[^=]{1,200}?\]|\([^=]{1,200}?\))(?:\s?\([a-z]\))?\s?=\s?(?=\S)"
)
_TRANSFORMS = {"L": "Laplace transform", "F": "Fourier transform"}
_OF_FUNCTION = re.compile(
    r"\\frac\s?\{\s?d\s?\}\s?\{\s?d\s?([a-z])\s?\}\s?([a-zA-Z])\s?(?:\(\s?\1\s?\))?\s?=\s?(?=\S)"
)
_OF_FORMULA = re.compile(
    r"\\frac\s?\{\s?d\s?\}\s?\{\s?d\s?[a-z]\s?\}\s?(?:\\left\s?)?[\[(][^=]{1,200}[\])]\s?=\s?(?=\S)"
)
_NAMED = re.compile(
    r"\\(?:operatorname|mathrm|text)\s?\{\s?([A-Z][a-z]{1,8})\s?\}(?:_\s?(\w|\{[^{}]{1,9}\}))?\s?"
    r"(?:\\left\s?)?\(([^()=]{1,60})\)\s?=\s?(?=\S)"
)


def with_plain_labels(text: str) -> str:
    """Return an answer whose first side only names the result of an operator with a label in words or by a name."""
    if match := _TRANSFORM.match(text):
        letter = match[1] or match[2]
        name = f"original under {letter}" if match[3] else _TRANSFORMS[letter]
        return f"\\text{{{name}}} = {text[match.end() :]}"
    if match := _OF_FUNCTION.match(text):
        return f"\\frac{{d{match[2]}}}{{d{match[1]}}} = {text[match.end() :]}"
    if match := _OF_FORMULA.match(text):
        return f"\\text{{derivative}} = {text[match.end() :]}"
    if match := _NAMED.match(text):
        name = "".join(filter(str.isalnum, f"{match[1]}{match[2] or ''}{match[3]}"))
        return f"\\text{{value {name}}} = {text[match.end() :]}"
    return text
