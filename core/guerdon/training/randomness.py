"""Draw random numbers during a training, without a change of the numbers that the training draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["own_random_state"]


@contextmanager
def own_random_state(device: torch.device) -> Iterator[None]:
    """Restore the random states of Python, numpy and torch when the block ends.

    Args:
        device: The device of the model, whose generator is restored in addition to the CPU's.
    """
    python, array = random.getstate(), np.random.get_state()
    on_cpu = device.type == "cpu"
    try:
        with torch.random.fork_rng(
            devices=[] if on_cpu else [device], device_type="cuda" if on_cpu else device.type
        ):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
