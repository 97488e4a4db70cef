"""Sums and means over the tokens of each sequence, without asking the device how many there are."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, torch's own custom


class Sequences:
    """Which tokens are one sequence's; its sums and means are given back to each of its tokens.

    Args:
        sequence: The number of each token's sequence [N], those of a sequence side by side.
    """

    def __init__(self, sequence: Tensor) -> None:
        self._sequence = sequence

    @cached_property
    def _number(self) -> Tensor:
        """The same numbers from 0 on without gaps, so that none is as large as the number of tokens."""
        changes = self._sequence[1:] != self._sequence[:-1]
        return F.pad(changes.cumsum(0), (1, 0))[: len(self._sequence)]

    @cached_property
    def length(self) -> Tensor:
        """The number of tokens of each token's sequence [N]."""
        return self.sum(torch.ones_like(self._sequence))

    def count(self) -> Tensor:
        """How many sequences there are."""
        return (1 / self.length).sum().round()

    def sum(self, values: Tensor) -> Tensor:
        """The sum over each token's sequence [N]."""
        sums = values.new_zeros(len(values)).index_add(0, self._number, values)
        return sums.index_select(0, self._number)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over each token's sequence [N]."""
        return self.sum(values) / self.length
