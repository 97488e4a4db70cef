"""Compute the memory of a training step, on a machine without a GPU.

The step runs on torch's fake tensors, which have shapes and no values: the model's own forward and backward pass, flash
attention's sizes, and the optimizer. The head's buffers are those of the Triton kernels. Every new storage is counted,
so any architecture that the step supports is computed as it runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, PretrainedConfig

from guerdon.grpo.flat_attention import ATTENTION, FlatAttention
from guerdon.grpo.layout import flat_obstacle
from guerdon.kernels.linear_loss import gradient_dtype, tile_rows

__all__ = ["Rollouts", "StepMemory", "StepSettings", "cache_bytes", "step_memory"]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The lengths of a micro-batch in tokens."""

    prompts: Sequence[int]
    """The length of each distinct prompt."""
    completions: Sequence[int]
    prompt_of: Sequence[int]
    """The index of each completion's prompt."""


@dataclass(frozen=True, slots=True)
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
    packed: bool = True
    """Whether micro-batches go through the model without padding."""
    adapters: Any = None
    """A ``peft.LoraConfig``."""
    device_bytes: int = 80 * 1024**3
    """The device's memory, which decides the size of a tile of logits."""


_PROBE = 2
"""Tokens of the sequence whose keys and values are counted."""


class StepMemory(NamedTuple):
    """The memory of a step in bytes, when it takes most."""

    weights: int
    gradients: int
    """The gradients of the weights that are trained."""
    optimizer: int
    """The optimizer's state."""
    micro_batch: int
    """The rest: activations, logits, the weights in autocast's dtype, temporary memory."""

    @property
    def total(self) -> int:
        return sum(self)


def step_memory(config: PretrainedConfig, rollouts: Rollouts, settings: StepSettings) -> StepMemory:
    """Return the memory of a GRPO step with the fused loss on one CUDA device of compute capability 8.0 or later.

    It contains neither the memory of CUDA's context (0.3 to 0.6 GiB) nor the allocator's gaps.

    Args:
        config: The model's configuration; no weights are read.
        rollouts: The largest micro-batch.
        settings: The rest.
    """
    model = _meta_model(config, settings)
    with FakeTensorMode(allow_non_fake_inputs=True), _Storages() as storages:
        _allocate(model)
        weights = storages.live
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        gradients = storages.live - weights
        storages.peak = 0
        optimizer = settings.optimizer(trained)
        optimizer.step()
        state = storages.live - weights - gradients
        if not settings.accumulates:
            optimizer.zero_grad()
        _backpropagate(model, rollouts, settings)
        peak = storages.peak
    return StepMemory(weights, gradients, state, peak - weights - gradients - state)


def cache_bytes(config: PretrainedConfig, tokens: int, settings: StepSettings) -> int:
    """Return the bytes of the keys and values of so many tokens, as transformers' ``generate`` keeps them.

    Args:
        config: The model's configuration.
        tokens: The tokens of all sequences, prompts and padding included.
        settings: Those of the step; its autocast is on during generation too.
    """
    model = _meta_model(config, replace(settings, checkpointing=False))
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _autocast(settings):
        _allocate(model)
        ids = torch.zeros(1, _PROBE, dtype=torch.int64)
        kept = model(input_ids=ids, position_ids=ids, use_cache=True).past_key_values
        size = sum(tensor.nbytes for layer in kept.layers for tensor in (layer.keys, layer.values))
    return int(size) * tokens // _PROBE


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


def _meta_model(config: PretrainedConfig, settings: StepSettings) -> Any:
    """Return the model without weights. Adapters are added here, because modules cannot move fake tensors."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=settings.dtype)
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


def _backpropagate(model: Any, rollouts: Rollouts, settings: StepSettings) -> None:
    """Run a micro-batch forward and backward."""
    policy = model.get_base_model() if hasattr(model, "get_base_model") else model
    flat = settings.packed and flat_obstacle(policy) is None
    if flat:
        policy.set_attn_implementation(ATTENTION)
    predictors = torch.zeros(sum(rollouts.completions), dtype=torch.int64)
    with _autocast(settings):
        inputs = _flat_inputs(rollouts) if flat else _padded_inputs(rollouts)
        output = policy.base_model(**inputs, use_cache=False)
        hidden = output.last_hidden_state.flatten(0, 1).index_select(0, predictors)
        weight = policy.get_output_embeddings().weight
        hidden = hidden.to(settings.autocast or weight.dtype)
        with torch.autocast("cpu", enabled=False):
            loss: Tensor = _HeadBuffers.apply(hidden, weight, settings.device_bytes)  # type: ignore[no-untyped-call]
    del output, hidden
    loss.backward()


def _autocast(settings: StepSettings) -> torch.autocast:
    return torch.autocast("cpu", settings.autocast, enabled=settings.autocast is not None)


def _flat_inputs(rollouts: Rollouts) -> dict[str, Any]:
    fed = [length - 1 for length in rollouts.completions]
    ids = torch.zeros(1, sum(rollouts.prompts) + sum(fed), dtype=torch.int64)
    return {
        "input_ids": ids,
        "position_ids": ids,
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool),
        "flat_attention": _CudaAttention(rollouts.prompts, fed, rollouts.prompt_of),
    }


def _padded_inputs(rollouts: Rollouts) -> dict[str, Any]:
    rows, length = len(rollouts.completions), max(rollouts.prompts) + max(rollouts.completions)
    return {
        "input_ids": torch.zeros(rows, length, dtype=torch.int64),
        "attention_mask": torch.ones(rows, 1, length, length, dtype=torch.bool),
    }


class _CudaAttention(FlatAttention):
    """The attention of a card of compute capability 8.0, on fake tensors of the CPU."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        attend = self.attend_padded if query.dtype == torch.float32 else self.attend_flat
        return attend(query[0], key[0], value[0], scaling)[None]


class _HeadBuffers(torch.autograd.Function):
    """The buffers of the fused head with Triton's tiles, without its loop over them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, device_bytes: int) -> Tensor:
        narrow = weight.to(hidden.dtype)
        wide = torch.promote_types(narrow.dtype, torch.float32)
        by_weight = torch.empty_like(narrow, dtype=wide) if weight.requires_grad else None
        ctx.gradients = torch.empty_like(hidden, dtype=gradient_dtype(hidden.dtype)), by_weight
        ctx.dtypes = hidden.dtype, weight.dtype
        rows = min(tile_rows(len(weight), hidden.dtype, device_bytes), len(hidden))
        tile = hidden.new_empty(rows, len(weight))
        del tile
        return hidden.new_zeros((), dtype=wide)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_weight = ctx.gradients
        ctx.gradients = None
        of_hidden, of_weight = ctx.dtypes
        return by_hidden.to(of_hidden), None if by_weight is None else by_weight.to(of_weight), None
