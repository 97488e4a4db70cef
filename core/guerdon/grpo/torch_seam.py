"""What the engine leans on in torch that is not the same in every version from 2.11 on."""

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
"""Compute capability of the first CUDA cards that flash attention runs on."""


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
    """Causal flash attention on sequences in a row; a sequence's last query sees its last key.

    Args:
        query: [tokens, heads, head_dim].
        key: [keys, key heads, head_dim].
        value: As ``key``.
        ends: 0 and where each sequence ends [sequences + 1], int32, of the queries and of the keys.
        longest: The longest sequence of queries and of keys.
        scaling: By what the products are multiplied.
    """
    assert varlen_attn is not None
    options = _options(varlen_attn)
    if "enable_gqa" not in options:  # torch 2.11
        groups = query.shape[1] // key.shape[1]
        key, value = (repeat_heads(states, groups, dim=1) for states in (key, value))
    mixed: Any = varlen_attn(query, key, value, *ends, *longest, scale=scaling, **options)
    assert isinstance(mixed, Tensor)  # a pair only where one is asked for
    return mixed


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    """The options by which this version's ``varlen_attn`` takes causal masks and grouped heads."""
    known = inspect.signature(function).parameters
    options: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    return {**options, "enable_gqa": True} if "enable_gqa" in known else options


def repeat_heads(states: Tensor, groups: int, dim: int) -> Tensor:
    """Each key head as often as it has query heads, side by side."""
    return states if groups == 1 else states.repeat_interleave(groups, dim)
