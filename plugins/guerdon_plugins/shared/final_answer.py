r"""Find the final answer: in ``\boxed``, in ``<answer>`` tags, after ``####``, in a line "Answer: …"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from guerdon.text import split_reasoning

Place: TypeAlias = Literal["auto", "boxed", "answer", "hashes", "line", "whole"]
r"""The place of the answer: the last ``\boxed`` (``boxed``), the last ``<answer>`` element (``answer``), after the last
``####`` (``hashes``), the last line "Answer: …" (``line``), all text after the reasoning (``whole``), or the first of
these that is there (``auto``)."""

MAX_CHARACTERS = 1_000_000
"""The part of a longer completion that is searched: its end."""

FORMS = {
    "auto": "Answer: {}",
    "boxed": "\\boxed{{{}}}",
    "answer": "<answer>{}</answer>",
    "hashes": "#### {}",
    "line": "Answer: {}",
    "whole": "{}",
}
"""The form of an answer in each place."""


class FinalAnswer(NamedTuple):
    """The answer of a completion, or the reason for its absence."""

    text: str | None
    problem: str = ""


def check_place(place: str) -> None:
    """Check the name of a place.

    Raises:
        ValueError: There is no such place.
    """
    if place not in FORMS:
        raise ValueError(f"extraction is {place!r}; give one of {', '.join(FORMS)}")


def final_answer(completion: str, place: Place, tags: Sequence[str]) -> FinalAnswer:
    r"""Return the answer of a completion, in time linear in its length.

    Only text after the reasoning counts. Marks on one line belong to one answer: ``\boxed{A} or \boxed{B}`` is the
    answer ``A, B``. Of marks on different lines, the last counts.

    Args:
        completion: The model's text.
        place: The place of the answer.
        tags: The tags around reasoning, spelt as in ``guerdon.text.REASONING_TAGS``.
    """
    reasoning, text = split_reasoning(completion[-MAX_CHARACTERS:], tags)
    if reasoning and not text:
        return FinalAnswer(None, "the reasoning never ends, or nothing follows it")
    for find in _FINDERS[place]:
        answer = find(text)
        if answer is not None:
            return FinalAnswer(answer) if answer.strip() else FinalAnswer(None, "the answer is empty")
    return FinalAnswer(None, "the answer is empty" if place in ("auto", "whole") else f"no {_NAMES[place]}")


_TEX_WORDS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|boldsymbol|mathsf|mbox)\s*+\{([^{}]*+)\}")
_TEX_FORMULA = re.compile(r"\\[(\[]\s*+([^\\]*+)\\[)\]]")


_EMPHASIS = re.compile(r"\s*+([*_]{1,3})(?![\s*_])([^*_]++)(?<!\s)\1\s*+")


def without_markup(answer: str) -> str:
    r"""Return an answer without TeX around its words or emphasis around it: ``**\text{Paris}**`` is ``Paris``."""
    emphasized = _EMPHASIS.fullmatch(answer)
    return _TEX_FORMULA.sub(r"\1", _TEX_WORDS.sub(r"\1", emphasized[2] if emphasized else answer))


def _joined(contents: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(content.strip() for content in contents))


_BOX_OR_BRACE = re.compile(r"\\boxed(?![A-Za-z])\s*+(\{)?|\\.|[{}]", re.DOTALL)


def _boxed(text: str) -> str | None:
    """Return the content of the boxes on the line of the last one that closes."""
    first = text.find("\\boxed")
    if first < 0:
        return None
    open_braces: list[tuple[int, bool]] = []
    boxes: list[tuple[int, int]] = []
    for mark in _BOX_OR_BRACE.finditer(text, first):
        if mark[0] == "{" or mark[1]:
            open_braces.append((mark.end(), mark[1] is not None))
        elif mark[0] == "}" and open_braces:
            start, is_box = open_braces.pop()
            if is_box and not (boxes and boxes[-1][0] > start):  # of nested boxes, the inner one counts
                boxes.append((start, mark.start()))
    return _on_last_line(text, boxes)


def _on_last_line(text: str, places: Sequence[tuple[int, int]]) -> str | None:
    if not places:
        return None
    line_start = text.rfind("\n", 0, places[-1][0]) + 1
    return _joined([text[start:end] for start, end in places if start >= line_start])


_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)


def _tagged(text: str) -> str | None:
    places: list[tuple[int, int]] = []
    opened: int | None = None
    for mark in _ANSWER.finditer(text):
        if not mark[1]:
            opened = mark.end()
        elif opened is not None:
            places.append((opened, mark.start()))
            opened = None
    found = _on_last_line(text, places)
    if found is None:
        return None
    boxed = _boxed(found)
    return found if boxed is None else boxed


_MARKDOWN = "*_` \t\r"


def _after_hashes(text: str) -> str | None:
    _, mark, after = text.rpartition("####")
    return after.lstrip(_MARKDOWN + "\n").partition("\n")[0].strip(_MARKDOWN) if mark else None


_LINE = re.compile(
    r"^[^\S\n]*+(?:[*_`#>•-]++[^\S\n]*+)*+"
    r"(?:(?:so|thus|therefore|hence|then|and|the|my|our|final|correct|la|le|die|das|richtige)\b,?[^\S\n]*+)*+"
    r"(?:answer|answers|antwort|réponse|respuesta|resposta|risposta|antwoord|ответ|الإجابة|الجواب|उत्तर|答え|正解|回答"
    r"|정답|답|最终答案|正确答案|答案|答)[^\S\n]*+[*_`]*+[^\S\n]*+"
    r"(?:[:：]|\b(?:is|ist|lautet|est|es|é|è)\b[^\S\n]*+:?|=|是|为|は|은|는)[^\S\n]*+(.*+)$",
    re.IGNORECASE | re.MULTILINE,
)


def _line(text: str) -> str | None:
    matches = list(_LINE.finditer(text))
    if not matches:
        return None
    found = matches[-1][1].strip(_MARKDOWN)
    if not found:
        found = text[matches[-1].end() :].lstrip().partition("\n")[0].strip(_MARKDOWN)
    boxed = _boxed(found)
    return found if boxed is None else boxed


_FINDERS: dict[str, tuple[Callable[[str], str | None], ...]] = {
    "boxed": (_boxed,),
    "answer": (_tagged,),
    "hashes": (_after_hashes,),
    "line": (_line,),
    "whole": (str,),
    "auto": (_boxed, _tagged, _after_hashes, _line, str),
}
_NAMES = {
    "boxed": "complete \\boxed{…}",
    "answer": "<answer>…</answer>",
    "hashes": "####",
    "line": 'line that starts with "Answer:"',
}
