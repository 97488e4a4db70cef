"""Boxed answers: which boxes of a text belong together, and what next to a box belongs to its answer."""

from __future__ import annotations

import re
from typing import NamedTuple

_MARKS = ("\\boxed", "\\fbox")
_BRACED_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*(\{)?|\\(?!\\(?:boxed|fbox)).|[{}]", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\s*([^\s{}$\\,;]+|\\[a-zA-Z]+)")
_LABEL = r"(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
_BETWEEN_BOXES = re.compile(
    r"(?:\s|\$|\\[()\[\],;:!]|\\q?quad|[.,;:&]|\\\\|\band\b|\bor\b"
    rf"|\\(?:text|mbox)\s*\{{\s*,?\s*(?:and|or)\s*\}}|和|或|、|，)*{_LABEL}"
    rf"|[^.\n]{{,40}}\b(?:and|or)\b[\s}}$]*{_LABEL}"
    # "… and the value of y is": another quantity, unless it is the answer after a step
    r"|[\s$,)]*(?:and|和|且)\s+(?![^.\n]*(?:answer|result|total|final|therefore|thus|hence|which|gives))"
    r"[^.\n]{,50}(?:\bis|\bare|\bequals|=|:|为|是)[\s$(\\]*"
)
_MAX_PARTS = 16
_MAX_GAP = 70
_FAR = 10_000
"""A box this far before the last one neither encloses it nor belongs to it."""
_PART = re.compile(
    r"^[^\S\n]*+[*_#>\-]*+[^\S\n]*+(?:part\s*+)?(?:\(([a-h]|[ivx]{1,4}|\d)\)|([a-h])[).:])",
    re.IGNORECASE | re.MULTILINE,
)
_PART_NAMES = ("abcdefgh", ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii"), "123456789")
_SIGN_BEFORE = re.compile(r"(?:[$=(]|\\[(\[]|\\approx)\s*(-|\\pm)\s*$")
_SIGN_ENDS = frozenset("-m")
_NOTHING_AFTER = frozenset(
    ("", ".", "\n", "\n\\", "$", "$.", "$\n", "$$", "$,", "\\)", "\\]", ".\n", "\n\n", "\n ")
)
_AFTER = re.compile(
    r"\s*+(?:\\?%|\^\s*+(?:\{\s*+)?\\circ\s*+\}?|°|!(?=\s*[$\\])"
    r"|\\(?:times|cdot)\s*10\s*\^\s*(?:\{[^{}]*\}|\d)"
    r"|\^\s*(?:\{[^{}]*\}|\w)(?=\s*[$\\.])|[+\-][\w\\{}^ ]++(?=\$)"
    r"|\\(?:pi|sqrt\s*(?:\{[^{}]*\}|\d)|[ie])(?=\s*[$\\.])|[a-z](?=\s*\$)"
    r"|(?:\\(?:text|mathrm)\s*\{|\$)?[~\s]*(?:percent|hundred|thousand|million|billion|trillion|dozen)\b\}?)"
)


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def boxed_answer(text: str) -> str | None:
    """Return the answer in the last box of a text, with the boxes that belong to it; ``None`` without a whole box."""
    boxes = _last_boxes(text)
    if not boxes:
        return None
    if len(boxes) == 1:
        return _with_surroundings(text, boxes[0])
    contents = dict.fromkeys(_with_surroundings(text, box) for box in boxes)
    return next(iter(contents)) if len(contents) == 1 else ", ".join(content.strip() for content in contents)


def _last_boxes(text: str) -> list[_Box]:
    """Return the last box, and those before it that belong to the same answer."""
    start = text.rfind("\\boxed")
    if "\\fbox" in text:
        start = max(start, text.rfind("\\fbox"))
        alone = False
    else:
        alone = text.find("\\boxed") == start or text.rfind("\\boxed", start - _FAR, start) < 0 < start - _FAR
    if start < 0:
        return []
    if alone and (box := _box_at(text, start)) is not None:
        return [box]
    boxes = _all_boxes(text)
    return _numbered(text, boxes[-_MAX_PARTS:]) or _joined(text, boxes)


def _box_at(text: str, start: int) -> _Box | None:
    """Return the braced box at a position; ``None`` if it has no braces or never closes."""
    opened = _BRACED_BOX.match(text, start)
    if opened is None:
        return None
    end = text.find("}", opened.end())
    content = text[opened.end() : end]
    if end >= 0 and "{" not in content and "\\" not in content:
        return _Box(start, end + 1, content)
    depth = 1
    for brace in _BRACE.finditer(text, opened.end()):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if not depth:
                return _Box(start, brace.end(), text[opened.end() : brace.start()])
    return None


def _all_boxes(text: str) -> list[_Box]:
    """Return every outermost box that closes."""
    found: list[_Box] = []
    open_braces: list[int] = []
    boxes: list[tuple[int, int]] = []
    first = min((place for mark in _MARKS if (place := text.find(mark)) >= 0), default=len(text))
    for match in _BOX_OR_BRACE.finditer(text, first):
        token = match[0]
        if token.startswith(("\\boxed", "\\fbox")):
            if match[1]:
                boxes.append((match.start(), len(open_braces)))
                open_braces.append(match.end())
            elif unbraced := _UNBRACED.match(text, match.end()):
                found.append(_Box(match.start(), unbraced.end(), unbraced[1].rstrip(".:!")))
        elif token == "{":
            open_braces.append(match.end())
        elif token == "}" and open_braces:
            content = open_braces.pop()
            if boxes and boxes[-1][1] == len(open_braces):
                start, _ = boxes.pop()
                while found and found[-1].start > start:
                    found.pop()
                found.append(_Box(start, match.end(), text[content : match.start()]))
    return found


def _joined(text: str, boxes: list[_Box]) -> list[_Box]:
    if not boxes:
        return []
    group = [boxes[-1]]
    for before, after in zip(boxes[-2::-1], boxes[::-1], strict=False):
        if after.start - before.end > _MAX_GAP or not _BETWEEN_BOXES.fullmatch(text, before.end, after.start):
            break
        group.insert(0, before)
    return group


def _numbered(text: str, boxes: list[_Box]) -> list[_Box]:
    """Return one box for each of the parts (a), (b), … of a question, or none if the boxes are not so numbered."""
    if len(boxes) < 2:
        return []
    by_part: dict[str, _Box] = {}
    end = len(text)
    for before, box in zip((None, *boxes[:-1])[::-1], boxes[::-1], strict=True):
        start = 0 if before is None else before.end
        label = _last_label(text, max(start, box.start - _FAR), box.start)
        if label is None and (end == len(text) or before is None):
            return []
        if label is not None:
            by_part.setdefault(label, next(other for other in boxes[::-1] if other.start < end))
            end = box.start
    names = list(by_part)[::-1]
    in_order = len(names) > 1 and any(names == list(kind[: len(names)]) for kind in _PART_NAMES)
    return list(by_part.values())[::-1] if in_order else []


def _last_label(text: str, start: int, end: int) -> str | None:
    """Return the name of the last part of a question that starts between two places."""
    marks = list(_PART.finditer(text, start, end))
    return (marks[-1][1] or marks[-1][2]).lower() if marks else None


def _with_surroundings(text: str, box: _Box) -> str:
    """Return the content of a box with a sign before it and a percent sign, a power or a scale after it."""
    content = box.content
    start, end = box.start, box.end
    after = None if text[end : end + 2] in _NOTHING_AFTER else _AFTER.match(text, end)
    signed = text[start - 3 : start].rstrip()[-1:] in _SIGN_ENDS if start > 2 else start > 0
    sign = _SIGN_BEFORE.search(text, max(0, start - 20), start) if signed else None
    if not content.strip() or not (after or sign):
        return content
    single = not re.search(r"[-+=,<>]|\\(?:text|pm|le|ge)", content.lstrip("-"))
    if not single:
        content = f"({content})"
    return f"{sign[1] if sign else ''}{content}{after[0].replace('$', '') if after else ''}"
