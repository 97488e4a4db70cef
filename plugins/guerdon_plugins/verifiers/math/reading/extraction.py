"""Finding the answer in a completion, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from guerdon.text import GPT_OSS, REASONING_TAGS, split_reasoning
from guerdon_plugins.verifiers.math.reading.boxes import boxed_answer
from guerdon_plugins.verifiers.math.reading.emphasis import in_bold
from guerdon_plugins.verifiers.math.reading.ending import stated_at_the_end, statement, without_closing
from guerdon_plugins.verifiers.math.reading.headings import under_heading

Mode = Literal["boxed", "answer", "hashes", "line", "end", "whole", "auto"]
"""Where the answer is: the last ``\\boxed``; the last ``<answer>`` element; after the last ``####``; in the last line
that starts "Answer:"; what the last sentence states; the whole text; or the first place from ``boxed`` to ``end`` that
has one."""

MAX_CHARACTERS = 1_000_000
"""Of a longer completion only the end is searched."""

_BETWEEN_TAGS = ("<answer>", "</answer>")
_LINE = re.compile(
    r"^[^\S\n]*+(?:[*_`#>•-]++[^\S\n]*+)*+(?:(?:so|thus|therefore|hence|then|and|the|my|our|final|correct),?[^\S\n]++)*+"
    r"(?:answer|最终答案|答案|答|故选|选)[^\S\n]*+[*_`]*+[^\S\n]*+(?:[:：]|\bis\b[^\S\n]*+:?|=|[是为][:：]?|$)[^\S\n]*+(.*+)$",
    re.IGNORECASE | re.MULTILINE,
)
_MARKDOWN = "*_` \t\r"
_OPENINGS = ("$$", "\\[")
"""What is alone on a line where a display begins."""


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


def extract(
    completion: str, mode: Mode = "boxed", reasoning_tags: tuple[str, ...] = REASONING_TAGS
) -> Extraction:
    """Find the answer of a completion: after the reasoning, in the place that ``mode`` names.

    Raises:
        ValueError: ``mode`` is not one of the valid ones, or a tag is not a tag.
    """
    check_mode(mode)
    text = completion[-MAX_CHARACTERS:]
    if _may_hold_reasoning(text, reasoning_tags):
        reasoning, text = split_reasoning(text, reasoning_tags)
        if reasoning and not text:
            return Extraction(None, "the reasoning never ends, or nothing follows it")
    for finder in _FINDERS[mode]:
        answer = finder(text)
        if answer is not None:
            return Extraction(answer) if answer.strip() else Extraction(None, "the answer is empty")
    return Extraction(None, _MISSING[mode])


@cache
def _endings(tags: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts of which a completion with one of the tags holds at least one: those that end in ``>``, and others."""
    found = {"assistantfinal"} if GPT_OSS in tags else set()
    for tag in tags:
        if tag == GPT_OSS:
            found.add("channel|>")
            continue
        for mark in tag.lower().split() if " " in tag else (f"{tag.lower()}>", f"{tag.lower()} >"):
            found.add(mark[-8:])
    found = {mark for mark in found if not any(other != mark and other in mark for other in found)}
    pointed = tuple(sorted(mark for mark in found if ">" in mark))
    return pointed, tuple(sorted({mark[-6:] for mark in found.difference(pointed)}))


def _may_hold_reasoning(text: str, tags: tuple[str, ...]) -> bool:
    """Return whether to look for tags at all: a cheap test, because most completions hold none."""
    pointed, others = _endings(tags)
    lowered = text.lower()
    is_ascii = lowered.isascii()
    for mark in others:
        if (mark.isascii() or not is_ascii) and mark in lowered:
            return True
    return ">" in lowered and any(mark in lowered for mark in pointed)


def _tagged(text: str) -> str | None:
    opened, closed = _BETWEEN_TAGS
    end = text.rfind(closed)
    if end < 0 and "answer>" in text.lower():
        text = re.sub(r"(?i)<(/?)answer>", r"<\1answer>", text)
        end = text.rfind(closed)
    start = text.rfind(opened, 0, end) if end >= 0 else -1
    if start < 0:
        return None
    inner = text[start + len(opened) : end]
    boxed = boxed_answer(inner)
    if boxed is not None:
        return boxed
    named = _line(inner) if "\n" in inner.strip() else None
    return inner if named is None else named


def _after_hashes(text: str) -> str | None:
    _, mark, after = text.rpartition("####")
    return after.lstrip(_MARKDOWN + "\n").partition("\n")[0].strip(_MARKDOWN) if mark else None


def _line(text: str) -> str | None:
    matches = list(_LINE.finditer(text))
    if not matches:
        return None
    found = without_closing(matches[-1][1])
    if found.count("**") % 2:  # the bold part began before the words
        found = f"**{found}"
    found = in_bold(found).strip(_MARKDOWN)
    if not found:
        found = under_heading(text[matches[-1].end() :])
    elif found in _OPENINGS:
        found = under_heading(text[matches[-1].start(1) :])
    boxed = boxed_answer(found)
    return found if boxed is None else boxed


def _line_or_end(text: str) -> str | None:
    """Return what a line "Answer: …" says, or a sentence after it: a later statement revises an earlier one."""
    lines = list(_LINE.finditer(text))
    later = statement(text) if lines else None
    if lines and (later is None or later[0] < lines[-1].start(1)):
        return _line(text)
    return stated_at_the_end(text)


_FINDERS: dict[str, tuple[Callable[[str], str | None], ...]] = {
    "boxed": (boxed_answer,),
    "answer": (_tagged,),
    "hashes": (_after_hashes,),
    "line": (_line,),
    "end": (stated_at_the_end,),
    "whole": (str,),
    "auto": (boxed_answer, _tagged, _after_hashes, _line_or_end),
}
_MISSING = {
    "boxed": "there is no complete \\boxed{…}",
    "answer": "there is no <answer>…</answer>",
    "hashes": "there is no ####",
    "line": 'no line starts with "Answer:"',
    "end": "the last sentence states no answer",
    "whole": "the completion is empty",
    "auto": "no answer is marked or stated at the end: no \\boxed{…}, <answer>, ####, Answer: line or last formula",
}
