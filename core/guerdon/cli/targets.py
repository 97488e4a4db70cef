"""What commands share: finding a manifest by path or by recipe name, and reading the values of params."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.cli.completion import complete_plugins
from guerdon.errors import ManifestError, PluginLoadError, PluginNotFoundError, UsageError, one_line
from guerdon.plugins import Kind, find_plugin

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


def manifest_path(target: str) -> Path:
    """The file of a manifest, or of the recipe with that name."""
    path = Path(target)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    try:
        recipe = find_plugin(target, [Kind.RECIPE])
    except PluginNotFoundError as error:
        raise ManifestError(f"there is no file '{target}', and {error}") from None
    spec = importlib.util.find_spec(recipe.target)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        file = Path(folder, f"{recipe.name}.yaml")
        if file.is_file():
            return file
    raise PluginLoadError(f"{recipe}: the package '{recipe.target}' holds no file {recipe.name}.yaml.")


def yaml_value(option: str, text: str) -> Any:
    """The value that an option gives a param, read as a manifest would read it.

    Raises:
        UsageError: It is not YAML.
    """
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise UsageError(f"{option}: the value is not valid YAML: {one_line(error)}") from None
