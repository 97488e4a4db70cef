"""Shell completion of plugin names, recipe names and files, from entry-point metadata. Nothing is imported."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from guerdon.plugins.discovery import Kind, installed_plugins

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_plugins(*kinds: Kind, files: bool = True) -> Complete:
    """Return a completion of the names of plugins of some kinds, and of files unless ``files`` is false."""

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = sorted({plugin.name for plugin in installed_plugins(*kinds)})
        found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        if files and (not found or "/" in incomplete or "." in incomplete):
            found.append(CompletionItem(incomplete, type="file"))
        return found

    return complete
