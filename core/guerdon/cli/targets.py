"""What the commands that take a manifest share: finding it by path or by recipe name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from guerdon.errors import ManifestError, PluginLoadError, PluginNotFoundError
from guerdon.plugins import Kind, find_plugin

manifest_argument = click.argument("manifest", metavar="MANIFEST|RECIPE")
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
