"""The parts of transformers and accelerate that the engine uses and that may change without notice.

Lines are those of transformers 5.17.0. Besides the function below, the engine uses

- ``transformers.integrations.sdpa_attention.sdpa_attention_forward`` and ``masking_utils.sdpa_mask``, to be SDPA
  wherever a batch is not flat; ``config._attn_implementation``, to know that a model runs it; a mask of four
  dimensions, which no model's own mask replaces (flat_attention.py, layout.py)
- a decoder's module names ``model.layers``, ``self_attn.q_proj`` and so on, ``model.rotary_emb(states, positions)``,
  and warpers called without the tokens before (cpu_sampler.py)
- ``model.forward``, replaced by one that also takes a step (micro_batch.py), as TRL does (``add_fused_lm_head``)
- the members of ``Trainer`` below, whose lines are those of ``transformers/trainer.py``; :func:`lacking` checks them
when a training begins
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer

from guerdon.training.seam import Member, absences

METHODS = (
    Member("_run_epoch", "exact_resume", "trains an epoch, which a finished training has not to begin", 1755),
    Member("_save_checkpoint", "exact_resume", "saves a checkpoint", 3215, ("model", "trial")),
    Member("_save", "exact_resume", "saves the weights", 3988, ("output_dir", "state_dict")),
    Member(
        "_load_from_checkpoint",
        "exact_resume",
        "loads the weights of a checkpoint",
        3462,
        ("resume_from_checkpoint", "model"),
    ),
    Member("_get_train_sampler", "exact_resume", "gives the order of the rows", 1041),
)
"""Methods that are overridden."""

KEPT = (
    Member("_tr_loss", "exact_resume", "sums the loss since the latest log", 1589),
    Member("_total_loss_scalar", "exact_resume", "sums the loss before that", 1590),
    Member("_globalstep_last_logged", "exact_resume", "is the step of the latest log", 1591),
)
"""Attributes of a trainer that hold state between two steps and are not saved."""


def lacking(trainer: Any) -> dict[str, str]:
    """Return what this version of transformers does not allow, with the reasons.

    Args:
        trainer: A trainer whose training begins.
    """
    return absences(Trainer, METHODS) | absences(trainer, KEPT)


def forget_cpu_number(args: Any) -> None:
    """Rename the device of a process on CPU to ``cpu``.

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
