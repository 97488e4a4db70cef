"""Remove secrets from everything that a run writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "***"
"""The text that replaces a secret."""

_SECRET_NAME = re.compile(
    r"(^|[_-])(hub_token|hf_token|api_?key|access_?key|secret_?key|private_?key|password|passwd|passphrase|"
    r"authorization|(access|auth|api|hub|session|refresh|bearer)[_-]?token)$",
    re.IGNORECASE,
)
"""Names of params, headers and environment variables that hold a secret. ``eos_token`` and ``api_key_env`` are not
among
them."""

_MAYBE_SECRET_NAME = re.compile(r"(^|[_-])(secret|credentials?|auth|bearer)$|^token$", re.IGNORECASE)
"""Names that hold a secret only if the value looks like one: a ``token`` may be a marker in a text."""

_SECRET_VALUE = re.compile(r"\S{8,}")

_SECRET_TEXT = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abpr]-[\w-]{10,})"
)
"""Tokens that are recognisable by their form."""

_SHORTEST = 6
"""The shortest value of an environment variable to search for, because shorter ones occur in too many texts."""


class Secrets:
    """The secrets of a run: those of its manifest, by name, and those of its environment.

    Args:
        manifest: The manifest, as plain values.
    """

    def __init__(self, manifest: Any) -> None:
        named = set(_named(manifest))
        named |= {
            value for name, value in os.environ.items() if _is_secret(name, value) and len(value) >= _SHORTEST
        }
        self._values = sorted(named, key=len, reverse=True)

    def hide(self, value: Any) -> Any:
        """Return a JSON value with every secret in it replaced."""
        if isinstance(value, str):
            return self._hide_text(value)
        if isinstance(value, Mapping):
            return {key: HIDDEN if _is_secret(key, item) else self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        return value

    def _hide_text(self, text: str) -> str:
        for secret in self._values:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return _SECRET_TEXT.sub(HIDDEN, text)


def _is_secret(key: Any, value: Any) -> bool:
    if not (isinstance(key, str) and isinstance(value, str)):
        return False
    maybe = _MAYBE_SECRET_NAME.search(key) is not None and _SECRET_VALUE.fullmatch(value) is not None
    return maybe or _SECRET_NAME.search(key) is not None


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _is_secret(key, item):
                if item:
                    yield item
            else:
                yield from _named(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item)
