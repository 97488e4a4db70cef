"""``format``: check the reasoning format. Tags once and in order, numbered steps, uniform symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerdon import Row, Score
from guerdon.text import REASONING_TAGS, tag_marks, without_code
from guerdon_plugins.shared.hints import Hint
from guerdon_plugins.shared.visible import readable


class Format:
    """Scores the reasoning format that DeepSeek-R1's rule rewards ask for (arXiv 2501.12948, section 2.2).

    Every tag must be opened once and closed once, in order, adjacent, around readable content: a letter, a digit or a
    symbol, not only spaces and punctuation. Look-alikes such as ``<Think>`` or ``< think >`` count as the tag, so that
    neither a second block nor a misspelt one earns anything. The value is 1 or 0; the explanation names the faults.

    Args:
        tags: The tags, in order: names, ``think`` for ``<think>`` and ``</think>``, or an opening and a closing mark
            with a space between them, ``[THINK] [/THINK]``.
        strict: Whether text outside of the tags is a fault.
        prefilled: Whether the chat template has already opened the first tag, so that completions start inside of it.
        free_answer: Whether the final answer follows the last tag, in no tags of its own. It must have readable content
            too.
        numbered_steps: Whether the first tag must hold steps that are numbered 1, 2, 3 and so on where their lines
            start, each with readable content.
        uniform_symbols: Whether each notation (bullets, step numbers, multiplication signs, formula delimiters,
            punctuation after Chinese characters) must stay the same throughout.
        partial_credit: Whether a completion with faults gets the share of the rules that it keeps. Each tag is a rule;
            the rules beyond the tags count only where every tag is right.

    Raises:
        ValueError: ``tags`` is empty, names one twice, or holds a text that is not a tag's name.
    """

    audit_kind = "format"

    def __init__(
        self,
        tags: Sequence[str] = ("think", "answer"),
        strict: bool = True,
        prefilled: bool = False,
        free_answer: bool = False,
        numbered_steps: bool = False,
        uniform_symbols: bool = False,
        partial_credit: bool = False,
    ) -> None:
        names = [tag.lower() for tag in tags]
        if not tags or len(set(names)) < len(names):
            raise ValueError(f"tags is {list(tags)!r}; give different tags, such as [think, answer]")
        self._tags = [tag_marks(tag) for tag in tags]
        self._look_alikes = [_look_alike(*marks) for marks in self._tags]
        self._prefilled = prefilled
        self._partial_credit = partial_credit
        optional: list[tuple[bool, Callable[[_Layout], str | None]]] = [
            (strict, _no_text_outside if not free_answer else _no_text_before),
            (free_answer, _answer_after),
            (numbered_steps, _steps_numbered),
            (uniform_symbols, _symbols_uniform),
        ]
        self._rules = [_in_order, *(rule for chosen, rule in optional if chosen)]

    def prompt_hint(self, row: Row) -> Hint:
        """Return the tags that the prompt must ask for: those that models of reasoning do not write unasked."""
        known = {opening for opening, _ in map(tag_marks, REASONING_TAGS)}
        return {opening: [opening] for opening, _ in self._tags if opening not in known}

    def __call__(self, completion: str) -> Score:
        text = f"{self._tags[0][0]}{completion}" if self._prefilled else completion
        blocks = [
            _find_block(text, marks, look_alike)
            for marks, look_alike in zip(self._tags, self._look_alikes, strict=True)
        ]
        faults = [block for block in blocks if isinstance(block, str)]
        kept = _in_a_row(blocks)
        if not faults:
            layout = _Layout(text, [block for block in blocks if not isinstance(block, str)])
            faults = [fault for rule in self._rules if (fault := rule(layout)) is not None]
            kept += len(self._rules) - len(faults)
        if not faults:
            return Score(1.0)
        share = kept / (len(blocks) + len(self._rules)) if self._partial_credit else 0.0
        return Score(share, explanation="; ".join(faults))


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    end: int
    inside: str


@dataclass(frozen=True, slots=True)
class _Layout:
    text: str
    blocks: list[_Block]


def _look_alike(opening: str, closing: str) -> re.Pattern[str]:
    """Return a pattern of a tag's marks and of similar texts. Its group matches in a closing mark."""
    name = opening[1:-1]
    if (opening, closing) == (f"<{name}>", f"</{name}>"):
        return re.compile(rf"<\s*+(/?)\s*+{re.escape(name)}(?![\w-])[^<>]*+>", re.IGNORECASE)
    return re.compile(rf"({re.escape(closing)})|{re.escape(opening)}", re.IGNORECASE)


