"""The tool ``my_plugin``."""

from __future__ import annotations

PRICES = {"apple": 2, "bread": 3, "milk": 1}


class MyPlugin:
    """The prices of a shop.

    Args:
        currency: The currency to write behind each price.

    Raises:
        ValueError: ``currency`` is empty.
    """

    timeout_s = 5.0

    def __init__(self, currency: str = "EUR") -> None:
        if not currency:
            raise ValueError("currency is empty; name one, such as EUR")
        self._currency = currency

    def __call__(self, product: str) -> str:
        """Say what a product costs.

        Args:
            product: The product's name, such as "apple".
        """
        if product not in PRICES:
            raise ValueError(f"there is no {product[:40]}; there are {', '.join(PRICES)}")
        return f"{PRICES[product]} {self._currency}"
