"""Documents to pretrain on: rows of any source as token ids, in batches of like lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from guerdon.errors import DataError
from guerdon.types import Messages, Row

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

Text = str | Messages
"""A plain text, or a conversation."""

_POOL = 64
"""Batches whose documents are sorted by length together: enough for little padding, few enough to stay mixed."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document's tokens."""

    ids: Sequence[int]
    learned: Sequence[int]
    """1 where the loss counts: the replies of a conversation, the whole of a plain text; else 0."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents padded on the right to the longest."""

    ids: Tensor
    """Shape (documents, tokens)."""
    learned: Tensor
    """Where the loss counts: bool, shape (documents, tokens)."""


def document_text(row: Row) -> Text:
    """The document in a row of one of TRL's forms: ``text``, ``messages``, or ``prompt`` and ``completion``.

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
    """The strings in a document, without the marks of a conversation."""
    if isinstance(text, str):
        yield text
    else:
        yield from (str(message["content"]) for message in text)


def encode(texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Document]:
    """Tokenize documents; longer ones are cut at ``max_length`` tokens, and ones with nothing to learn left out."""
    documents = []
    for text in texts:
        if isinstance(text, str):
            ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            learned = [1] * len(ids)
        else:
            conversation: Any = text
            encoded: Any = tokenizer.apply_chat_template(
                conversation, return_dict=True, return_assistant_tokens_mask=True
            )
            ids, learned = encoded["input_ids"], encoded["assistant_masks"]
        if any(learned[1:max_length]):
            documents.append(Document(ids[:max_length], learned[:max_length]))
    return documents


def batches(documents: Sequence[Document], size: int, pad_id: int, seed: int, start: int) -> Iterator[Batch]:
    """Batches without end, epoch after epoch in another order; the same for the same arguments.

    Args:
        documents: At least one.
        size: Documents in a batch.
        pad_id: What to pad with.
        seed: Of the orders.
        start: The number of batches to leave out, for a training that goes on.
    """
    position = 0
    epoch = 0
    while True:
        for chosen in _epoch(documents, size, Random(f"{seed}/{epoch}")):
            if position >= start:
                yield _pad([documents[i] for i in chosen], pad_id)
            position += 1
        epoch += 1


def _epoch(documents: Sequence[Document], size: int, rng: Random) -> list[list[int]]:
    order = list(range(len(documents)))
    rng.shuffle(order)
    result = []
    for pool in _sliced(order, size * _POOL):
        result += _sliced(sorted(pool, key=lambda i: len(documents[i].ids)), size)
    rng.shuffle(result)
    return result


def _sliced(items: list[int], size: int) -> list[list[int]]:
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
