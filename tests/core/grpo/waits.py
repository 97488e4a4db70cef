"""Counts what makes Python wait for a device, on a CPU: the operations that would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_SIZE_FROM_VALUES = ("nonzero", "masked_select", "unique_consecutive", "_unique2", "unique_dim", "equal")


class _Watch(TorchDispatchMode):
    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._waits = waits

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.__name__.split(".")[0]
        if name in ("_local_scalar_dense", "is_nonzero", *_SIZE_FROM_VALUES):
            self._waits[name] += 1
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        if any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices):
            self._waits["indexed by bool"] += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def counted_waits() -> Iterator[Counter[str]]:
    """Count, by kind, the waits of the block."""
    waits: Counter[str] = Counter()

    def count(name: str) -> Any:
        original = getattr(torch.Tensor, name)

        def counted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            waits[name] += 1
            return original(tensor, *args, **kwargs)

        return counted

    copies = [patch.object(torch.Tensor, name, count(name)) for name in ("tolist", "cpu")]
    with copies[0], copies[1], _Watch(waits):
        yield waits
