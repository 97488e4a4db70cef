"""Shared by commands: find a manifest by path or by recipe name, and read the values of params."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.cli.completion import complete_plugins
from guerdon.errors import UsageError
from guerdon.manifest.loading import quoting_fix
from guerdon.manifest.rubrics import manifest_path
from guerdon.plugins.discovery import Kind

__all__ = [
    "FiniteRange",
    "check_folder",
    "manifest_argument",
    "manifest_path",
    "set_option",
    "yaml_value",
]

manifest_argument = click.argument(
    "manifest", metavar="MANIFEST|RECIPE", shell_complete=complete_plugins(Kind.RECIPE)
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change the manifest: seed=1, stages.zero.params.max_steps=5. Repeatable.",
)


class FiniteRange(click.FloatRange):
    """A number in a range; click's own takes ``nan`` and ``inf`` too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def check_folder(option: str, path: Path) -> None:
    """Check that the folder of a file to write exists.

    Raises:
        UsageError: It does not.
    """
    if not path.parent.is_dir():
        raise UsageError(
            f"{option} {path}: there is no folder '{path.parent}'. Make it, or name another file."
        )


def yaml_value(option: str, text: str) -> Any:
    """Return an option's value for a param, parsed as in a manifest.

    Raises:
        UsageError: It is not YAML.
    """
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError):  # a number of thousands of digits is a ValueError
        raise UsageError(f"{option}: the value is not valid YAML. {quoting_fix(option, text)}") from None
