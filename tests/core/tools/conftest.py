"""A toolbox that is closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from guerdon.tools import Toolbox, ToolEntry


@pytest.fixture
def opened() -> Iterator[Callable[..., Toolbox]]:
    with ExitStack() as stack:

        def open_toolbox(*entries: ToolEntry, **options: Any) -> Toolbox:
            return stack.enter_context(Toolbox(entries, **options))

        yield open_toolbox
