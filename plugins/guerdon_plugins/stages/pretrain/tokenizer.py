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
    texts: Iterable[str], vocab_size: int, added_tokens: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Train a tokenizer whose numbers below 100 are one token each, with a chat template.

    A small model learns sums of whole numbers much earlier than sums of digits.

    Args:
        texts: The texts to learn words from.
        vocab_size: The total number of tokens; fewer if the texts have few words.
        added_tokens: Strings that are always one token and still text, such as tags.

    Raises:
        ValueError: The vocabulary has no room for the bytes, the numbers and the added tokens.
    """
    from transformers import PreTrainedTokenizerFast

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
    fast: Any = PreTrainedTokenizerFast  # its constructor carries no types
    result: PreTrainedTokenizerFast = fast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, chat_template=CHAT_TEMPLATE
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
