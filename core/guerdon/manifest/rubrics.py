"""Resolve a rubric by name, in the same way for the command line, adapters and the server."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon.errors import (
    ManifestError,
    PluginContractError,
    PluginLoadError,
    PluginNotFoundError,
    UsageError,
)
from guerdon.manifest.loading import load_manifest
from guerdon.manifest.plan import plan_rubric
from guerdon.manifest.presets import as_member, is_preset, members_of, whole_of
from guerdon.manifest.schema import Manifest, MemberRef, RetryRef
from guerdon.plugins.component import Component, load_scorer
from guerdon.plugins.contracts import wrong_members
from guerdon.plugins.discovery import SCORERS, Kind, find_plugins
from guerdon.plugins.params import check_params
from guerdon.rubric import Entry
from guerdon.rubric.entry import names_of


@dataclass(frozen=True, slots=True)
class PlannedRubric:
    """A rubric that can be opened."""

    name: str
    """The stage's id, or the plugin's name."""
    entries: Sequence[Entry]
    failure_budget: float
    """The manifest's failure budget; for a plugin, the default."""


def resolve_rubric(
    target: str, stage: str | None = None, params: Mapping[str, Any] | None = None
) -> PlannedRubric:
    """Return the rubric that a name means.

    Args:
        target: A manifest (a path that ends in ``.yaml`` or ``.yml``), a recipe, or a verifier or reward as a manifest
            names it: ``math``, ``distribution/name``, ``package.module:name``, ``./file.py:name``.
        stage: The stage of the manifest or recipe; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.

    Raises:
        ManifestError: The manifest's rubric does not fit.
        UsageError: The name is unknown, or the stage or the params do not fit it.
    """
    if not is_manifest(target):
        if stage is not None:
            raise UsageError(
                f"there is no stage '{stage}' in '{target}', which names a plugin. Name a manifest or a recipe."
            )
        entries = plugin_entries(target, params or {})
        return PlannedRubric(names_of(entries)[-1], entries, Manifest.model_fields["failure_budget"].default)
    if params:
        raise UsageError(f"params are for a plugin, and {target} is a manifest, which has its own.")
    file = load_manifest(manifest_path(target))
    return PlannedRubric(*plan_rubric(file, stage), file.manifest.failure_budget)


def is_manifest(target: str) -> bool:
    """Return whether a name is that of a manifest or a recipe, and not of a verifier or a reward.

    Raises:
        PluginNotFoundError: The name is unknown.
        DuplicatePluginError: Several plugins have the name.
    """
    if Path(target).suffix in (".yaml", ".yml"):
        return True
    try:
        return find_plugins(target, [*SCORERS, Kind.RECIPE], Path.cwd())[0].kind is Kind.RECIPE
    except PluginNotFoundError:
        if Path(target).is_file() and Path(target).suffix != ".py":
            return True
        raise


def manifest_path(target: str) -> Path:
    """Return the file of a manifest, or of the recipe with that name.

    Raises:
        ManifestError: There is neither.
        PluginLoadError: The recipe's package lacks its file.
    """
    path = Path(target)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    if ":" in target:  # a recipe has no import string
        raise ManifestError(
            f"'{target}' is neither a manifest nor a recipe. Name a file that ends in .yaml, or a recipe."
        )
    try:
        (recipe,) = find_plugins(target, [Kind.RECIPE])
    except PluginNotFoundError as error:
        raise ManifestError(f"there is no file '{target}', and {error}") from None
    spec = importlib.util.find_spec(recipe.target)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        file = Path(folder, f"{recipe.name}.yaml")
        if file.is_file():
            return file
    raise PluginLoadError(f"{recipe}: the package '{recipe.target}' holds no file {recipe.name}.yaml.")


def plugin_entries(use: str, params: Mapping[str, Any]) -> list[Entry]:
    """Return a rubric's entries for a plugin, named as a manifest would name them: one, or a preset's members.

    Raises:
        UsageError: There is no such plugin, or a param does not fit.
        PluginContractError: An optional member is misspelt, or has a value of the wrong type.
    """
    component = _scorer(use, params)
    if component.requires_needs:
        raise UsageError(
            f"{component.plugin} counts only where other entries scored 1. Name a manifest whose entry has 'needs'."
        )
    entry = Entry(component.plugin.name, component)
    if not is_preset(component):
        return [entry]
    within = whole_of(entry)
    return [as_member(_member_entry(ref), entry, within) for ref in members_of(entry)]


def _scorer(use: str, params: Mapping[str, Any]) -> Component:
    """Load a scorer, and check its optional members and its params, as of an entry of a manifest."""
    component = load_scorer(use, params, Path.cwd())
    if wrong := wrong_members(component.kind, component.loaded):
        raise PluginContractError(" ".join(f"{component.plugin} {problem}" for problem in wrong))
    check_params(component, component.loaded)
    return component


def _member_entry(ref: MemberRef) -> Entry:
    component = _scorer(ref.use, ref.params)
    assert ref.name is not None
    reaction = ref.on_failure
    on_failure, retries = (reaction.then, reaction.retry) if isinstance(reaction, RetryRef) else (reaction, 0)
    return Entry(ref.name, component, 0.0, ref.when, on_failure, ref.timeout, retries)
