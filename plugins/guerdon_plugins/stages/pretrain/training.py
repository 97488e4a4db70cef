"""Update a small model, on the CPU by two threads at a time, and save where it is.

A thread of Python for each half of the batch needs the other thread twice in a step. Threads inside torch's operations
need each other at every one of a step's hundreds of operations, and each waits long if another process uses a core.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, torch's own custom

from guerdon.errors import StageFailedError, one_line
from guerdon.files import replaced
from guerdon.models import is_narrow, local_device, use_fitting_threads
from guerdon_plugins.stages.pretrain.documents import Batch
from guerdon_plugins.stages.pretrain.muon import Muon

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

logger = logging.getLogger(__name__)

_SHARDS = 2
"""Parts of a batch, and of the matrices, that are computed at the same time."""


class Training:
    """A model, its optimizers, and their progress: the content of a checkpoint. A context manager.

    A narrow model on the CPU computes a batch in two shards, each in a thread of its own. The gradient is their sum in
    a fixed order, so the result does not depend on the number of cores.

    Args:
        model: The model to train.
        muon_learning_rate: Muon's, for the matrices of the layers.
        learning_rate: AdamW's, for the rest.
        tokens: The mean number of tokens that a batch learns.
    """

    def __init__(
        self, model: LlamaForCausalLM, muon_learning_rate: float, learning_rate: float, tokens: float
    ) -> None:
        self.model: Any = model.train()
        self.model.to(local_device())
        use_fitting_threads(self.model)
        self._tokens = tokens
        self._shards = _SHARDS if is_narrow(self.model) else 1
        # In the child of a fork, the first threads that compute would make torch's own pool again at the same time.
        torch.set_num_threads(torch.get_num_threads())
        self._threads = ThreadPoolExecutor(self._shards)
        self._parameters = list(model.parameters())
        matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
        rest = [p for name, p in model.named_parameters() if p.ndim != 2 or ".layers." not in name]
        self._optimizers: dict[str, tuple[torch.optim.Optimizer, float]] = {
            f"muon_{shard}": (Muon(matrices[shard::_SHARDS], muon_learning_rate), muon_learning_rate)
            for shard in range(_SHARDS)
        }
        adamw = torch.optim.AdamW(rest, learning_rate, (0.9, 0.95), weight_decay=0.0)
        self._optimizers["adamw"] = (adamw, learning_rate)
        self.step = 0
        self.last_loss = math.nan
        self._losses: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def update(self, batch: Batch, rate: float) -> None:
        """Learn one batch, at a share ``rate`` of the full learning rates."""
        # neighbours have similar lengths, so the shards cost the same
        shards = [
            (batch.ids[shard :: self._shards], batch.learned[shard :: self._shards])
            for shard in range(min(self._shards, len(batch.ids)))
        ]
        computed = list(self._threads.map(self._gradients, shards))
        for number, parameter in enumerate(self._parameters):
            parameter.grad = sum((gradients[number] for _, gradients in computed[1:]), computed[0][1][number])
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, full_rate in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * full_rate
        list(self._threads.map(_step, (optimizer for optimizer, _ in self._optimizers.values())))
        self._losses.append(sum(loss for loss, _ in computed))
        self.step += 1
        if not math.isfinite(self._losses[-1]):
            raise StageFailedError(
                f"the loss is not finite at step {self.step}: it is {self._losses[-1]}. Lower 'learning_rate' or "
                "'muon_learning_rate'."
            )

    def _gradients(self, shard: tuple[Tensor, Tensor]) -> tuple[float, Sequence[Tensor]]:
        """Return a shard's part of the loss and of each parameter's gradient."""
        # Padding is on the right, so a causal model needs no mask; the head runs only where the loss counts.
        ids, learned = shard[0].to(self.model.device), shard[1][:, 1:].to(self.model.device)
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden[:, :-1][learned])
        # A mean over the batch would weight tokens of batches with short documents more than others.
        loss = F.cross_entropy(logits, ids[:, 1:][learned], reduction="sum") / self._tokens
        return loss.item(), torch.autograd.grad(loss, self._parameters)

    def mean_loss(self) -> float:
        """Return the mean loss of the updates since the last call."""
        self.last_loss = sum(self._losses) / len(self._losses)
        self._losses = []
        return self.last_loss

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically, and keep the one before."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, (optimizer, _) in self._optimizers.items()},
            "step": self.step,
            "losses": self._losses,
            "last_loss": self.last_loss,
        }
        with replaced(path) as partial:
            # torch reports a full disk by other errors if it opens the file itself
            with partial.open("wb") as file:
                torch.save(state, file)
            if path.exists():
                path.replace(_before(path))

    def load(self, path: Path) -> None:
        """Resume from a checkpoint if there is one, or from the one before if it is damaged."""
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
            if state["optimizers"].keys() != self._optimizers.keys():
                raise StageFailedError(
                    f"the checkpoint {candidate} was written by another version of guerdon. Use that version, or "
                    "delete the file to train from the start."
                )
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


def _step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    optimizer.zero_grad()
