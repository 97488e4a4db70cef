"""Check whether a completion presents a program in the requested form."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon import Row
from guerdon.text import checked_tags, code_blocks, last_tagged, split_reasoning, tag_marks
from guerdon_plugins.shared.hints import Hint
from guerdon_plugins.shared.visible import without_invisible


class CodeFormat:
    """1 if the answer after the reasoning holds a complete fenced block of the language, else 0."""

    def __init__(
        self,
        language: str = "python",
        reasoning: bool = True,
        answer_tag: str | None = None,
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        """Set the requested form.

        Args:
            language: The word after the fence's opening.
            reasoning: Whether there must be reasoning before the answer.
            answer_tag: The tag that must hold the block: ``answer`` for open-r1's format.
            reasoning_tags: The tags around reasoning, spelt as in :data:`guerdon.text.REASONING_TAGS`.

        Raises:
            ValueError: The language is empty.
        """
        if not language.strip():
            raise ValueError("language is empty; give the word that follows the fence's opening")
        self._language = language.strip().lower()
        self._reasoning = reasoning
        self._answer_tag = answer_tag
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str) -> bool:
        reasoning, answer = split_reasoning(completion, self._tags)
        if self._reasoning and not reasoning:
            return False
        text = answer if self._answer_tag is None else last_tagged(answer, self._answer_tag)
        return text is not None and any(
            block.closed and block.language == self._language and without_invisible(block.code).strip()
            for block in code_blocks(text)
        )

    def prompt_hint(self, row: Row) -> Hint:
        """Return the tag around the program, which the prompt must ask for."""
        opening = f"<{self._answer_tag}>"
        return {} if self._answer_tag is None else {opening: [opening]}

    def gold_completion(self, reference: object) -> str | None:
        """Return a completion in the requested form, around a program."""
        if not isinstance(reference, str):
            return None
        opening, closing = tag_marks(self._tags[0])
        block = f"```{self._language}\n{reference}\n```"
        answer = (
            block if self._answer_tag is None else f"<{self._answer_tag}>\n{block}\n</{self._answer_tag}>"
        )
        return f"{opening}\nThe program follows.\n{closing}\n{answer}"
