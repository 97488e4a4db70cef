"""A made-up store of numbers for miniature agents: only a call says what a box holds."""

from __future__ import annotations

import hashlib

LARGEST = 30
"""The largest number in a box; the smallest is 10."""
SMALLEST = 10


def open_box(box: str) -> str:
    """Say which number a box holds.

    Args:
        box: The box's label: two numbers from 10 to 99, such as "47-82".
    """
    return str(number_in(box))


def number_in(box: str) -> int:
    """Return the number in a box.

    Raises:
        ValueError: There is no such box.
    """
    first, dash, second = box.partition("-")
    if not dash or not all(
        part.isascii() and part.isdecimal() and len(part) == 2 for part in (first, second)
    ):
        raise ValueError(f"there is no box {box[:20]}")
    digest = hashlib.sha256(f"box {box}".encode()).digest()
    return SMALLEST + int.from_bytes(digest[:4], "big") % (LARGEST - SMALLEST + 1)
