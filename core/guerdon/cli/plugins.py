"""``guerdon plugins``."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from guerdon.cli.plugins_show import show
from guerdon.cli.plugins_test import test
from guerdon.cli.usage import KindChoice
from guerdon.errors import GuerdonError, MissingDependencyError, one_line
from guerdon.plugins.contracts import wrong_members, wrong_shape
from guerdon.plugins.discovery import Kind, Plugin, installed_plugins, load_plugin


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--kind", type=KindChoice(Kind), help="Only plugins of this kind.")
@click.option("--load", is_flag=True, help="Import every plugin, to see which are broken.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, kind: str | None, load: bool) -> None:
    """List the installed plugins. Nothing is imported unless --load is given."""
    if ctx.invoked_subcommand is not None:
        return
    found = installed_plugins(*([Kind(kind)] if kind else []))
    rows = [{**asdict(plugin), "status": _status(plugin, found, load)} for plugin in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = ("kind", "name", "distribution", "version", "status", "target")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in columns))
    _wide_console(table).print(table)


plugins.add_command(test)
plugins.add_command(show)


def _wide_console(table: Table) -> Console:
    """Return a console in which no cell wraps: one line for each plugin, for grep and for narrow terminals."""
    natural = Measurement.get(Console(width=10_000), Console(width=10_000).options, table).maximum
    return Console(width=natural)


def _status(plugin: Plugin, found: Sequence[Plugin], load: bool) -> str:
    same = Counter((other.kind, other.name) for other in found)
    if same[plugin.kind, plugin.name] > 1:
        return f"duplicate name: use {plugin.qualified_name}"
    module = plugin.target.partition(":")[0]
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return f"broken: there is no module '{module}'"
    if not load or plugin.kind is Kind.RECIPE:
        return "ok" if load else "installed"
    try:
        return _broken(plugin) or "ok"
    except MissingDependencyError as error:
        return f"needs {one_line(error).rpartition('Install it with: ')[2]}"
    except GuerdonError as error:
        cause = error.__cause__
        return f"broken: {one_line(error) if cause is None else f'{type(cause).__name__}: {one_line(cause)}'}"


def _broken(plugin: Plugin) -> str | None:
    loaded = load_plugin(plugin)
    if plugin.kind is None or plugin.kind is Kind.COMMAND:
        return None
    problems = [wrong_shape(plugin.kind, loaded) or "", *wrong_members(plugin.kind, loaded)]
    return next((f"broken: it {problem}" for problem in problems if problem), None)
