"""``guerdon schema``."""

from __future__ import annotations

import json

import click

from guerdon.manifest.json_schema import manifest_schema


@click.command()
def schema() -> None:
    """Print the manifest's JSON Schema, for editors that check and complete YAML.

    It knows the installed plugins and their params. Print it again when they change.
    """
    click.echo(json.dumps(manifest_schema(), indent=2))
