"""The reference names everything that exists, with its exact arguments."""

import inspect
from pathlib import Path

import click
import pytest

from guerdon import errors, hookspecs, testing
from guerdon.cli.main import cli
from guerdon.manifest import schema
from guerdon.plugins.discovery import Kind, installed_plugins

DOCS = Path(__file__).parents[2] / "docs"


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def test_every_hook_with_its_arguments() -> None:
    page = read("reference/hooks.md")
    for specs in (hookspecs.RunSpecs, hookspecs.StageSpecs, hookspecs.ScoringSpecs):
        for name, hook in inspect.getmembers(specs, inspect.isfunction):
            arguments = ", ".join(list(inspect.signature(hook).parameters)[1:])
            assert f"`{name}({arguments})`" in page


def test_every_command_and_option() -> None:
    own_pages = {"serve": "reference/serve.md", "sandbox": "reference/sandbox.md"}
    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert f"`guerdon {name}" in read("reference/cli.md")
        page = read(own_pages.get(name, "reference/cli.md"))
        command = cli.get_command(context, name)
        assert command is not None
        subcommands = command.commands.values() if isinstance(command, click.Group) else ()
        for option in [option for part in (command, *subcommands) for option in part.params]:
            if isinstance(option, click.Option):
                assert any(spelling in page for spelling in option.opts), f"{name} {option.opts}"


@pytest.mark.parametrize(
    "part",
    [schema.Manifest, schema.ModelRef, schema.StageRef, schema.SourceRef, schema.RewardRef, schema.ToolRef],
    ids=lambda p: p.__name__,
)
def test_every_field_of_the_manifest(part: type[schema.Strict]) -> None:
    page = read("reference/manifest.md")
    for field in part.model_fields:
        assert f"`{field}`" in page


def test_every_error() -> None:
    page = read("reference/errors.md")
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, errors.GuerdonError):
            assert f"| `{name}` |" in page


def test_every_built_in_plugin() -> None:
    pages = {
        Kind.VERIFIER: "reference/verifiers.md",
        Kind.REWARD: "reference/verifiers.md",
        Kind.SOURCE: "reference/sources.md",
    }
    pages |= {
        Kind.STAGE: "reference/stages.md",
        Kind.RECIPE: "reference/stages.md",
        Kind.HOOKS: "reference/hooks.md",
        Kind.TOOL: "reference/tools.md",
        Kind.ENVIRONMENT: "reference/tools.md",
    }
    for plugin in installed_plugins(*pages):
        if plugin.distribution == "guerdon":
            assert plugin.kind is not None
            assert f"`{plugin.name}`" in read(pages[plugin.kind]), plugin


def test_every_kind_of_plugin() -> None:
    page = read("reference/plugins.md")
    for kind in Kind:
        assert f"`{kind.group}`" in page


@pytest.mark.parametrize("name", [name for name in testing.__all__ if name.endswith("Conformance")])
def test_every_check_and_attribute_of_a_kit(name: str) -> None:
    page = read("reference/testing.md")
    kit = getattr(testing, name)
    for base in kit.__mro__:
        public = {part for part in vars(base) if part.startswith("test_")}
        public |= {part for part in vars(base).get("__annotations__", {}) if not part.startswith("_")}
        for part in public - {"kinds", "throughput"}:
            assert f"`{part.removeprefix('test_')}`" in page, part
