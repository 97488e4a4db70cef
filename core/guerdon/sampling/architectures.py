"""The decoder architectures that the engine supports in its own sampling loop and in training without padding."""

from __future__ import annotations

from typing import Any

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_STATIC_ROPE = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings in which a position's angle does not depend on the batch's length."""


def decoder_obstacle(config: Any) -> str | None:
    """Return why a model with this configuration is not supported, or ``None`` if it is."""
    if config.model_type not in ARCHITECTURES:
        return f"its architecture is {config.model_type}, not one of {', '.join(ARCHITECTURES)}"
    if (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default") not in _STATIC_ROPE:
        return "its rotary embedding changes with the length"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "its attention is not full in every layer"
    return None
