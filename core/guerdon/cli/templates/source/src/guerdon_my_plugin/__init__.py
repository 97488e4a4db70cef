"""The source ``my_plugin``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any


class MyPlugin:
    """Additions of two numbers, with their sums as references.

    Args:
        size: The number of rows.
        largest: The largest number to add.
        seed: Another seed gives other rows.

    Raises:
        ValueError: ``size`` or ``largest`` is below 1.
    """

    def __init__(self, size: int = 1000, largest: int = 99, seed: int = 0) -> None:
        if size < 1 or largest < 1:
            raise ValueError(f"size is {size} and largest {largest}; both must be at least 1")
        self._size = size
        self._largest = largest
        self._seed = seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        numbers = random.Random(self._seed)
        for _ in range(self._size):
            first, second = sorted(numbers.randint(0, self._largest) for _ in range(2))
            yield {
                "prompt": [{"role": "user", "content": f"What is {first} + {second}?"}],
                "reference": str(first + second),
            }
