"""Finding the answer in a completion, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Mode = Literal["boxed", "answer", "hashes", "line", "whole", "auto"]
"""Where the answer stands: the last ``\\boxed``; the last ``<answer>`` element; after the last ``####``; in the last
line that starts "Answer:"; the whole text; or the first of the marks ``boxed`` to ``line`` that is there."""

MAX_CHARACTERS = 1_000_000
"""Of a longer completion only the end is searched."""

_BRACED_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*(\{)?|\\(?!\\(?:boxed|fbox)).|[{}]", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\s*([^\s{}$\\,;]+|\\[a-zA-Z]+)")
_BETWEEN_BOXES = re.compile(
    r"(?:\s|\$|\\[()\[\],;:!]|\\q?quad|[.,;:&]|\\\\|\band\b|\bor\b|\\(?:text|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}|和|或|、|，)*"
    r"(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
    r"|[^.\n]{,40}\b(?:and|or)\b[\s}$]*(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
)
_MAX_GAP = 60
_FAR = 10_000
"""A box this far before the last one neither encloses it nor belongs to it."""
_BETWEEN_TAGS = ("<answer>", "</answer>")
_LINE = re.compile(
    r"^[^\S\n]*[*_#]*(?:final )?answer[*_]*\s*(?::|is)[*_\s:]*(\S.*)$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer of a completion, or why there is none."""

    answer: str | None
    problem: str = ""


def check_mode(mode: str) -> None:
    """Check the name of a mode.

    Raises:
        ValueError: There is no such mode.
    """
    if mode not in _FINDERS:
        raise ValueError(f"extraction must be one of {', '.join(_FINDERS)}: {mode!r}")


def extract(completion: str, mode: Mode = "boxed") -> Extraction:
    """Find the answer of a completion: after the reasoning, in the place that ``mode`` names.

    Raises:
        ValueError: ``mode`` is none of the valid ones.
    """
    check_mode(mode)
    text = completion[-MAX_CHARACTERS:]
    if "think>" in text:
        text = text[text.rfind("</think>") + len("</think>") :] if "</think>" in text else text
        if "<think>" in text:
            return Extraction(None, "the reasoning in <think> never ends")
    for finder in _FINDERS[mode]:
        answer = finder(text)
        if answer is not None:
            return Extraction(answer) if answer.strip() else Extraction(None, "the answer is empty")
    return Extraction(None, _MISSING[mode])


def _boxed(text: str) -> str | None:
    boxes = _last_boxes(text)
    if not boxes:
        return None
    distinct = list(dict.fromkeys(box.strip() for box in boxes))
    return distinct[0] if len(distinct) == 1 else ", ".join(distinct)


def _last_boxes(text: str) -> list[str]:
    """The contents of the last box, and of those before it that only punctuation, "and" or "or" separate from it."""
    start = _last_command(text, len(text))
    if start < 0:
        return []
    before = _last_command(text, start)
    if (before < 0 or start - before > _FAR) and (box := _box_at(text, start)) is not None:
        return [box]
    return _joined(text, _all_boxes(text))


def _last_command(text: str, end: int) -> int:
    box = text.rfind("\\boxed", 0, end)
    return max(box, text.rfind("\\fbox", 0, end)) if "\\fbox" in text else box


def _box_at(text: str, start: int) -> str | None:
    """The content of the braced box at a position; ``None`` if it has no braces or never closes."""
    opened = _BRACED_BOX.match(text, start)
    if opened is None:
        return None
    content, closed, _ = text[opened.end() :].partition("}")
    if closed and "{" not in content and "\\" not in content:
        return content
    depth = 1
    for brace in _BRACE.finditer(text, opened.end()):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if not depth:
                return text[opened.end() : brace.start()]
    return None


def _all_boxes(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every outermost box that closes."""
    found: list[tuple[int, int, str]] = []
    open_braces: list[int] = []
    boxes: list[tuple[int, int]] = []
    for match in _BOX_OR_BRACE.finditer(text):
        token = match[0]
        if token.startswith(("\\boxed", "\\fbox")):
            if match[1]:
                boxes.append((match.start(), len(open_braces)))
                open_braces.append(match.end())
            elif unbraced := _UNBRACED.match(text, match.end()):
                found.append((match.start(), unbraced.end(), unbraced[1].rstrip(".:!")))
        elif token == "{":
            open_braces.append(match.end())
        elif token == "}" and open_braces:
            content = open_braces.pop()
            if boxes and boxes[-1][1] == len(open_braces):
                start, _ = boxes.pop()
                while found and found[-1][0] > start:
                    found.pop()
                found.append((start, match.end(), text[content : match.start()]))
    return found


def _joined(text: str, boxes: list[tuple[int, int, str]]) -> list[str]:
    if not boxes:
        return []
    group = [boxes[-1][2]]
    for (_, end, content), (start, *_) in zip(boxes[-2::-1], boxes[::-1], strict=False):
        if start - end > _MAX_GAP or not _BETWEEN_BOXES.fullmatch(text, end, start):
            break
        group.insert(0, content)
    return group


def _tagged(text: str) -> str | None:
    opened, closed = _BETWEEN_TAGS
    end = text.rfind(closed)
    start = text.rfind(opened, 0, end) if end >= 0 else -1
    if start < 0:
        return None
    inner = text[start + len(opened) : end]
    boxed = _boxed(inner)
    return inner if boxed is None else boxed


def _after_hashes(text: str) -> str | None:
    _, mark, after = text.rpartition("####")
    return after.strip().partition("\n")[0] if mark else None


def _line(text: str) -> str | None:
    matches = _LINE.findall(text)
    return matches[-1] if matches else None


_FINDERS: dict[str, tuple[Callable[[str], str | None], ...]] = {
    "boxed": (_boxed,),
    "answer": (_tagged,),
    "hashes": (_after_hashes,),
    "line": (_line,),
    "whole": (str,),
    "auto": (_boxed, _tagged, _after_hashes, _line),
}
_MISSING = {
    "boxed": "there is no complete \\boxed{…}",
    "answer": "there is no <answer>…</answer>",
    "hashes": "there is no ####",
    "line": 'no line starts with "Answer:"',
    "whole": "the completion is empty",
    "auto": "no answer is marked: no \\boxed{…}, <answer>, #### or Answer: line",
}
