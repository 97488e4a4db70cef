"""``readable``: check for overlong paragraphs and chaotic code blocks."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon import Score
from guerdon.text import (
    Part,
    checked_tags,
    code_blocks,
    select_part,
    without_code,
    words,
)
from guerdon_plugins.shared.visible import without_invisible


class Readable:
    """Scores 1 for a readable text, else 0: the filter of DeepSeek-R1's samples.

    Source: arXiv 2501.12948, section 2.3.3. DeepSeek-R1 also drops mixed languages; use ``language`` for those. A text
    without a word is not readable. A block of code that is never closed always counts as chaotic.

    Args:
        max_paragraph_words: The longest paragraph, in words (a Chinese or Japanese character is one); code does not
            count. Paragraphs end at a blank line.
        max_code_blocks: The most fenced blocks of code.
        part: The part to judge: the reasoning, the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: A bound is out of range.
    """

    def __init__(
        self,
        max_paragraph_words: int = 300,
        max_code_blocks: int = 0,
        part: Part = "whole",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if max_paragraph_words < 1:
            raise ValueError(f"max_paragraph_words is {max_paragraph_words}: give 1 or more.")
        if max_code_blocks < 0:
            raise ValueError(f"max_code_blocks is {max_code_blocks}: give 0 or more.")
        self._max_words = max_paragraph_words
        self._max_blocks = max_code_blocks
        self._part = part
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str) -> Score:
        text = without_invisible(select_part(completion, self._part, self._tags))
        blocks = code_blocks(text)
        if any(not block.closed for block in blocks):
            return Score(0.0, explanation="a block of code is never closed")
        if len(blocks) > self._max_blocks:
            return Score(0.0, explanation=f"{len(blocks)} blocks of code, more than {self._max_blocks}")
        paragraphs = without_code(text).split("\n\n")
        longest = max(len(words(paragraph)) for paragraph in paragraphs)
        if longest > self._max_words:
            return Score(0.0, explanation=f"a paragraph of {longest} words, more than {self._max_words}")
        if longest == 0 and not blocks:
            return Score(0.0, explanation="there are no words")
        return Score(1.0, explanation=f"the longest paragraph has {longest} words")
