"""Every code block of the documentation runs or is valid, or says in a comment before it why it cannot be tried here.

Python runs. YAML is planned as a manifest, or as the part of one that it is. Shell commands of guerdon's are parsed by
the command line (a page whose commands are all run has a test of its own); others cannot be tried here. JSON and TOML
are parsed.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from pages import Block, blocks, pages
from ruamel.yaml import YAML

from guerdon.cli.main import cli
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.plan import STAGE_SOURCE
from guerdon.manifest.schema import ComponentRef, FirstOfRef, Manifest, RewardRef, SourceRef, ToolRef
from guerdon.plugins.component import load_component, load_scorer
from guerdon.plugins.discovery import SCORERS, Kind, find_plugin
from guerdon.plugins.params import check_params

RUN_AS_A_WHOLE = (
    "docs/tutorial/first-verifier.md",
    "docs/tutorial/first-environment.md",
    "docs/how-to/publish-a-plugin.md",
    "docs/how-to/use-the-model.md",
)
"""Pages whose commands test_tutorial.py runs."""

KINDS: dict[str, tuple[type[ComponentRef], tuple[Kind, ...]]] = {
    "rewards": (RewardRef, SCORERS),
    "data": (SourceRef, (Kind.SOURCE,)),
    "hooks": (ComponentRef, (Kind.HOOKS,)),
    "tools": (ToolRef, (Kind.TOOL,)),
    "environments": (ToolRef, (Kind.ENVIRONMENT,)),
}

ALL = [block for page in pages() for block in blocks(page)]


def tried(language: str) -> list[Any]:
    return [
        pytest.param(block, id=str(block))
        for block in ALL
        if block.language == language
        and not block.not_run
        and not (block.page in RUN_AS_A_WHOLE and language in ("python", "sh"))
    ]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the files of the block's page, as they stand at the end of it."""
    block: Block = request.getfixturevalue("block")
    for other in blocks(block.page):
        if other.title:
            path = tmp_path / other.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(other.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", tried("python"))
def test_python_runs(block: Block, folder: Path, request: pytest.FixtureRequest) -> None:
    if "guerdon_sandbox" in block.text:
        request.getfixturevalue("docker_engine")
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"


@pytest.mark.parametrize("block", tried("yaml"))
def test_yaml_is_a_manifest_or_a_part_of_one(block: Block, folder: Path) -> None:
    loaded = YAML(typ="safe").load(block.text)
    if isinstance(loaded, dict) and "use" in loaded:
        loaded = [loaded]
    if isinstance(loaded, list) and "id" in loaded[0]:
        loaded = {"stages": loaded}
    if isinstance(loaded, list):
        check_components(loaded, "data" if block.page.endswith("sources.md") else "rewards")
    elif "stages" in loaded:
        check_manifest({"name": "example", "model": "some-org/some-model", **loaded}, folder)
    else:
        assert loaded.keys() <= KINDS.keys() | Manifest.model_fields.keys(), (
            f"{block} is no part of a manifest"
        )
        for part in KINDS.keys() & loaded.keys():
            check_components(loaded[part], part)


def check_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    """Plan it; a stage that it starts from, and does not have, is in another block."""
    ids = {stage["id"] for stage in manifest["stages"]}
    inits = [init for stage in manifest["stages"] for init in as_list(stage.get("init", "base"))]
    missing = {
        init.removeprefix("stage:") for init in inits if isinstance(init, str) and init.startswith("stage:")
    } - ids
    extra = [{"id": stage, "use": "sft", "data": [{"use": "arithmetic"}]} for stage in sorted(missing)]
    path = folder / "manifest.yaml"
    path.write_text(json.dumps({**manifest, "stages": [*extra, *manifest["stages"]]}))
    plan_run(load_manifest(path))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def check_components(entries: list[dict[str, Any]], part: str) -> None:
    schema, kinds = KINDS[part]
    for entry in entries:
        if "first_of" in entry:
            FirstOfRef(**entry)
            check_components(entry["first_of"], part)
            continue
        reference = schema(**entry)
        if reference.use == STAGE_SOURCE:
            continue
        if part == "rewards":
            component = load_scorer(reference.use, reference.params, Path.cwd())
        else:
            plugin = find_plugin(reference.use, kinds, Path.cwd())
            component = load_component(plugin, reference.params, Path.cwd())
        check_params(component, component.loaded)


@pytest.mark.parametrize("block", tried("sh"))
def test_commands_are_ones_that_guerdon_has(block: Block) -> None:
    for words in commands(block.text):
        assert words[0] == "guerdon", (
            f"{block} calls {words[0]}: say '<!-- not run: why -->' before the block"
        )
        try:
            parse(cli, "guerdon", words[1:], None)
        except click.BadParameter as error:
            if not isinstance(
                error.param and error.param.type, click.Path | click.File
            ):  # the reader's own file
                raise


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:  # VARIABLE=value before the command
            words = words[1:]
        if words:
            yield words


def parse(command: click.Command, name: str, words: list[str], parent: click.Context | None) -> None:
    """Let click read a command's words, and those of the subcommand that it finds in them; nothing is called."""
    with command.make_context(name, list(words), parent=parent) as context:
        if isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
            found, subcommand, rest = command.resolve_command(context, rest)
            assert subcommand is not None
            parse(subcommand, str(found), rest, context)


@pytest.mark.parametrize("block", tried("json"))
def test_json_parses(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError:  # a value a line
        for line in block.text.splitlines():
            json.loads(line)


@pytest.mark.parametrize("block", tried("toml"))
def test_toml_parses(block: Block) -> None:
    tomllib.loads(block.text)


def test_reasons_are_given() -> None:
    assert [str(block) for block in ALL if block.not_run and len(block.not_run) < 10] == []


def test_languages_are_spelt_in_one_way() -> None:
    others = {"python3", "py", "bash", "shell", "console", "yml"}
    assert [str(block) for block in ALL if block.language in others] == []
