"""The attention of TRL's packed rows without FlashAttention 3, which only recent GPUs have."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from trl.experimental.async_grpo.packing import TREE_ATTENTION


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - the interface of transformers
    *,
    tree_kv_index: Tensor,
    tree_cu_seqlens_q: Tensor,
    tree_cu_seqlens_k: Tensor,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return what TRL's ``tree_attention`` returns: each segment attends to the tokens on its path.

    Args:
        module: The attention layer.
        query: The queries [1, heads, tokens, dims].
        key: The keys [1, key heads, tokens, dims].
        value: The values [1, key heads, tokens, dims].
        attention_mask: Not used: the segments say what is seen.
        tree_kv_index: The places of the tokens of all paths, one path after the other.
        tree_cu_seqlens_q: The bounds of the segments among the tokens.
        tree_cu_seqlens_k: The bounds of the paths in ``tree_kv_index``.
        scaling: The factor of the products; by default 1 / sqrt(dims).
        sliding_window: The number of tokens that a token sees, itself included; all if it is not given.
        softcap: The bound of the products, which only FlashAttention applies.

    Returns:
        The outputs [1, tokens, heads, dims], and no weights.

    Raises:
        NotImplementedError: The model has a softcap.
    """
    if softcap:
        raise NotImplementedError(
            f"{type(module).__name__} bounds its attention (softcap {softcap:g}), which needs FlashAttention 3. Train "
            "this model on a GPU that has it, or with the stage 'grpo'."
        )
    queries, paths = tree_cu_seqlens_q.tolist(), tree_cu_seqlens_k.tolist()
    parts = []
    for segment, (start, end) in enumerate(pairwise(queries)):
        path = tree_kv_index[paths[segment] : paths[segment + 1]]
        seen = torch.arange(len(path), device=query.device)
        own = seen[len(path) - (end - start) :, None]  # the segment is the end of its path
        mask = seen <= own
        if sliding_window:
            mask &= seen > own - sliding_window
        parts.append(
            scaled_dot_product_attention(
                query[:, :, start:end],
                key.index_select(2, path),
                value.index_select(2, path),
                attn_mask=mask,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2), None


def use_tree_attention() -> None:
    """Use it for the models of TRL's asynchronous trainer, instead of TRL's."""
    AttentionInterface.register(TREE_ATTENTION, tree_attention)
