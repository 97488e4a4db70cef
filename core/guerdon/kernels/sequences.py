"""Sums and means over the tokens of each sequence, without reading their number from the device."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, torch's own custom


class Sequences:
    """The sequences of tokens. Sums and means are returned for each token.

    Args:
        sequence: The number of each token's sequence [N], with those of a sequence together.
    """

    def __init__(self, sequence: Tensor) -> None:
        self._sequence = sequence

    @cached_property
    def _number(self) -> Tensor:
        """Return the numbers renumbered from 0 without gaps, so that all are below the number of tokens."""
        changes = self._sequence[1:] != self._sequence[:-1]
        return F.pad(changes.cumsum(0), (1, 0))[: len(self._sequence)]

    @cached_property
    def length(self) -> Tensor:
        """Return the number of tokens of each token's sequence [N]."""
        return self.sum(torch.ones_like(self._sequence))

    def count(self) -> Tensor:
        """Return the number of sequences."""
        return (1 / self.length).sum().round()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over each token's sequence [N]."""
        sums = values.new_zeros(len(values)).index_add(0, self._number, values)
        return sums.index_select(0, self._number)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over each token's sequence [N]."""
        return self.sum(values) / self.length
