"""Say in one line what is wrong with the arguments and options of a command."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import click

from guerdon.errors import one_line
from guerdon.plugins.discovery import Kind
from guerdon.plugins.spelling import did_you_mean

__all__ = ["KindChoice", "usage_line"]

_TYPES = {r"a valid integer( range)?": "a whole number", r"a valid float( range)?": "a number"}
"""click's names of types, and ours."""


class KindChoice(click.Choice[str]):
    """A kind of plugin, as manifests and ``guerdon_kind`` spell it; a hyphen counts as the underscore."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        super().__init__([kind.value for kind in kinds])

    def normalize_choice(self, choice: Any, ctx: click.Context | None) -> str:
        """Return a choice as it is compared."""
        return super().normalize_choice(choice, ctx).replace("-", "_")


def usage_line(error: click.ClickException) -> str:
    """Return an error of click on one line: what is wrong, in which command, and where the right use is shown."""
    message = one_line(error.format_message()).rstrip(".")
    for theirs, ours in _TYPES.items():
        message = re.sub(rf"is not {theirs}$", f"is not {ours}", message)
    message = re.sub(r"\.?\s*\((Did you mean .*\?)\)$", r". \1", message)  # click's own, in parentheses
    message += "" if message.endswith("?") else "."
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:  # click does not say which command lacks an option's value
        return f"UsageError: {message} The command's --help shows its arguments and options."
    command = context.command_path
    return f"UsageError: {command}: {message}{_nearest(error)} '{command} --help' shows its arguments and options."


def _nearest(error: click.ClickException) -> str:
    """Return the nearest of the values to choose from, for a value that is not among them."""
    kind = getattr(getattr(error, "param", None), "type", None)
    given = re.match(r"'(.*?)' is not one of ", getattr(error, "message", ""))
    return did_you_mean(given[1], kind.choices) if given and isinstance(kind, click.Choice) else ""
