"""The parts of torch that the engine uses and that differ between versions from 2.11 on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # a prototype, which may move
    varlen_attn = None  # type: ignore[assignment]

_FIRST_WITH_FLASH = (8, 0)
"""The compute capability of the first CUDA cards that support flash attention."""


def has_flash(device: torch.device) -> bool:
    """Return whether flash attention over sequences of different lengths runs on the device."""
    if varlen_attn is None or device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= _FIRST_WITH_FLASH


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    ends: tuple[Tensor, Tensor],
    longest: tuple[int, int],
    scaling: float | None,
) -> Tensor:
    """Compute causal flash attention on consecutive sequences. A sequence's last query sees its last key.

    Args:
        query: [tokens, heads, head_dim].
        key: [keys, key heads, head_dim].
        value: As ``key``.
        ends: 0 and the end of each sequence [sequences + 1], int32, of the queries and of the keys.
        longest: The longest sequence of queries and of keys.
        scaling: The factor of the products.
    """
    assert varlen_attn is not None
    options = _options(varlen_attn)
    if "enable_gqa" not in options:  # torch 2.11
        groups = query.shape[1] // key.shape[1]
        key, value = (repeat_heads(states, groups, dim=1) for states in (key, value))
    mixed: Any = varlen_attn(query, key, value, *ends, *longest, scale=scaling, **options)
    assert isinstance(mixed, Tensor)  # it is a pair only on request
    return mixed


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    """Return this version's options of ``varlen_attn`` for causal masks and grouped heads."""
    known = inspect.signature(function).parameters
    options: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    return {**options, "enable_gqa": True} if "enable_gqa" in known else options


def repeat_heads(states: Tensor, groups: int, dim: int) -> Tensor:
    """Return each key head repeated for its query heads, in sequence."""
    return states if groups == 1 else states.repeat_interleave(groups, dim)
