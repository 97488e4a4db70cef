"""Completions of a model for a list of prompts, by transformers' generate, in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from guerdon.types import Messages


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn, by TRL's names."""

    max_completion_length: int
    """In tokens."""
    temperature: float
    """0 takes the likeliest token every time."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for no such limit."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion."""

    text: str
    ids: Sequence[int]
    """With the token that ends it, where it ends."""


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Messages],
    sampling: Sampling,
    batch_size: int,
    seed: int,
) -> Iterator[list[Completion]]:
    """Complete every prompt once, batch by batch in their order; the same for the same arguments.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer, which pads on the left.
        prompts: Texts or conversations.
        sampling: How to draw.
        batch_size: Prompts that are completed side by side.
        seed: Of the draws.
    """
    ends = _end_ids(model, tokenizer)
    options: Any = GenerationConfig  # its constructor carries no types
    config = options(
        max_new_tokens=sampling.max_completion_length,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        **(
            {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
            }
            if sampling.temperature > 0
            else {"do_sample": False}
        ),
    )
    model.eval()
    torch.manual_seed(seed)
    for start in range(0, len(prompts), batch_size):
        inputs = _encode(tokenizer, prompts[start : start + batch_size]).to(model.device)
        output = model.generate(**inputs, generation_config=config)
        ids = [_until_end(row, ends) for row in output[:, inputs["input_ids"].shape[1] :].tolist()]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        yield [Completion(text, tokens) for text, tokens in zip(texts, ids, strict=True)]


def _encode(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str | Messages]) -> Any:
    template: Any = tokenizer.apply_chat_template
    ids = [
        tokenizer(prompt)["input_ids"]
        if isinstance(prompt, str)
        else template(prompt, add_generation_prompt=True, return_dict=False)
        for prompt in prompts
    ]
    return tokenizer.pad({"input_ids": ids}, return_tensors="pt")


def _end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    own = model.generation_config.eos_token_id
    ends = own if isinstance(own, list) else [own, tokenizer.eos_token_id]
    return {token for token in ends if token is not None}


def _until_end(ids: list[int], ends: Collection[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
