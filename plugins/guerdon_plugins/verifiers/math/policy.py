"""What counts as correct where mathematicians' conventions differ. Strict unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """Conventions of a comparison.

    Raises:
        ValueError: A tolerance is negative or not below 1, or a choice is invalid.
    """

    decimal_tolerance: float = 0.0
    """Largest relative error of a written decimal: 0.001 accepts 0.3333 for 1/3. 0 takes decimals as exact."""
    percent: Literal["exact", "optional"] = "exact"
    """``exact``: 25% is 0.25 and nothing else. ``optional``: 25% and 25 are accepted for each other as well."""
    units: Literal["compare", "convert", "ignore"] = "convert"
    """Where both sides have one. ``convert``: 2 hours is 120 minutes. ``compare``: it must be the same. ``ignore``: any
    will do."""
    plus_c: bool = False
    """Accept an antiderivative without the reference's ``+ C``."""
    unevaluated: bool = False
    """Accept finite sums, products and determinants that are not evaluated, by their value."""
    calculations: bool = False
    """Accept sums and products of numerals for a number, by their value: 12 + 30 for 42."""

    def __post_init__(self) -> None:
        if not 0 <= self.decimal_tolerance < 1:
            raise ValueError(
                f"decimal_tolerance must be at least 0 and below 1, a relative error: {self.decimal_tolerance!r}"
            )
        for name, valid in (("percent", ("exact", "optional")), ("units", ("compare", "convert", "ignore"))):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}: {getattr(self, name)!r}")