def _find_block(text: str, spellings: tuple[str, str], look_alike: re.Pattern[str]) -> _Block | str:
    """Return the tag's one block, or what is wrong with it."""
    marks = list(look_alike.finditer(text))
    opening = [mark for mark in marks if not mark[1]]
    closing = [mark for mark in marks if mark[1]]
    for found, spelling in zip((opening, closing), spellings, strict=True):
        if len(found) != 1:
            return f"{spelling} occurs {len(found)} times, not once"
        if found[0][0] != spelling:
            return f"{found[0][0][:40]} is not spelt {spelling}"
    inside = text[opening[0].end() : closing[0].start()]
    if not readable(inside):
        return f"{spellings[0]} has nothing to read"
    return _Block(opening[0].start(), closing[0].end(), inside)


def _in_a_row(blocks: Sequence[_Block | str]) -> int:
    """Return the number of right tags that follow all right tags before them."""
    kept = end = 0
    for block in blocks:
        if not isinstance(block, str) and block.start >= end:
            kept += 1
            end = block.end
    return kept


def _in_order(layout: _Layout) -> str | None:
    ends = [0, *(block.end for block in layout.blocks)]
    in_order = all(end <= block.start for end, block in zip(ends, layout.blocks, strict=False))
    return None if in_order else "the tags are not side by side in their order"


def _no_text_before(layout: _Layout) -> str | None:
    ends = [0, *(block.end for block in layout.blocks)]
    outside = "".join(
        layout.text[end : block.start] for end, block in zip(ends, layout.blocks, strict=False)
    ).strip()
    return f"{outside[:40]!r} is before or between the tags" if outside else None


def _no_text_outside(layout: _Layout) -> str | None:
    after = layout.text[layout.blocks[-1].end :].strip()
    return f"{after[:40]!r} is after the tags" if after else _no_text_before(layout)


def _answer_after(layout: _Layout) -> str | None:
    return None if readable(layout.text[layout.blocks[-1].end :]) else "no answer follows the tags"


_STEP = re.compile(
    r"^(?:#{1,6}[ ])?\*{0,2}(?:(\d{1,4})[.)](?=[\s*])|step[ ](\d{1,4})\b|第(\d{1,4})步|步骤[ ]?(\d{1,4}))",
    re.MULTILINE | re.IGNORECASE,
)


def _steps_numbered(layout: _Layout) -> str | None:
    reasoning = without_code(layout.blocks[0].inside)
    steps = list(_STEP.finditer(reasoning))
    if not steps:
        return "no step of the reasoning is numbered"
    ends = [*(step.start() for step in steps[1:]), len(reasoning)]
    for expected, (step, end) in enumerate(zip(steps, ends, strict=True), start=1):
        number = int(next(filter(None, step.groups())))
        if number != expected:
            return f"step {expected} of the reasoning has the number {number}"
        if not readable(reasoning[step.end() : end]):
            return f"step {expected} of the reasoning is empty"
    return None


# Only one notation of each family may occur. Patterns apply to the text outside code.
_NOTATIONS = {
    "list bullets": {mark: rf"^[ \t]*+{re.escape(mark)}[ \t]++\S" for mark in "-*+•"},
    "step numbers": {
        "1.": r"^\d{1,4}\.\s",
        "1)": r"^\d{1,4}\)\s",
        "Step 1": r"^(?:#{1,6} )?\*{0,2}step \d",
        "第1步": r"^第\d",
        "步骤1": r"^步骤",
    },
    "multiplication signs": {
        "×": r"\d ?× ?\d",
        "*": r"\d ?\* ?\d",
        "·": r"\d ?[·⋅] ?\d",
        "\\times": r"\\times\b",
        "\\cdot": r"\\cdot\b",
    },
    "formula delimiters": {"$": r"(?<![\\$\w])\$(?=\S)[^$\n]++(?<=\S)\$(?!\d)", "\\(": r"\\\("},
    "punctuation after Chinese characters": {
        "full width": r"[\u4e00-\u9fff][，。；：？！]",
        "half width": r"[\u4e00-\u9fff][,;:?!]",
    },
}
_PATTERNS = {
    family: {name: re.compile(pattern, re.MULTILINE | re.IGNORECASE) for name, pattern in notations.items()}
    for family, notations in _NOTATIONS.items()
}


def _symbols_uniform(layout: _Layout) -> str | None:
    after = layout.text[layout.blocks[-1].end :]
    prose = without_code("\n".join([*(block.inside for block in layout.blocks), after]))
    for family, patterns in _PATTERNS.items():
        used = [name for name, pattern in patterns.items() if pattern.search(prose)]
        if len(used) > 1:
            return f"the {family} are not uniform: {' and '.join(used)}"
    return None
