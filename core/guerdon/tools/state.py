"""What of an environment's state scorers and records see."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from guerdon.data.json_values import to_json


def public_attributes(environment: Any) -> dict[str, Any]:
    """Return the public attributes that are JSON values."""
    found = {}
    for name, value in list(getattr(environment, "__dict__", {}).items()):
        if not name.startswith("_"):
            with contextlib.suppress(TypeError, ValueError, RecursionError):
                json.dumps(value, allow_nan=False)
                found[name] = to_json(value)
    return found
