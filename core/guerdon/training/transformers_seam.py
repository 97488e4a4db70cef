"""What the engine leans on in transformers and accelerate that their makers may change without notice.

Lines are those of transformers 5.17.0. Besides the function below, the engine uses

- ``transformers.integrations.sdpa_attention.sdpa_attention_forward`` and ``masking_utils.sdpa_mask``, to be SDPA
  wherever a batch is not flat; ``config._attn_implementation``, to know that a model runs it; a mask of four
  dimensions, which no model's own mask replaces (flat_attention.py, layout.py)
- a decoder's module names ``model.layers``, ``self_attn.q_proj`` and so on, ``model.rotary_emb(states, positions)``,
  and warpers called without the tokens before (rollouts.py)
- ``model.forward``, replaced by one that also takes a step (step.py), as TRL does (``add_fused_lm_head``)
"""

from __future__ import annotations

from typing import Any

import torch


def forget_cpu_number(args: Any) -> None:
    """Let a process of a launch on CPUs call its device ``cpu``.

    accelerate calls it ``cpu:0``; transformers loads an optimizer's state to that device (trainer.py, 3822), and torch
    loads to ``cpu`` alone, so no such launch could resume.

    Args:
        args: A trainer's arguments, whose device is set up here and kept (training_args.py, 1811).
    """
    device = args.device
    if device.type != "cpu" or device.index is None:
        return
    plain = torch.device("cpu")
    args.__dict__["_setup_devices"] = plain
    args.distributed_state.device = plain
