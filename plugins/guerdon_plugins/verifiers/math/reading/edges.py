"""What is around an answer: delimiters of mathematics, markdown, groups, spaces, and marks at the end."""

from __future__ import annotations

import re

__all__ = ["stripped"]

_DELIMITERS = (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$"))
_MARKDOWN = (("**", "**"), ("__", "__"), ("`", "`"))
_EDGES = ("\\,", "\\;", "\\!", "\\:", "\\ ", "~", " ")
_HEAD_OF_LAYOUT = re.compile(
    r"(?:\\(?:displaystyle|textstyle|large|Large|LARGE|huge|small|q?quad)(?![a-zA-Z])\s*)+"
)
_TAIL_OF_LAYOUT = re.compile(r"(?:\s*\\q?quad)+$")
_GROUP_HEAD = re.compile(
    r"(?:\\(?:boxed|fbox|mathbf|boldsymbol|bm|ensuremath|displaystyle|textcolor\s?\{[a-zA-Z]{1,20}\}|color\s?\{[a-zA-Z]{1,20}\})\s?)?\{"
)
_MOST_GROUPS = 8
"""Groups around an answer that are taken off; each takes time by the length of the answer."""
_OF_A_SET = re.compile(r"[,;|:]|\\mid|\\ldots|\\over|\\choose|^\s*-?[\d.]+\s*$")


def stripped(text: str) -> str:
    r"""Take off white space, ``$…$``, ``\\(…\\)``, ``\\[…\\]`` and punctuation at the end, until none is left."""
    groups = 0
    while True:
        before = text
        text = text.strip().removesuffix("\\\\").removesuffix("\\")
        text = text if text == "=" else text.removeprefix("=")
        for sign in ("\\approx", "\\sim", "\\therefore", "\\Rightarrow", "\\implies"):
            if text.startswith(sign) and not text[len(sign) :][:1].isalpha():
                text = text[len(sign) :]
        text = _without_markdown(text)
        if text.endswith((".", ",", ";", ":", "!.", "。", "，", "；")) and not text.endswith(
            ("..", "\\,", "\\;", "\\:", "\\.")
        ):
            text = text[:-1]
        text = _without_delimiters(text)
        if groups < _MOST_GROUPS and (inside := _without_group(text)) != text:
            text = inside
            groups += 1
        if text[:1] == "\\" and (match := _HEAD_OF_LAYOUT.match(text)):
            text = text[match.end() :]
        if text.endswith("quad"):
            text = _TAIL_OF_LAYOUT.sub("", text)
        while text.startswith(_EDGES):
            text = text[1 + (text[0] == "\\") :]
        while text.endswith(_EDGES):
            text = text[: -1 - (text[-2:-1] == "\\")]
        if text == before:
            return text


def _without_group(text: str) -> str:
    r"""Return the content of a group that holds all of the answer: ``\boxed{…}``, ``\mathbf{…}``, or bare braces."""
    match = _GROUP_HEAD.match(text)
    if match is None or not text.endswith("}"):
        return text
    depth = 1
    for place, sign in enumerate(text[match.end() : -1], match.end()):
        if text[place - 1] != "\\" or text[place - 2 : place] == "\\\\":
            depth += (sign == "{") - (sign == "}")
        if not depth:
            return text
    content = text[match.end() : -1]
    bare = match[0].startswith("{")
    if len(content) < 2 or (bare and _OF_A_SET.search(content)) or content.endswith("\\"):
        return text
    return content


def _without_markdown(text: str) -> str:
    for left, right in _MARKDOWN:
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            return text[len(left) : -len(right)]
    return text


def _without_delimiters(text: str) -> str:
    for left, right in _DELIMITERS:
        inner = text[len(left) : -len(right)]
        if (
            len(text) >= len(left) + len(right)
            and text.startswith(left)
            and text.endswith(right)
            and not inner.endswith("\\")
            and (left not in inner.replace("\\$", "") if left != "$$" else True)
        ):
            return inner
    return text
