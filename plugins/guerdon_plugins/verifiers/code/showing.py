"""Show values of candidates in explanations."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any


class _Shown(reprlib.Repr):
    """Shows the start of a value. The full text of some would take long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr_bytes(self, value: bytes, _: int) -> str:
        return repr(value[: self.maxstring])

    def repr_dict_view(self, value: Iterable[Any], level: int) -> str:
        return self.repr_list(list(value), level)

    repr_dict_keys = repr_dict_values = repr_dict_items = repr_dict_view


_SHOWN = _Shown()


def shown(value: Any) -> str:
    """Return the start of a value as text, at most 100 characters."""
    try:
        return f"{_SHOWN.repr(value):.100}"  # the full text may have millions of characters
    except ValueError:
        return "a number with thousands of digits"  # Python refuses to convert it to text
