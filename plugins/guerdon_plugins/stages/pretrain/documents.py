"""Tokenize rows of any source for pretraining, and batch documents of similar lengths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from guerdon.errors import DataError
from guerdon.types import Messages, Row

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

Text = str | Messages
"""A plain text, or a conversation."""

_POOL = 64
"""Batches whose documents are sorted by length together: enough for little padding, few enough to mix documents."""

_ENCODED = 1000
"""Documents that are tokenized together."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Document:
    """One document's tokens."""

    ids: Sequence[int]
    learned: Sequence[int]
    """1 where the loss counts: the replies of a conversation, or all of a plain text; else 0."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents padded on the right to the longest."""

    ids: Tensor
    """Shape (documents, tokens)."""
    learned: Tensor
    """Where the loss counts: bool, shape (documents, tokens)."""


def document_text(row: Row) -> Text:
    """Return the document in a row of one of TRL's forms: ``text``, ``messages``, or ``prompt`` and ``completion``.

    Raises:
        DataError: The row has none of them.
    """
    match row:
        case {"text": str(text)}:
            return text
        case {"messages": [*messages]}:
            return messages
        case {"prompt": str(prompt), "completion": str(completion)}:
            return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        case {"prompt": [*prompt], "completion": [*completion]}:
            return [*prompt, *completion]
    raise DataError(
        f"a row has the columns {', '.join(sorted(row)) or '(none)'}: pretraining needs 'text', 'messages', or "
        "'prompt' and 'completion', both strings or both messages."
    )


def plain_texts(text: Text) -> Iterator[str]:
    """Yield the strings in a document, without the markers of a conversation."""
    if isinstance(text, str):
        yield text
        return
    for message in text:
        yield str(message["content"])
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield json.dumps(
                {"name": function["name"], "arguments": function["arguments"]}, ensure_ascii=False
            )


def calls_tools(texts: Iterable[Text]) -> bool:
    """Return whether a conversation calls tools or shows their results."""
    return any(
        message.get("role") == "tool" or message.get("tool_calls")
        for text in texts
        if not isinstance(text, str)
        for message in text
    )


def encode(texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Document]:
    """Return tokenized documents, cut at ``max_length`` tokens, without those that have nothing to learn."""
    plain = _encode_plain([text for text in texts if isinstance(text, str)], tokenizer)
    conversations = _encode_conversations([text for text in texts if not isinstance(text, str)], tokenizer)
    documents = []
    for text in texts:
        ids, learned = next(plain if isinstance(text, str) else conversations)
        if any(learned[1:max_length]):
            documents.append(Document(ids[:max_length], learned[:max_length]))
    return documents


def _encode_plain(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[list[int], list[int]]]:
    for chosen in _sliced(texts, _ENCODED):
        for ids in tokenizer(chosen, add_special_tokens=False)["input_ids"]:
            yield [*ids, tokenizer.eos_token_id], [1] * (len(ids) + 1)


def _encode_conversations(
    texts: Sequence[Messages], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[list[int], list[int]]]:
    for chosen in _sliced(texts, _ENCODED):
        conversations: Any = chosen
        encoded: Any = tokenizer.apply_chat_template(
            conversations, return_dict=True, return_assistant_tokens_mask=True
        )
        yield from zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)


def batches(documents: Sequence[Document], size: int, pad_id: int, seed: int, start: int) -> Iterator[Batch]:
    """Yield endless batches, each epoch in another order; the same for the same arguments.

    Args:
        documents: At least one.
        size: The number of documents in a batch.
        pad_id: The token id of the padding.
        seed: The seed of the orders.
        start: The number of batches to leave out, for a training that resumes.
    """
    position = 0
    epoch = 0
    while True:
        for chosen in _epoch(documents, size, Random(f"{seed}/{epoch}")):
            if position >= start:
                yield _pad([documents[i] for i in chosen], pad_id)
            position += 1
        epoch += 1


def _epoch(documents: Sequence[Document], size: int, rng: Random) -> list[Sequence[int]]:
    order = list(range(len(documents)))
    rng.shuffle(order)
    result: list[Sequence[int]] = []
    for pool in _sliced(order, size * _POOL):
        result += _sliced(sorted(pool, key=lambda i: len(documents[i].ids)), size)
    rng.shuffle(result)
    return result


def _sliced(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _pad(documents: Sequence[Document], pad_id: int) -> Batch:
    import torch

    shape = len(documents), max(len(document.ids) for document in documents)
    ids = torch.full(shape, pad_id)
    learned = torch.zeros(shape, dtype=torch.bool)
    for i, document in enumerate(documents):
        ids[i, : len(document.ids)] = torch.tensor(document.ids)
        learned[i, : len(document.ids)] = torch.tensor(document.learned, dtype=torch.bool)
    return Batch(ids, learned)
