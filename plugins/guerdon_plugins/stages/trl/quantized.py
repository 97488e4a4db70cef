"""Training on a quantized base: what is refused, before and after the model is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon import Model
from guerdon.errors import ParamsError, UsageError

__all__ = ["check_loaded", "check_quantized", "keep_layout"]

_MERGED = "bitsandbytes"
"""The quantization whose weights transformers dequantizes."""

_PLACE = "quantization_config"

_PACKS = "support_avx512bf16_for_cpu"
"""The attribute of ``bitsandbytes.nn.Linear4bit`` (0.50) that decides about the packed layout."""


def check_quantized(
    models: Sequence[Model], options: Mapping[str, Any], peft: Mapping[str, Any] | None
) -> None:
    """Check that a stage can train from its first model, as far as its folder and the options say.

    Args:
        models: The models that the stage starts from, if they are there.
        options: TRL's options, by TRL's names.
        peft: The options of the adapters; ``None`` where all weights are trained.

    Raises:
        ParamsError: The model is quantized, and the stage cannot train from it.
    """
    config, where = _found(models, options)
    if config is None:
        return
    method = config.get("quant_method") or (
        _MERGED if config.get("load_in_4bit") or config.get("load_in_8bit") else None
    )
    if peft is None:
        raise ParamsError(
            f"{where}, and quantized weights are not trained. Set 'peft' to train adapters on them."
        )
    if method != _MERGED:
        raise ParamsError(f"{where} of the method {method}: {_reason()}")
    for way in ("fsdp", "deepspeed"):
        if options.get(way):
            raise ParamsError(
                f"{where}, and '{way}' shards the model. The two together are not supported. Leave out one of the two."
            )
    if options.get("use_vllm"):
        raise ParamsError(
            f"{where}, and use_vllm is true: TRL would merge the adapters into the quantized weights before each "
            "batch, which rounds the adapters away and changes the base. Leave out one of the two."
        )


def check_not_quantized(models: Sequence[Model], options: Mapping[str, Any], reason: str) -> None:
    """Check that a stage's first model is not quantized, as far as its folder and the options say.

    Args:
        models: The models that the stage starts from, if they are there.
        options: TRL's options, by TRL's names.
        reason: Why it must not be.

    Raises:
        ParamsError: It is.
    """
    config, where = _found(models, options)
    if config is not None:
        raise ParamsError(f"{where}, and {reason}. Name a model that is not quantized.")


def _found(models: Sequence[Model], options: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the quantization of the first model, and the place that says it."""
    init = options.get("model_init_kwargs")
    config = (init if isinstance(init, Mapping) else {}).get(_PLACE)
    where = f"model_init_kwargs has a {_PLACE}"
    if config is None and models:
        config, where = _of_folder(models[0]), f"model '{models[0].name}' is quantized"
    if not isinstance(config, Mapping) or config.get("dequantize"):  # which happens at loading
        return None, where
    return config, where


def check_loaded(model: Any) -> None:
    """Check that the adapters of a loaded model can be merged after the training.

    Raises:
        UsageError: Its weights cannot be dequantized.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is None or getattr(quantizer.quantization_config, "dequantize", False):
        return
    method = str(getattr(quantizer.quantization_config.quant_method, "value", ""))
    if method != _MERGED:
        raise UsageError(f"the model is quantized by the method {method}: {_reason()}")


def keep_layout(model: Any) -> None:
    """Keep the layout of 4-bit weights that bitsandbytes can dequantize.

    On a CPU with AVX512-BF16, its layers pack the weights in another layout at the first pass without gradients, such
    as that of a rollout. Weights that were packed once are dequantized wrong, so the merged model would be wrong.
    """
    for module in model.modules():
        if hasattr(module, _PACKS):
            setattr(module, _PACKS, False)


def _reason() -> str:
    return (
        "its weights cannot be dequantized, so adapters could not be merged. Quantize with bitsandbytes, or name a "
        "model that is not quantized."
    )


def _of_folder(model: Model) -> Any:
    try:
        config = json.loads((Path(model.path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a hub id, or a folder of which other checks speak
        return None
    return config.get(_PLACE) if isinstance(config, dict) else None
