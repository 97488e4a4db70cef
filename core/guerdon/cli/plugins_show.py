"""``guerdon plugins show``."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.syntax import Syntax

from guerdon.cli.completion import complete_plugins
from guerdon.cli.targets import manifest_path
from guerdon.errors import UsageError
from guerdon.options.trl import OWNED
from guerdon.plugins.component import kind_of
from guerdon.plugins.discovery import Kind, Plugin, find_plugins, import_errors_of, load_plugin
from guerdon.plugins.signatures import signature_of, valid_params

_MAX_TYPE = 34
"""The longest type that is shown in full. A longer one is shown by its outer type."""

_MAX_VALUES = 12
"""The most values of a choice that are listed; ``--json`` has all."""


@click.command()
@click.argument("name", shell_complete=complete_plugins(*Kind))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--source", is_flag=True, help="Print a recipe's file as it is, to copy it: --source > mine.yaml."
)
def show(name: str, as_json: bool, source: bool) -> None:
    """Show a plugin's origin, purpose and params; for a recipe, the manifest."""
    plugin, *others = find_plugins(name, list(Kind))
    if plugin.kind is Kind.RECIPE:
        _show_recipe(plugin, as_json=as_json, source=source)
        return
    if source:
        raise UsageError(f"--source prints the file of a recipe, and {plugin} is none.")
    loaded = load_plugin(plugin, Path.cwd())
    kind = plugin.kind or kind_of(loaded)
    doc = inspect.getdoc(loaded) or ""
    params = _params(plugin, kind, loaded, documented_params(doc))
    if as_json:
        click.echo(json.dumps({**asdict(plugin), "kind": kind, "doc": doc, "params": params}, indent=2))
        return
    for other in others:
        click.echo(
            f"'{name}' is also a {other.kind and other.kind.noun}, if the params fit it: {other.target}\n"
        )
    _print_head(plugin, kind)
    if doc:
        click.echo(_plain(doc.partition("\nArgs:")[0]).strip() + "\n")
    if params:
        _print_params(params)
    if _hides_options(plugin, kind, loaded):
        click.echo(
            "The options of TRL are params too. Install them to list them: pip install 'guerdon[train]'"
        )


def _print_head(plugin: Plugin, kind: Kind | None) -> None:
    click.echo(f"{plugin.name}: {kind.noun if kind else 'plugin'} of {plugin.origin}")
    click.echo(f"from {plugin.target}\n")


def _show_recipe(plugin: Plugin, *, as_json: bool, source: bool) -> None:
    path = manifest_path(plugin.qualified_name)
    text = path.read_text(encoding="utf-8")
    if as_json:
        click.echo(json.dumps({**asdict(plugin), "path": str(path), "manifest": text}, indent=2))
    elif source:
        click.echo(text, nl=False)
    else:
        _print_head(plugin, plugin.kind)
        Console().print(Syntax(text, "yaml", background_color="default", word_wrap=True))
        click.echo(
            f"\nRun it:   guerdon run {plugin.name}\n"
            f"Copy it:  guerdon plugins show {plugin.name} --source > {plugin.name}.yaml"
        )


def _params(
    plugin: Plugin, kind: Kind | None, loaded: Any, documented: Mapping[str, str]
) -> list[dict[str, Any]]:
    if kind in (None, Kind.COMMAND, Kind.RECIPE):
        return []
    with import_errors_of(plugin):
        parameters = valid_params(kind, loaded)
    return [
        {
            "name": parameter.name,
            "type": _type_name(parameter.annotation),
            "default": None if parameter.default is parameter.empty else _default(parameter.default),
            "required": parameter.default is parameter.empty,
            "doc": documented.get(parameter.name) or _description(parameter.annotation),
        }
        for parameter in parameters.values()
        if not (parameter.name in OWNED and _is_refused(parameter.annotation))
    ]


def _hides_options(plugin: Plugin, kind: Kind | None, loaded: Any) -> bool:
    """Return whether a stage's options are unknown because their library is not installed."""
    if kind is not Kind.STAGE or not inspect.ismethod(getattr(loaded, "signature", None)):
        return False
    with import_errors_of(plugin):
        return any(p.kind is p.VAR_KEYWORD for p in signature_of(loaded).parameters.values())


def _print_params(params: list[dict[str, Any]]) -> None:
    """Print a block for each param, because a table of four columns is too wide for 80 columns."""
    width = min(Console().width, 110)
    for param in params:
        default = "required" if param["required"] else f"default {param['default']}"
        head = f"{param['name']}: {param['type']}, {default}"
        click.echo(textwrap.fill(head, width, subsequent_indent="    ", break_on_hyphens=False))
        if param["doc"]:
            doc = _plain(_first_sentence(param["doc"]))
            click.echo(textwrap.fill(doc, width, initial_indent="  ", subsequent_indent="  "))


def _plain(doc: str) -> str:
    """Return a docstring without the marks of reStructuredText: roles, and doubled backticks."""
    doc = re.sub(r":[a-z:]+:`~(?:[\w.]*\.)?(\w+)`", r"`\1`", doc)
    return re.sub(r":[a-z:]+:`([^`]+)`", r"`\1`", doc).replace("``", "`")


def _first_sentence(doc: str) -> str:
    end = doc.find(". ")
    return doc if end < 0 else doc[: end + 1]


def _default(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, str | int | float | bool | None) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_refused(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Annotated and not _description(annotation)


def _description(annotation: Any) -> str:
    """Return the description of a param in its annotation, by pydantic's ``Field``."""
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, FieldInfo) and extra.description:
            return extra.description
    return ""


def _type_name(annotation: Any) -> str:
    """Return a type as an author would write it."""
    if annotation is inspect.Parameter.empty or annotation is Any:
        return "any"
    if isinstance(annotation, str):
        return annotation
    if annotation is None or annotation is type(None):
        return "null"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(_type_name, arguments)))
    if origin is typing.Literal:
        shown = [str(value) for value in arguments[:_MAX_VALUES]]
        more = len(arguments) - len(shown)
        return " | ".join(shown) + (f" | … ({more} more)" if more else "")
    if origin is not None:
        inside = ", ".join("..." if a is ... else _type_name(a) for a in arguments)
        name = getattr(origin, "__name__", str(origin))
        return name if len(inside) > _MAX_TYPE else f"{name}[{inside}]"
    return getattr(annotation, "__name__", str(annotation))


def documented_params(doc: str) -> dict[str, str]:
    """Return the description of each parameter in the ``Args:`` section of a Google docstring."""
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
