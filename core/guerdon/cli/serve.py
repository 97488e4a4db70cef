"""``guerdon serve``."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import click

from guerdon.cli.rubrics import manifest_entries, params_by_target, plugin_entry, plugin_names
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.rubric import Rubric
from guerdon.scoring.cache import ScoreCache
from guerdon.shared_rubric import SharedRubric

TOKEN_VARIABLE = "GUERDON_SERVE_TOKEN"

MAX_CACHED_SCORES = 200_000
"""About 100 MB."""


@click.command()
@click.option("--manifest", "-m", metavar="MANIFEST|RECIPE", help="Serve a stage's rubric.")
@click.option("--stage", help="The stage of the manifest; needed if several have rewards.")
@click.option("--use", "uses", multiple=True, metavar="PLUGIN", help="Serve a plugin. Repeatable.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="PLUGIN.NAME=VALUE",
    help="Set a param of a --use plugin. Repeatable.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port; 0 for any that is free.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The file with the token that clients must send; by default the variable {TOKEN_VARIABLE} has it.",
)
@click.option("--workers", type=click.IntRange(1), help="Worker processes; by default one per usable CPU.")
@click.option(
    "--max-body", default=32, show_default=True, type=click.IntRange(1), metavar="MIB", help="Of one request."
)
@click.option(
    "--max-batch", default=1024, show_default=True, type=click.IntRange(1), help="Rollouts in one request."
)
@click.option(
    "--max-pending",
    default=8192,
    show_default=True,
    type=click.IntRange(1),
    help="Rollouts that may wait; requests beyond that get 503.",
)
@click.option(
    "--unscored",
    type=float,
    help="For OpenRLHF: the reward of a completion that has none. Without it, its request is an error.",
)
@click.option(
    "--grace",
    default=30,
    show_default=True,
    type=click.IntRange(0),
    metavar="SECONDS",
    help="What requests under way may take after SIGTERM.",
)
def serve(
    manifest: str | None,
    stage: str | None,
    uses: tuple[str, ...],
    params: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    workers: int | None,
    max_body: int,
    max_batch: int,
    max_pending: int,
    unscored: float | None,
    grace: int,
) -> None:
    """Score over HTTP: POST /score, OpenRLHF's POST /get_reward, GET /health/ready, GET /metrics."""
    if (manifest is None) == (not uses):
        raise UsageError("say what to serve: either --manifest FILE, or --use PLUGIN (repeatable).")
    try:
        from guerdon.serve.app import Limits, create_app
        from guerdon.serve.server import run_server
    except ModuleNotFoundError as error:
        raise MissingDependencyError("guerdon serve", str(error.name), "serve") from None
    chosen = params_by_target(params, {use: plugin_names(use) for use in uses})
    entries = manifest_entries(manifest, stage) if manifest else [plugin_entry(u, chosen[u]) for u in uses]
    token = _token(token_file)
    if token is None and not _is_loopback(host):
        click.echo(
            f"warning: anyone who reaches {host} may ask; set {TOKEN_VARIABLE} or --token-file.", err=True
        )
    rubric = Rubric(entries, cache=ScoreCache(max_scores=MAX_CACHED_SCORES), workers=workers)
    with SharedRubric(rubric) as shared:
        app = create_app(shared, Limits(max_body * 2**20, max_batch, max_pending), token, unscored)
        names = ", ".join(shared.names)
        run_server(app, host, port, grace, lambda url: click.echo(f"Serving {names} on {url}"))


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {file} cannot be read: {error}.") from None
    if not token:
        raise UsageError(f"--token-file {file} is empty. Write the token into it.")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
