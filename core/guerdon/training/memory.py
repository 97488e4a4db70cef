"""Compute the memory of a training step, on a machine without a GPU.

The step runs on torch's fake tensors, which have shapes and no values: the model's own forward and backward pass, and
the optimizer. Every new storage is counted, so any architecture is computed as it runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, PretrainedConfig

__all__ = ["StepMemory", "StepSettings", "autocast", "cache_bytes", "empty_model", "step_memory"]


_PROBE = 2
"""Tokens of the sequence whose keys and values are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """What decides a step's memory in addition to the model and the micro-batch."""

    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    dtype: torch.dtype = torch.float32
    """The weights' dtype."""
    autocast: torch.dtype | None = torch.bfloat16
    """The dtype of autocast, if it is on."""
    checkpointing: bool = True
    """Whether activations are computed again in the backward pass."""
    accumulates: bool = False
    """Whether an update has several micro-batches, so that gradients are there before the last one."""
    adapters: Any = None
    """A ``peft.LoraConfig``."""


class StepMemory(NamedTuple):
    """The memory of a step in bytes, when it takes most."""

    weights: int
    frozen: int
    """The weights of models that are not trained."""
    gradients: int
    """The gradients of the weights that are trained."""
    optimizer: int
    """The optimizer's state."""
    micro_batch: int
    """The rest: activations, logits, the weights in autocast's dtype, temporary memory."""

    @property
    def total(self) -> int:
        return sum(self)


def step_memory(
    model: Any, settings: StepSettings, backpropagate: Callable[[], None], frozen: Sequence[nn.Module] = ()
) -> StepMemory:
    """Return the memory of a step on one device.

    It contains neither the memory of CUDA's context (0.3 to 0.6 GiB) nor the allocator's gaps.

    Args:
        model: The model to train, from ``empty_model``.
        settings: How it is trained.
        backpropagate: Runs a micro-batch forward and backward.
        frozen: Other models that are in memory, from ``empty_model``.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), _Storages() as storages:
        _allocate(model)
        weights = storages.live
        for other in frozen:
            _allocate(other)
        others = storages.live - weights
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        gradients = storages.live - weights - others
        storages.peak = 0
        optimizer = settings.optimizer(trained)
        optimizer.step()
        state = storages.live - weights - others - gradients
        if not settings.accumulates:
            optimizer.zero_grad()
        backpropagate()
        rest = storages.peak - weights - others - gradients - state
    return StepMemory(weights, others, gradients, state, rest)


def cache_bytes(config: PretrainedConfig, tokens: int, settings: StepSettings) -> int:
    """Return the bytes of the keys and values of so many tokens, as transformers' ``generate`` keeps them.

    Args:
        config: The model's configuration.
        tokens: The tokens of all sequences, prompts and padding included.
        settings: Those of the step; its autocast is on during generation too.
    """
    model = empty_model(config, replace(settings, checkpointing=False))
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), autocast(settings):
        _allocate(model)
        ids = torch.zeros(1, _PROBE, dtype=torch.int64)
        kept = model(input_ids=ids, position_ids=ids, use_cache=True).past_key_values
        size = sum(tensor.nbytes for layer in kept.layers for tensor in (layer.keys, layer.values))
    return int(size) * tokens // _PROBE


def autocast(settings: StepSettings) -> torch.autocast:
    """Return the autocast of a step's settings."""
    return torch.autocast("cpu", settings.autocast, enabled=settings.autocast is not None)


class _Storages(TorchDispatchMode):
    """Counts the bytes of the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._add(value.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.live -= size


def empty_model(config: PretrainedConfig, settings: StepSettings, kind: Any = AutoModelForCausalLM) -> Any:
    """Return a model without weights. Adapters are added here, because modules cannot move fake tensors.

    Args:
        config: The model's configuration.
        settings: Those of the step.
        kind: The class of transformers that makes the model.
    """
    with torch.device("meta"):
        model: Any = kind.from_config(config, dtype=settings.dtype)
        if settings.adapters is not None:
            from peft import get_peft_model

            model = get_peft_model(model, settings.adapters)
    if settings.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def _allocate(model: nn.Module) -> None:
    """Give each weight and each buffer memory on the CPU. Tied weights share theirs."""
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        places: list[dict[str, Any]] = [module._parameters, module._buffers]
        for tensors in places:
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if tensor not in made:
                    made[tensor] = _on_cpu(tensor)
                tensors[name] = made[tensor]


def _on_cpu(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="cpu", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
