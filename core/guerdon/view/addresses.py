"""The addresses of pages, and what an address cannot name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from guerdon.errors import UsageError
from guerdon.view.runs import ViewedRun

Context = dict[str, Any]
"""What a page's template shows."""

Query = Mapping[str, str]


class NotFoundError(UsageError):
    """A page's address names something that is not there."""


def address(run: ViewedRun, *parts: object, **query: object) -> str:
    """Return the address of a page of a run."""
    path = "/".join(quote(str(part), safe="") for part in parts)
    given = {name: value for name, value in query.items() if value is not None and value != ""}
    return f"/runs/{quote(run.key, safe='')}/{path}" + (f"?{urlencode(given)}" if given else "")
