"""``guerdon plugins``."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from guerdon.cli.completion import complete_plugins
from guerdon.cli.plugins_test import test
from guerdon.component import kind_of, valid_params
from guerdon.errors import PluginLoadError
from guerdon.plugins import Kind, Plugin, find_plugin, installed_plugins, load_plugin


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only plugins of this kind.")
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
        table.add_row(*(str(row[column]) for column in columns))
    _wide_console(table).print(table)


plugins.add_command(test)


@plugins.command()
@click.argument("name", shell_complete=complete_plugins(*Kind))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show a plugin: where it comes from, what it does, which params it takes."""
    plugin = find_plugin(name, list(Kind))
    loaded = None if plugin.kind is Kind.RECIPE else load_plugin(plugin, Path.cwd())
    kind = plugin.kind or kind_of(loaded)
    doc = inspect.getdoc(loaded) or "" if loaded is not None else ""
    described = _documented_params(doc)
    takes_params = kind in (Kind.VERIFIER, Kind.REWARD, Kind.SOURCE, Kind.STAGE)
    params: list[dict[str, Any]] = [
        {
            "name": parameter.name,
            "type": _type_name(parameter.annotation),
            "default": None if parameter.default is parameter.empty else repr(parameter.default),
            "required": parameter.default is parameter.empty,
            "doc": described.get(parameter.name, ""),
        }
        for parameter in (valid_params(kind, loaded).values() if kind and takes_params else [])
    ]
    if as_json:
        click.echo(json.dumps({**asdict(plugin), "kind": kind, "doc": doc, "params": params}, indent=2))
        return
    click.echo(f"{plugin.name}: {kind or 'plugin'} of {plugin.distribution} {plugin.version}")
    click.echo(f"from {plugin.target}\n")
    if doc:
        click.echo(doc.partition("\nArgs:")[0].strip() + "\n")
    if params:
        table = Table("param", "type", "default", "what it is")
        for param in params:
            default = "required" if param["required"] else param["default"]
            table.add_row(param["name"], param["type"], default, param["doc"])
        Console().print(table)


def _wide_console(table: Table) -> Console:
    """A console in which no cell wraps: a line stays a line, for grep and for narrow terminals."""
    natural = Measurement.get(Console(width=10_000), Console(width=10_000).options, table).maximum
    return Console(width=natural)


def _status(plugin: Plugin, found: Sequence[Plugin], load: bool) -> str:
    same = Counter((other.kind, other.name) for other in found)
    if same[plugin.kind, plugin.name] > 1:
        return f"duplicate name: use {plugin.qualified_name}"
    module = plugin.target.partition(":")[0]
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return f"broken: there is no module '{module}'"
    if load and plugin.kind is not Kind.RECIPE:
        try:
            load_plugin(plugin)
        except PluginLoadError as error:
            cause = error.__cause__
            return f"broken: {type(cause).__name__}: {cause}"
    return "ok" if load else "installed"


def _type_name(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "any"
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _documented_params(doc: str) -> dict[str, str]:
    """What the ``Args:`` section of a Google docstring says of each parameter."""
    described: dict[str, str] = {}
    _, found, section = doc.partition("Args:\n")
    if not found:
        return described
    indent = len(section) - len(section.lstrip(" "))
    name = ""
    for line in section.splitlines():
        if line.strip() and len(line) - len(line.lstrip(" ")) < indent:
            break  # the next section
        if line[:indent].isspace() and line[indent : indent + 1].strip() and ":" in line:
            name, _, text = line.strip().partition(":")
            name = name.partition(" ")[0]
            described[name] = text.strip()
        elif name and line.strip():
            described[name] += f" {line.strip()}"
    return described
