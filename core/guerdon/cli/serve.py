"""``guerdon serve``."""

from __future__ import annotations

from pathlib import Path

import click

from guerdon.cli.listening import given_token, server_options
from guerdon.cli.rubrics import chosen_entries, column_option, ray_option, rubric_options, workers_option
from guerdon.cli.targets import FiniteRange
from guerdon.errors import library_of
from guerdon.offline.columns import read_renames
from guerdon.rubric import Rubric
from guerdon.rubric.shared import SharedRubric

TOKEN_VARIABLE = "GUERDON_SERVE_TOKEN"


@click.command()
@rubric_options("Serve")
@server_options(port=8000, variable=TOKEN_VARIABLE, clients="clients must send")
@column_option
@workers_option
@ray_option
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
    type=FiniteRange(),
    help="For OpenRLHF and NeMo Gym: the reward of a completion that has none. Without it, its request is an error.",
)
@click.option(
    "--grace",
    default=30,
    show_default=True,
    type=click.IntRange(0),
    metavar="SECONDS",
    help="What requests under way may take after SIGTERM.",
)
@click.option("--access-log", is_flag=True, help="Print a line for each request.")
def serve(
    manifest: str | None,
    stage: str | None,
    uses: tuple[str, ...],
    params: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    columns: tuple[str, ...],
    workers: int | None,
    ray: str | None,
    max_body: int,
    max_batch: int,
    max_pending: int,
    unscored: float | None,
    grace: int,
    access_log: bool,
) -> None:
    """Score over HTTP: POST /score, OpenRLHF's POST /get_reward, NeMo Gym's POST /verify, GET /health/ready."""
    entries = chosen_entries("serve", manifest, stage, uses, params)
    renames = read_renames(columns)
    with library_of("guerdon serve", extra="serve"):
        from guerdon.serve.app import Limits, create_app
        from guerdon.serve.server import is_loopback, run_server
    token = given_token(token_file, TOKEN_VARIABLE)
    if token is None and not is_loopback(host):
        click.echo(
            f"warning: anyone who reaches {host} may ask; set {TOKEN_VARIABLE} or --token-file.", err=True
        )
    with SharedRubric(Rubric(entries, workers=workers, ray=ray)) as shared:
        limits = Limits(max_body * 2**20, max_batch, max_pending)
        app = create_app(shared, limits, token, unscored, renames)
        names = ", ".join(shared.names)

        def started(url: str) -> None:
            click.echo(f"Serving {names} on {url} (fingerprint {shared.fingerprint})")

        run_server(app, host, port, grace, started, access_log)
