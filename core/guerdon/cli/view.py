"""``guerdon view``."""

from __future__ import annotations

from pathlib import Path

import click

from guerdon.cli.listening import given_token, server_options
from guerdon.errors import UsageError, library_of

TOKEN_VARIABLE = "GUERDON_VIEW_TOKEN"

_GRACE_S = 1


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@server_options(port=8765, variable=TOKEN_VARIABLE, clients="browsers must bring")
def view(runs: tuple[Path, ...], host: str, port: int, token_file: Path | None) -> None:
    """Show runs in the browser, while they train and after: curves, rollouts, groups, verdicts, comparisons.

    RUN is the folder of a run, one with runs, or a file that 'guerdon score -o' wrote as JSONL. The pages need no
    network. An index of the rollouts is kept in the user's cache; the runs' own files are not changed.
    """
    with library_of("guerdon view", extra="view"):
        from guerdon.serve.server import is_loopback, run_server
        from guerdon.view.app import create_app
        from guerdon.view.runs import found_runs, viewed_runs
    token = given_token(token_file, TOKEN_VARIABLE)
    if token is None and not is_loopback(host):
        raise UsageError(
            f"anyone who reaches {host} could read the runs. Set {TOKEN_VARIABLE} or --token-file to a token, "
            "or leave --host out."
        )
    app = create_app(viewed_runs(found_runs(runs)), token)

    def started(url: str) -> None:
        click.echo(f"Viewing on {url}" + ("/?token=TOKEN, with the token" if token else ""))

    run_server(app, host, port, _GRACE_S, started)
