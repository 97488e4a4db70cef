"""The type of a plugin param that is a chat template."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

__all__ = [
    "ChatTemplate",
]


def _template(text: str) -> str:
    if "{" not in text:
        raise ValueError(
            "this is not a Jinja template; write the template itself, such as a block after '|-'"
        )
    return text


ChatTemplate = Annotated[str, AfterValidator(_template)]
"""A Jinja template. The manifest holds its text, so that the stage runs again after a change."""
