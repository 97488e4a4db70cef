"""How many threads a model on CPU computes with."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NARROW = 512
"""A model narrower than this computes with one thread.

An operation on 1,000 tokens of a model 128 wide takes 0.01 to 0.3 ms on one core. Threads that meet at its end gain less
than that, and where another process has one of the cores they wait for it for milliseconds, at every operation. From
about this width on an operation takes longer than such a wait.
"""


def use_fitting_threads(model: PreTrainedModel) -> None:
    """Set torch's threads for the operations of a model on CPU: one for a narrow one, else torch's default.

    ``OMP_NUM_THREADS`` in the environment decides instead, if it is set.
    """
    import torch

    if "OMP_NUM_THREADS" in os.environ or model.device.type != "cpu":
        return
    config: Any = model.config.get_text_config()
    narrow = getattr(config, "hidden_size", NARROW) < NARROW
    default = _default_threads()
    torch.set_num_threads(1 if narrow else default)


@cache
def _default_threads() -> int:
    """Torch's own number, which the first call finds."""
    import torch

    return torch.get_num_threads()
