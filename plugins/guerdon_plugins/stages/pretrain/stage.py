"""Pretraining: train a small causal language model and its tokenizer from rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from guerdon import Row, StageContext, StageResult
from guerdon.errors import DataError
from guerdon.options.libraries import llama_options
from guerdon_plugins.stages.pretrain.documents import (
    Batch,
    batches,
    calls_tools,
    document_text,
    encode,
    plain_texts,
)
from guerdon_plugins.stages.pretrain.tokenizer import check_vocabulary, train_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

    from guerdon_plugins.stages.pretrain.training import Training

_DECIDED_BY_THE_TOKENIZER = {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"}

_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)


class Pretrain:
    """Trains a model of the Llama architecture from scratch, with Muon on its matrices and AdamW on the rest.

    Rows are conversations (``prompt`` and ``completion``, or ``messages``), whose replies are learned, or plain
    ``text``. Conversations may call tools (``tool_calls``, and turns of the role ``tool``); the tokenizer then reads
    them in rollouts. The result depends only on the rows, the params and the seed, even after a kill and a resume.

    Args:
        max_steps: Updates to make.
        architecture: Changes to transformers' ``LlamaConfig``, by its names: ``hidden_size: 128`` and so on.
        vocab_size: Tokens of the byte-level BPE tokenizer that is trained on the rows.
        added_tokens: Strings that are always one token, such as ``<think>``.
        max_length: Documents are cut at this many tokens.
        per_device_train_batch_size: Documents in an update.
        learning_rate: AdamW's, for embeddings and norms.
        muon_learning_rate: Muon's, for the matrices between.
        warmup_steps: Updates until the learning rates are full; from there they fall to 0 along a cosine.
        logging_steps: Updates between reports of the mean loss.
        save_steps: Updates between checkpoints to resume from.

    Raises:
        ValueError: A param is out of range, or ``architecture`` names an option that it cannot change.
    """

    needs = ("data",)
    operational_params = ("logging_steps", "save_steps")
    extendable_params = ("max_steps",)

    def __init__(
        self,
        max_steps: int,
        architecture: dict[str, Any] | None = None,
        vocab_size: int = 512,
        added_tokens: Sequence[str] = (),
        max_length: int = 256,
        per_device_train_batch_size: int = 32,
        learning_rate: float = 3e-3,
        muon_learning_rate: float = 0.01,
        warmup_steps: int = 50,
        logging_steps: int = 50,
        save_steps: int = 200,
    ) -> None:
        counts = {
            "max_steps": max_steps,
            "max_length": max_length,
            "per_device_train_batch_size": per_device_train_batch_size,
            "logging_steps": logging_steps,
            "save_steps": save_steps,
        }
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} is {count}: give 1 or more.")
        self._architecture = architecture or {}
        for name in self._architecture:
            if name not in llama_options():
                raise ValueError(
                    f"architecture has {name}, which LlamaConfig does not know. "
                    f"Near: {', '.join(get_close_matches(name, llama_options())) or 'none'}."
                )
        if decided := self._architecture.keys() & _DECIDED_BY_THE_TOKENIZER:
            raise ValueError(f"architecture has {', '.join(sorted(decided))}, which the tokenizer decides.")
        _check_sizes(self._architecture)
        rates = {"learning_rate": learning_rate, "muon_learning_rate": muon_learning_rate}
        for name, rate in rates.items():
            if not (math.isfinite(rate) and rate >= 0):
                raise ValueError(f"{name} is {rate}: give a finite number of at least 0.")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps is {warmup_steps}: give 0 or more.")
        self._max_steps = max_steps
        self._vocab_size = vocab_size
        self._added_tokens = list(added_tokens)
        self._max_length = max_length
        self._batch_size = per_device_train_batch_size
        self._learning_rate = learning_rate
        self._muon_learning_rate = muon_learning_rate
        self._warmup_steps = warmup_steps
        self._logging_steps = logging_steps
        self._save_steps = save_steps

    def preflight(self, rows: Sequence[Row]) -> None:
        """Check that the rows are documents, and that the vocabulary is large enough."""
        check_vocabulary(self._vocab_size, self._added_tokens)
        for number, row in enumerate(rows):
            try:
                document_text(row)
            except DataError as error:
                raise DataError(f"row {number} of the data: {error}") from None

    def run(self, context: StageContext) -> StageResult:
        """Train, and save a checkpoint with its tokenizer."""
        from transformers.utils import logging as transformers_logging

        from guerdon_plugins.stages.pretrain.training import Training

        texts = [document_text(row) for row in context.rows()]
        strings = (string for text in texts for string in plain_texts(text))
        tokenizer = train_tokenizer(strings, self._vocab_size, self._added_tokens, tools=calls_tools(texts))
        documents = encode(texts, tokenizer, self._max_length)
        if not documents:
            raise DataError(
                f"none of {len(texts)} rows has anything to learn within {self._max_length} tokens. Raise max_length."
            )
        training = Training(
            self._model(tokenizer, context.seed),
            self._muon_learning_rate,
            self._learning_rate,
            tokens=self._batch_size * fmean(sum(document.learned) for document in documents),
        )
        checkpoint = context.work / "checkpoint.pt"
        training.load(checkpoint)
        assert tokenizer.pad_token_id is not None
        feed = batches(documents, self._batch_size, tokenizer.pad_token_id, context.seed, training.step)
        with context.stop.deferred(), training:
            self._train(training, feed, checkpoint, context)
        bars: Any = transformers_logging  # it carries no types
        bars.disable_progress_bar()  # the run's progress display uses the terminal
        training.model.save_pretrained(context.output)
        tokenizer.save_pretrained(context.output)
        return StageResult(
            checkpoint=context.output,
            metrics={
                "loss": training.last_loss,
                "documents": len(documents),
                "parameters": training.model.num_parameters(),
            },
        )

    def _train(
        self, training: Training, feed: Iterator[Batch], checkpoint: Path, context: StageContext
    ) -> None:
        while training.step < self._max_steps:
            training.update(next(feed), self._rate_at(training.step))
            last = training.step == self._max_steps
            if training.step % self._logging_steps == 0 or last:
                context.progress(training.step, self._max_steps, {"loss": training.mean_loss()})
            stops = context.stop.requested and not last
            if training.step % self._save_steps == 0 or last or stops:
                training.save(checkpoint)
            if stops:
                raise context.stop.error(
                    context.stage_id,
                    f"a checkpoint of step {training.step} of {self._max_steps} is saved",
                )

    def _model(self, tokenizer: PreTrainedTokenizerBase, seed: int) -> LlamaForCausalLM:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=len(tokenizer),
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **self._architecture,
        )
        torch.manual_seed(seed)
        llama: Any = LlamaForCausalLM  # its constructor carries no types
        model: LlamaForCausalLM = llama(config)
        return model

    def _rate_at(self, step: int) -> float:
        """Return the share of the learning rates for an update."""
        if step < self._warmup_steps:
            return (step + 1) / self._warmup_steps
        done = (step - self._warmup_steps) / max(1, self._max_steps - self._warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))


def _check_sizes(architecture: Mapping[str, Any]) -> None:
    """Raise if a model cannot have these sizes. transformers says so only when it builds the model.

    Args:
        architecture: The changes to ``LlamaConfig``, whose defaults are the sizes of Llama 7B.
    """
    for name in _SIZES:
        size = architecture.get(name, 1)
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ValueError(f"architecture has {name}: {size}. Give a whole number above 0.")
    width = architecture.get("hidden_size") or 4096
    heads = architecture.get("num_attention_heads") or 32
    shared = architecture.get("num_key_value_heads") or heads
    head_width = architecture.get("head_dim") or width // heads
    if width % heads:
        raise ValueError(
            f"architecture has the hidden_size {width}, not a multiple of {heads}, its num_attention_heads."
        )
    if heads % shared:
        raise ValueError(
            f"architecture has {heads} num_attention_heads, not a multiple of {shared}, its num_key_value_heads."
        )
    if head_width % 2:
        raise ValueError(
            f"architecture has heads of the width {head_width} (head_dim, or hidden_size / num_attention_heads). "
            "Positions are rotations of pairs, so it must be even."
        )
