"""Parse large JSON in a thread without stopping the other threads.

The standard library's parser is one call in C, which holds the interpreter's lock to its end: 16 MiB of a hostile reply
would stop the event loop for seconds. Its Python version takes longer, but other threads can run.
"""

from __future__ import annotations

import json
from json import decoder, scanner
from typing import Any

LARGE_BYTES = 16 << 10
"""Up to this size, the parser in C takes at most a few milliseconds."""


class _PythonDecoder(json.JSONDecoder):
    def __init__(self) -> None:
        super().__init__()
        self.parse_string = decoder.py_scanstring  # type: ignore[attr-defined]
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]


def parse(data: bytes) -> Any:
    """Return the value that JSON holds, as `json.loads` does.

    Raises:
        ValueError: The bytes are not JSON.
        RecursionError: It is nested too deeply.
    """
    return _PythonDecoder().decode(data.decode())
