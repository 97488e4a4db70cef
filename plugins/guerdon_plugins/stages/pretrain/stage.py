"""Pretraining: train a small causal language model and its tokenizer from rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from statistics import fmean
from typing import TYPE_CHECKING, Any

from guerdon import Row, StageContext, StageResult
from guerdon.errors import DataError, StageFailedError, one_line
from guerdon.files import replaced
from guerdon.models import use_fitting_threads
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

logger = logging.getLogger(__name__)

_DECIDED_BY_THE_TOKENIZER = {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"}


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

        texts = [document_text(row) for row in context.rows()]
        strings = (string for text in texts for string in plain_texts(text))
        tokenizer = train_tokenizer(strings, self._vocab_size, self._added_tokens, tools=calls_tools(texts))
        documents = encode(texts, tokenizer, self._max_length)
        if not documents:
            raise DataError(
                f"none of {len(texts)} rows has anything to learn within {self._max_length} tokens. Raise max_length."
            )
        training = _Training(
            self._model(tokenizer, context.seed),
            self._muon_learning_rate,
            self._learning_rate,
            tokens=self._batch_size * fmean(sum(document.learned) for document in documents),
        )
        checkpoint = context.work / "checkpoint.pt"
        training.load(checkpoint)
        assert tokenizer.pad_token_id is not None
        feed = batches(documents, self._batch_size, tokenizer.pad_token_id, context.seed, training.step)
        with context.stop.deferred():
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
        self, training: _Training, feed: Iterator[Batch], checkpoint: Path, context: StageContext
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
        use_fitting_threads(model)
        return model

    def _rate_at(self, step: int) -> float:
        """Return the share of the learning rates for an update."""
        if step < self._warmup_steps:
            return (step + 1) / self._warmup_steps
        done = (step - self._warmup_steps) / max(1, self._max_steps - self._warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))


class _Training:
    """A model, its optimizers, and their progress: the content of a checkpoint."""

    def __init__(
        self, model: LlamaForCausalLM, muon_learning_rate: float, learning_rate: float, tokens: float
    ) -> None:
        import torch

        from guerdon.models import local_device
        from guerdon_plugins.stages.pretrain.muon import Muon

        self.model: Any = model.train()
        self.model.to(local_device())
        self._tokens = tokens
        matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
        rest = [p for name, p in model.named_parameters() if p.ndim != 2 or ".layers." not in name]
        self._optimizers = {
            "muon": (Muon(matrices, muon_learning_rate), muon_learning_rate),
            "adamw": (torch.optim.AdamW(rest, learning_rate, (0.9, 0.95), weight_decay=0.0), learning_rate),
        }
        self.step = 0
        self.last_loss = math.nan
        self._losses: list[float] = []

    def update(self, batch: Batch, rate: float) -> None:
        """Learn one batch, at a share ``rate`` of the full learning rates."""
        import torch
        from torch.nn import functional as F  # noqa: N812, torch's own custom

        # Padding is on the right, so a causal model needs no mask; the head runs only where the loss counts.
        ids, learned = batch.ids.to(self.model.device), batch.learned[:, 1:].to(self.model.device)
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden[:, :-1][learned])
        # A mean over the batch would weight tokens of batches with short documents more than others.
        loss = F.cross_entropy(logits, ids[:, 1:][learned], reduction="sum") / self._tokens
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, full_rate in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * full_rate
            optimizer.step()
            optimizer.zero_grad()
        self._losses.append(loss.item())
        self.step += 1
        if not math.isfinite(self._losses[-1]):
            raise StageFailedError(
                f"the loss is not finite at step {self.step}: it is {self._losses[-1]}. Lower 'learning_rate' or "
                "'muon_learning_rate'."
            )

    def mean_loss(self) -> float:
        """Return the mean loss of the updates since the last call."""
        self.last_loss = sum(self._losses) / len(self._losses)
        self._losses = []
        return self.last_loss

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically, and keep the one before."""
        import torch

        state = {
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, (optimizer, _) in self._optimizers.items()},
            "step": self.step,
            "losses": self._losses,
            "last_loss": self.last_loss,
        }
        with replaced(path) as partial:
            with partial.open(
                "wb"
            ) as file:  # torch reports a full disk by other errors if it opens the file itself
                torch.save(state, file)
            if path.exists():
                path.replace(_before(path))

    def load(self, path: Path) -> None:
        """Resume from a checkpoint if there is one, or from the one before if it is damaged."""
        import torch

        for candidate in (path, _before(path)):
            if not candidate.exists():
                continue
            try:
                state = torch.load(candidate, map_location=self.model.device, weights_only=True)
            except (RuntimeError, ValueError, EOFError, UnpicklingError) as error:
                logger.warning(
                    "the checkpoint %s is damaged (%s); the one before is used", candidate, one_line(error)
                )
                continue
            self._restore(state)
            return

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for name, (optimizer, _) in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.step = state["step"]
        self.last_loss = state["last_loss"]
        self._losses = state["losses"]


def _before(checkpoint: Path) -> Path:
    return checkpoint.with_stem(f"{checkpoint.stem}-before")
