"""Merge trained adapters into their base model."""

from __future__ import annotations

import copy
from typing import Any

import torch

from guerdon.training.checkpoints import zero_stage

__all__ = ["merged", "merged_on_main"]


def merged_on_main(trainer: Any, *, keep: bool = False) -> Any:
    """Return the model of a training with its adapters merged, on the main process; ``None`` on others.

    All processes call it, because the shards of a model are gathered.

    Args:
        trainer: The trainer of a PEFT model.
        keep: Whether its model stays as it is, because training continues.
    """
    accelerator = trainer.accelerator
    model = accelerator.unwrap_model(trainer.model)
    if trainer.is_fsdp_enabled or zero_stage(trainer) == 3:
        weights = accelerator.get_state_dict(trainer.model_wrapped)
        return _whole(model, weights).merge_and_unload() if accelerator.is_main_process else None
    return merged(model, keep=keep) if accelerator.is_main_process else None


def merged(model: Any, *, keep: bool = False) -> Any:
    """Return a model of its own with a PEFT model's adapters merged.

    A quantized base is dequantized before. In the quantized weights most of an adapter would be rounded away.

    Args:
        model: The PEFT model.
        keep: Whether it stays as it is, because training continues.
    """
    model = copy.deepcopy(model) if keep else model
    if getattr(model.get_base_model(), "is_quantized", False):
        model = _dequantized(model)
    return model.merge_and_unload()


def _dequantized(model: Any) -> Any:
    """Return the same adapters on the dequantized base."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = model.peft_config[model.active_adapter]
    weights = {name: weight.clone() for name, weight in get_peft_model_state_dict(model).items()}
    base = model.unload()
    # The configuration's dtype, which is the default, is text after a save, and transformers takes it for a device.
    with_adapters = get_peft_model(base.dequantize(dtype=base.dtype), config)
    set_peft_model_state_dict(with_adapters, weights)
    return with_adapters


def _whole(model: Any, weights: dict[str, Any]) -> Any:
    """Return a PEFT model that holds all its weights, like one whose processes hold shards."""
    from peft import get_peft_model

    base = model.get_base_model()
    with torch.device("meta"):
        whole = get_peft_model(type(base)(base.config), model.peft_config[model.active_adapter])
    whole.load_state_dict(weights, assign=True)
    whole.get_base_model().tie_weights()
    return whole
