"""Plan a batch on the host: one copy from the device, index arithmetic in numpy, and one copy back.

Reading a tensor's value makes Python wait for the device, and the device then waits for Python. So a micro-batch is
read once, everything that depends on its masks is computed here, and all indices are copied together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers: TypeAlias = NDArray[np.int64]


def download(columns: Sequence[Tensor]) -> list[Numbers]:
    """Return whole numbers [rows, any] on the host, in one copy for all."""
    widths = [column.shape[1] for column in columns]
    together = torch.cat([column.to(torch.int64) for column in columns], dim=1).cpu().numpy()
    ends = np.cumsum(widths)
    return [together[:, end - width : end] for width, end in zip(widths, ends, strict=True)]


def upload(device: torch.device, *arrays: NDArray[Any]) -> list[Tensor]:
    """Return the arrays as flat int64 tensors on the device, in one asynchronous copy for all."""
    flat = [np.ascontiguousarray(array, dtype=np.int64).reshape(-1) for array in arrays]
    together = torch.from_numpy(np.concatenate(flat))
    if device.type == "cuda":
        together = together.pin_memory()
    parts = together.to(device, non_blocking=True)
    ends = np.cumsum([len(part) for part in flat])
    return [parts[end - len(part) : end] for part, end in zip(flat, ends, strict=True)]


def ranges(starts: Numbers, lengths: Numbers) -> Numbers:
    """Return the concatenated ranges with these starts and lengths."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())
