"""One budget of operations for a whole comparison, so that no nesting of cheap steps adds up to a hang."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.reading.tokens import TooLargeError

OPERATIONS = 20_000
"""Operations that a comparison may use: up to about 0.3 seconds of CPU time."""


class Budget:
    """Counts operations down, and raises when none are left."""

    def __init__(self, operations: int = OPERATIONS) -> None:
        self._left = operations

    def spend(self, operations: int = 1) -> None:
        """Subtract operations.

        Raises:
            TooLargeError: None are left.
        """
        self._left -= operations
        if self._left < 0:
            raise TooLargeError(f"comparing takes more than {OPERATIONS:,} operations")
