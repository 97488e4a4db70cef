"""The pages on verifiers, rewards and sources name every param with its default, and their examples are valid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from guerdon.manifest.schema import RewardRef, SourceRef
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, Plugin, find_plugin, installed_plugins, load_plugin
from guerdon.plugins.params import check_params
from guerdon.plugins.signatures import valid_params

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGES = {
    Kind.VERIFIER: "verifiers.md",
    Kind.REWARD: "verifiers.md",
    Kind.GROUP_REWARD: "group-rewards.md",
    Kind.SOURCE: "sources.md",
}
BUILT_IN = [plugin for plugin in installed_plugins(*PAGES) if plugin.distribution == "guerdon"]


def section(plugin: Plugin) -> str:
    assert plugin.kind is not None
    page = (REFERENCE / PAGES[plugin.kind]).read_text(encoding="utf-8")
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    shared = [part for part in parts if part.startswith("Prompts") and f"`{plugin.name}`" in part]
    (own,) = [part for part in parts if part.startswith(f"`{plugin.name}`")]
    return "\n".join([own, *shared])


def documented_params(text: str) -> dict[str, str]:
    """Param to default, from the rows of the tables headed ``param``; one row may hold several."""
    params: dict[str, str] = {}
    for table in re.findall(r"^\| param \| default \| \|\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE):
        for row in table.splitlines():
            names, defaults, *_ = (
                re.findall(r"`([^`]*)`", cell) or [cell.strip()] for cell in row.split("|")[1:]
            )
            params |= dict(
                zip(names, defaults if len(defaults) == len(names) else defaults * len(names), strict=True)
            )
    return params


def spelt(default: Any) -> str:
    """A default as YAML and the pages spell it."""
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str) and default != default.strip():
        return json.dumps(default)
    return f"[{', '.join(map(str, default))}]" if isinstance(default, tuple) else str(default)


@pytest.mark.parametrize("plugin", BUILT_IN, ids=lambda plugin: f"{plugin.kind} {plugin.name}")
def test_params_and_defaults(plugin: Plugin) -> None:
    assert plugin.kind is not None
    parameters = valid_params(plugin.kind, load_plugin(plugin))
    expected = {
        name: "required" if parameter.default is parameter.empty else spelt(parameter.default)
        for name, parameter in parameters.items()
    }
    assert documented_params(section(plugin)) == expected


def examples() -> Iterator[tuple[str, Any]]:
    for page in sorted(set(PAGES.values())):
        for block in re.findall(
            r"```yaml\n(.*?)```", (REFERENCE / page).read_text(encoding="utf-8"), re.DOTALL
        ):
            loaded = YAML(typ="safe").load(block)
            for entry in loaded if isinstance(loaded, list) else [loaded]:
                yield page, entry


@pytest.mark.parametrize(("page", "entry"), list(examples()))
def test_examples_are_entries_of_a_manifest(page: str, entry: dict[str, Any]) -> None:
    reference = SourceRef(**entry) if page == "sources.md" else RewardRef(**entry)
    kinds = [kind for kind, its_page in PAGES.items() if its_page == page]
    plugin = find_plugin(reference.use, kinds)
    check_params(load_component(plugin, reference.params, None), load_plugin(plugin))
