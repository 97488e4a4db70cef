"""The steps of a completion, and their tokens, for process reward models. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guerdon import Messages
from guerdon.errors import UsageError

__all__ = ["StepTokens", "steps_of", "tokens_of_steps"]


@dataclass(frozen=True, slots=True)
class StepTokens:
    """A prompt with its steps, as a process reward model reads them."""

    ids: list[int]
    ends: list[int]
    """The index of each step's last token, where the model says how good the step is."""


def steps_of(text: str, separator: str) -> list[tuple[int, int]]:
    """Return the places of a text's steps: the texts between separators, without white space around them.

    Returns:
        The start of each step, and the place after its end. Empty steps are left out.
    """
    places = []
    start = 0
    for end, after in [
        *((found.start(), found.end()) for found in re.finditer(re.escape(separator), text)),
        (len(text), 0),
    ]:
        step = text[start:end]
        if stripped := step.strip():
            first = start + len(step) - len(step.lstrip())
            places.append((first, first + len(stripped)))
        start = after
    return places


def tokens_of_steps(
    tokenizer: Any, prompt: str | Messages, steps: Sequence[str], separator: str
) -> StepTokens:
    """Return the tokens of a prompt and of its steps, with the separator after each step.

    Args:
        tokenizer: The model's.
        prompt: A text, or messages, which need a chat template.
        steps: The steps' texts.
        separator: The text after each step.

    Raises:
        UsageError: The prompt is a conversation, and the tokenizer has no chat template.
    """
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
        if ids and ids[-1] == tokenizer.eos_token_id:  # some tokenizers end each text
            ids.pop()
    elif tokenizer.chat_template is None:
        raise UsageError(
            "the prompts are conversations, and the process reward model has no chat template. Set the param "
            "'chat_template' to a Jinja template."
        )
    else:
        ids = list(
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        )
    ends = []
    for step in steps:
        ids += tokenizer(step + separator, add_special_tokens=False)["input_ids"]
        ends.append(len(ids) - 1)
    return StepTokens(ids, ends)
