"""The options of the commands that listen on a port."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from guerdon.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def server_options(port: int, variable: str, clients: str) -> Callable[[F], F]:
    """Return a decorator with the options for the address and the token.

    Args:
        port: The default port.
        variable: The environment variable that may have the token.
        clients: Who must have the token, and what they do with it, such as ``clients must send``.
    """
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
        click.option(
            "--port",
            default=port,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="The port; 0 for any that is free.",
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"The file with the token that {clients}; by default the variable {variable} has it.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def given_token(file: Path | None, variable: str) -> str | None:
    """Return the token in a file, or in an environment variable if no file is named.

    Raises:
        UsageError: The file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(variable) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {file} cannot be read: {error}.") from None
    if not token:
        raise UsageError(f"--token-file {file} is empty. Write the token into it.")
    return token
