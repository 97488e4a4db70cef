"""The prompts of a model in this process: conversations as token ids."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.generation import Draw, Prompt

__all__ = ["MODELS_OWN", "ChatFormat", "all_prompt_ids", "refuse_too_long", "until_end"]

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How conversations become a model's text."""

    template: str | None = None
    """A Jinja template, instead of the tokenizer's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of the template, besides the messages."""


MODELS_OWN = ChatFormat()
"""The format of the model's tokenizer."""


def refuse_too_long(
    prompt_ids: Sequence[Sequence[int]], positions: int | None
) -> Generator[tuple[int, Completion], None, list[int]]:
    """Yield refusals of prompts that leave no position for a completion, and return the numbers of the other draws."""
    fitting = []
    for place, ids in enumerate(prompt_ids):
        if ids and (positions is None or len(ids) < positions):
            fitting.append(place)
            continue
        reason = f"the prompt has {len(ids)} tokens, and the model takes 1 to {(positions or 0) - 1}"
        yield (
            place,
            Completion("", [], 0, finished=False, refused=reason if ids else "the prompt has no tokens"),
        )
    return fitting


def all_prompt_ids(
    tokenizer: PreTrainedTokenizerBase, draws: Sequence[Draw], chat_format: ChatFormat
) -> list[list[int]]:
    """Return the prompt ids of each draw. Samples of one prompt are adjacent, so it is tokenized once."""
    ids: list[list[int]] = []
    for number, draw in enumerate(draws):
        again = number > 0 and draw.prompt is draws[number - 1].prompt
        ids.append(ids[-1] if again else _prompt_ids(tokenizer, draw.prompt, chat_format))
    return ids


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, chat_format: ChatFormat) -> list[int]:
    template: Any = tokenizer.apply_chat_template
    ids: list[int] = (
        tokenizer(prompt)["input_ids"]
        if isinstance(prompt, str)
        else template(list(prompt), add_generation_prompt=True, return_dict=False, **chat_format.options)
    )
    return ids


def until_end(ids: list[int], ends: Collection[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
