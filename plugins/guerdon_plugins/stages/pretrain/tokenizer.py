"""A byte-level BPE tokenizer for a small model, trained on its corpus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, PAD, SYSTEM, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"

# The generation markers show trainers which tokens the model wrote.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
  {{- '<|' + message['role'] + '|>' -}}
  {%- if message['role'] == 'assistant' -%}
    {%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}
  {%- else -%}{{- message['content'] -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

TOOL, CALL, END_CALL = "<|tool|>", "<tool_call>", "</tool_call>"
"""The tokens of documents with calls of tools, besides those of all documents."""

# As CHAT_TEMPLATE. A small model learns the tools from the documents, so the prompt does not list them.
TOOL_CHAT_TEMPLATE = """\
{%- for message in messages -%}
  {{- '<|' + message['role'] + '|>' -}}
  {%- if message['role'] == 'assistant' -%}
    {%- generation -%}
      {{- message['content'] or '' -}}
      {%- for call in message['tool_calls'] or [] -%}
        {{- '<tool_call>{"name": "' + call['function']['name'] + '", "arguments": ' -}}
        {{- call['function']['arguments'] | tojson -}}{{- '}</tool_call>' -}}
      {%- endfor -%}
      {{- '<|end|>' -}}
    {%- endgeneration -%}
  {%- else -%}{{- message['content'] -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": ASSISTANT,
    "fields": {
        "tool_calls": {
            "open": CALL,
            "close": END_CALL,
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": END, "content": "text"},
    },
}
"""How transformers' ``parse_response`` reads a reply of ``TOOL_CHAT_TEMPLATE``."""

# Runs of digits are separate, so that a number has the same tokens after a space, a bracket or a Chinese word. Words
# keep
# the space on either side, which halves the number of tokens in a small corpus.
_WORDS = r"\d+| ?[^\s\d]+ ?|\s+"


def check_vocabulary(vocab_size: int, added_tokens: Sequence[str]) -> None:
    """Check that a vocabulary has room for the bytes, the special tokens, the numbers and the added tokens.

    Raises:
        ValueError: The vocabulary is too small.
    """
    smallest = 256 + len((END, PAD, SYSTEM, USER, ASSISTANT)) + len(range(10, 100)) + len(added_tokens)
    if vocab_size < smallest:
        raise ValueError(f"vocab_size is {vocab_size}, and needs at least {smallest}.")


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, added_tokens: Sequence[str] = (), *, tools: bool = False
) -> PreTrainedTokenizerFast:
    """Train a tokenizer whose numbers below 100 are one token each, with a chat template.

    A small model learns sums of whole numbers much earlier than sums of digits.

    Args:
        texts: The texts to learn words from.
        vocab_size: The total number of tokens; fewer if the texts have few words.
        added_tokens: Strings that are always one token and still text, such as tags.
        tools: Whether the chat template has calls of tools, and the tokenizer reads them.

    Raises:
        ValueError: The vocabulary has no room for the bytes, the numbers and the added tokens.
    """
    from transformers import PreTrainedTokenizerFast

    if tools:
        added_tokens = [*added_tokens, *(token for token in (CALL, END_CALL) if token not in added_tokens)]
        vocab_size -= 1  # the special token of results
    check_vocabulary(vocab_size, added_tokens)
    special_tokens = [END, PAD, SYSTEM, USER, ASSISTANT]
    numbers = [str(number) for number in range(10, 100)]
    trained_size = vocab_size - len(numbers) - len(added_tokens)
    trainer = trainers.BpeTrainer(
        vocab_size=trained_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner = _tokenizer(models.BPE())
    apart = re.compile("|".join(map(re.escape, added_tokens)) + r"|\d+")
    pieces = (piece for text in texts for piece in apart.split(text) if piece)
    learner.train_from_iterator(pieces, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocab = learned["vocab"] | {number: len(learned["vocab"]) + i for i, number in enumerate(numbers)}
    merges = [tuple(merge) for merge in learned["merges"]] + [(number[0], number[1]) for number in numbers]
    tokenizer = _tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.add_special_tokens(special_tokens)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added_tokens])
    if tools:
        tokenizer.add_special_tokens([TOOL])
    fast: Any = PreTrainedTokenizerFast  # its constructor carries no types
    result: PreTrainedTokenizerFast = fast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=TOOL_CHAT_TEMPLATE if tools else CHAT_TEMPLATE,
        **({"response_template": RESPONSE_TEMPLATE} if tools else {}),
    )
    return result


def _tokenizer(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
