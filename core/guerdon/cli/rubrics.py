"""What the commands that score share: the rubric that a manifest's stage or some named plugins make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.cli.targets import manifest_path
from guerdon.component import check_params, load_component
from guerdon.errors import UsageError, one_line
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.plan import Plan, StagePlan, named_stages
from guerdon.plugins import JUDGES, find_plugin, load_plugin
from guerdon.rubric import Entry


def judged_stages(target: str, stage: str | None) -> tuple[Plan, list[StagePlan]]:
    """The stages of a manifest that have a rubric of their own: all of them, or the one that is named.

    Raises:
        ManifestError: The manifest is none that can be run.
        UsageError: There is no such stage, or a reward of it uses what only a run makes.
    """
    plan = plan_run(load_manifest(manifest_path(target)))
    judged = [planned for planned in plan.stages if planned.entries]
    if stage is not None:
        judged = [planned for planned in judged if planned.ref.id == stage]
    if not judged:
        with_rewards = ", ".join(planned.ref.id for planned in plan.stages if planned.entries) or "none"
        raise UsageError(
            f"{target} has rewards in the stages {with_rewards}"
            + (f", and not in '{stage}'. Name one of them with --stage." if stage else ".")
        )
    for entry in (entry for planned in judged for entry in planned.entries):
        for param, stage_id in named_stages(entry).items():
            raise UsageError(
                f"'{entry.name}' uses the checkpoint of stage '{stage_id}', which only a run makes. Name the plugin "
                f"instead of the manifest, and set --param {entry.component.plugin.name}.{param}=FOLDER."
            )
    return plan, judged


def manifest_entries(target: str, stage: str | None) -> Sequence[Entry]:
    """The rubric of one stage of a manifest.

    Raises:
        ManifestError: The manifest is none that can be run.
        UsageError: Several stages have one and none is named, or the named one has none.
    """
    _, judged = judged_stages(target, stage)
    if len(judged) > 1:
        ids = ", ".join(planned.ref.id for planned in judged)
        raise UsageError(f"{target} has rewards in the stages {ids}. Name one with --stage.")
    return judged[0].entries


def plugin_entry(use: str, params: Sequence[str]) -> Entry:
    """A rubric's entry for a plugin.

    Args:
        use: The plugin, as a manifest would name it.
        params: ``PLUGIN.NAME=VALUE``; those of other plugins are passed over.

    Raises:
        UsageError: There is no such plugin, or a param does not fit.
    """
    plugin = find_plugin(use, JUDGES, Path.cwd())
    chosen = {}
    for param in params:
        target, equals, text = param.partition("=")
        name, dot, key = target.rpartition(".")
        if not (equals and dot):
            raise UsageError(
                f"--param {param} is not of the form PLUGIN.NAME=VALUE, such as format.prefilled=true."
            )
        if name in (use, plugin.name):
            chosen[key] = _yaml(param, text)
    component = load_component(plugin, chosen, Path.cwd())
    check_params(component, load_plugin(plugin, Path.cwd()))
    return Entry(plugin.name, component)


def check_param_targets(params: Sequence[str], uses: Sequence[str]) -> None:
    """Check that each param is for a plugin that is used.

    Raises:
        UsageError: One is not.
    """
    for param in params:
        name = param.partition("=")[0].rpartition(".")[0]
        if not any(name in (use, use.rpartition("/")[2], use.rpartition(":")[2]) for use in uses):
            raise UsageError(f"--param {param} names no plugin that is used: {', '.join(uses) or 'none'}.")


def _yaml(param: str, text: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise UsageError(f"--param {param}: the value is not valid YAML: {one_line(error)}") from None
