"""Shared by commands that score: the rubric of a manifest's stage or of named plugins, and its cache."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from guerdon.cli.completion import complete_plugins
from guerdon.cli.targets import check_folder, yaml_value
from guerdon.errors import InfrastructureError, UsageError
from guerdon.manifest.entries import REWARD
from guerdon.manifest.rubrics import plugin_entries, resolve_rubric
from guerdon.plugins.discovery import SCORERS, Kind
from guerdon.plugins.spelling import nearest
from guerdon.rubric import Entry
from guerdon.scoring.cache import ScoreCache

F = TypeVar("F", bound=Callable[..., Any])

column_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    help="Read a column under another name. Repeatable.",
)
cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep scores here, and take known ones from here: the same command, run again, resumes.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    help="How many workers share the sync verifiers; by default one for each usable CPU.",
)
ray_option = click.option(
    "--ray",
    metavar="auto|ADDRESS",
    help="Run the workers on all nodes of a Ray cluster; by default on this machine.",
)


def rubric_options(verb: str) -> Callable[[F], F]:
    """Return a decorator with the options that choose a rubric: a manifest's, or plugins with their params.

    Args:
        verb: The command's action, such as ``Score with``.
    """
    options = (
        click.option(
            "--manifest",
            "-m",
            metavar="MANIFEST|RECIPE",
            shell_complete=complete_plugins(Kind.RECIPE),
            help=f"{verb} a stage's rubric.",
        ),
        click.option("--stage", help="The stage of the manifest; needed if several have rewards."),
        click.option(
            "--use",
            "uses",
            multiple=True,
            metavar="PLUGIN",
            shell_complete=complete_plugins(*SCORERS),
            help=f"{verb} a plugin. Repeatable.",
        ),
        click.option(
            "--param",
            "-p",
            "params",
            multiple=True,
            metavar="PLUGIN.NAME=VALUE",
            help="Set a param of a --use plugin. Repeatable.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def chosen_entries(
    verb: str, manifest: str | None, stage: str | None, uses: Sequence[str], params: Sequence[str]
) -> Sequence[Entry]:
    """Return the rubric that a command's :func:`rubric_options` choose.

    Raises:
        ManifestError: The manifest's rubric cannot be used.
        UsageError: The options choose none, or contradict each other.
    """
    if (manifest is None) == (not uses):
        raise UsageError(f"say what to {verb}: either --manifest FILE, or --use PLUGIN (repeatable).")
    chosen = params_by_target(params, {use: plugin_names(use) for use in uses})
    if manifest is not None:
        return resolve_rubric(manifest, stage).entries
    if stage is not None:
        raise UsageError(f"--stage {stage} names a stage of a manifest, and there is no --manifest.")
    entries: dict[str, Entry] = {}
    for use in uses:
        for entry in plugin_entries(use, chosen[use]):
            if entry.name in entries:
                raise UsageError(
                    f"--use {use} adds a second '{entry.name}'. Use it once, or write a manifest, where each reward "
                    "may have a 'name'."
                )
            entries[entry.name] = entry
    if len(entries) > 1 and REWARD in entries:
        raise UsageError(
            f"'{REWARD}' is the name of the rubric's reward. Rename the function, or write a manifest, where the entry "
            "may have another 'name'."
        )
    return list(entries.values())


def params_by_target(
    params: Sequence[str], targets: Mapping[str, Collection[str]]
) -> dict[str, dict[str, Any]]:
    """Return the params that ``--param TARGET.NAME=VALUE`` sets, by target. Values are YAML.

    Args:
        params: The options.
        targets: The names of each target.

    Raises:
        UsageError: One is not of that form, or names no target.
    """
    chosen: dict[str, dict[str, Any]] = {target: {} for target in targets}
    for param in params:
        left, equals, text = param.partition("=")
        name, dot, key = left.rpartition(".")
        if not (equals and dot):
            plugin = name or _short(next(iter(targets), "PLUGIN"))
            raise UsageError(
                f"--param {param} is not of the form PLUGIN.NAME=VALUE. "
                f"Write {plugin}.{key or 'NAME'}={text or 'VALUE'}."
            )
        fitting = [target for target, names in targets.items() if name in names]
        if not fitting:
            by_lower = {_short(target).lower(): _short(target) for target in targets}
            close = nearest(name.lower(), by_lower) or next(iter(by_lower), None)
            fix = f" Write {by_lower[close]}.{key}={text}." if close else ""
            raise UsageError(
                f"--param {param} names no plugin that is used: {', '.join(targets) or 'none'}.{fix}"
            )
        for target in fitting:
            chosen[target][key] = yaml_value(f"--param {param}", text)
    return chosen


def plugin_names(use: str) -> set[str]:
    """Return the names of a plugin in ``--param``: as given, and its last part."""
    return {use, use.rpartition("/")[2], use.rpartition(":")[2]}


def _short(use: str) -> str:
    """Return the shortest of a plugin's names in ``--param``."""
    return min(plugin_names(use), key=len)


@contextmanager
def opened_cache(path: Path | None) -> Iterator[ScoreCache]:
    """Yield a cache of scores on disk, so that files of any size can be scored. Without a path it is temporary.

    Raises:
        UsageError: The file is not a cache, or its folder is missing.
        InfrastructureError: It cannot be opened.
    """
    if path is not None:
        check_folder("--cache", path)
    with tempfile.TemporaryDirectory(prefix="guerdon-") as folder:
        try:
            cache = ScoreCache(path or Path(folder, "scores.sqlite"))
        except sqlite3.OperationalError as error:
            raise InfrastructureError(f"the cache {path} cannot be opened: {error}.") from None
        except sqlite3.DatabaseError:
            raise UsageError(f"--cache {path} is a file of another kind. Name a new one.") from None
        try:
            yield cache
        finally:
            cache.close()
