"""``guerdon schema``."""

from __future__ import annotations

import json

import click

from guerdon.manifest.schema import Manifest


@click.command()
def schema() -> None:
    """Print the manifest's JSON Schema, for editors that check and complete YAML."""
    click.echo(json.dumps(Manifest.model_json_schema(), indent=2))
