"""The reference page names everything public, with its fields, defaults and options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest

import guerdon_sandbox
from guerdon_sandbox.cli import sandbox
from guerdon_sandbox.selfcheck import ATTACKS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [name for name in guerdon_sandbox.__all__ if name not in ("Job", "Result", "Isolation")]
)
def test_every_public_name(name: str) -> None:
    assert f"`{name}" in PAGE


@pytest.mark.parametrize("part", [guerdon_sandbox.Limits, guerdon_sandbox.BoxOptions, guerdon_sandbox.Result])
def test_every_field(part: type) -> None:
    for field in dataclasses.fields(part):
        assert f"`{field.name}`" in PAGE


def test_every_command_and_option() -> None:
    for name, command in sandbox.commands.items():
        assert f"`guerdon sandbox {name}" in PAGE
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert any(f"`{option}" in PAGE for option in parameter.opts), f"{name} {parameter.opts}"


def test_the_number_of_attacks() -> None:
    assert f"{len(ATTACKS)} attacks" in PAGE
    threats = (DOCS / "explanation" / "sandbox-threat-model.md").read_text(encoding="utf-8")
    assert f"runs {len(ATTACKS)} of these attacks" in threats
    folder = Path(__file__).parents[1] / "plugins" / "verifiers" / "code" / "cheats"
    cheats = sum(path.read_text().count("### ") for path in folder.iterdir())
    assert f"has {cheats} programs that cheat" in threats
