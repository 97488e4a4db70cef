"""The manifest's JSON Schema knows what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from ruamel.yaml import YAML

import guerdon_plugins.recipes
from guerdon.manifest.json_schema import DIALECT, manifest_schema
from guerdon.plugins.discovery import SCORERS, Kind, installed_plugins

RECIPES = sorted(Path(guerdon_plugins.recipes.__path__[0]).glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return manifest_schema()


def params_of(schema: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    for condition in schema["$defs"][part]["allOf"]:
        if name in condition["if"]["properties"]["use"]["enum"]:
            params: dict[str, Any] = condition["then"]["properties"]["params"]
            return params
    raise AssertionError(f"{name} is not in {part}")


def test_manifest_schema_says_its_dialect_and_id(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DIALECT
    assert schema["$id"].startswith("urn:guerdon:manifest:")


@pytest.mark.parametrize(
    ("part", "kinds"),
    [
        ("StageRef", (Kind.STAGE,)),
        ("SourceRef", (Kind.SOURCE,)),
        ("RewardRef", SCORERS),
        ("ComponentRef", (Kind.HOOKS,)),
    ],
)
def test_manifest_schema_names_every_plugin(
    schema: dict[str, Any], part: str, kinds: tuple[Kind, ...]
) -> None:
    names = schema["$defs"][part]["properties"]["use"]["anyOf"][0]["enum"]
    assert {plugin.name for plugin in installed_plugins(*kinds)} <= set(names)


def test_manifest_schema_has_params_with_types_choices_and_descriptions(schema: dict[str, Any]) -> None:
    math = params_of(schema, "RewardRef", "math")
    assert "boxed" in math["properties"]["extraction"]["enum"]
    assert math["additionalProperties"] is False
    grpo = params_of(schema, "StageRef", "grpo")["properties"]
    assert "dapo" in grpo["loss_type"]["enum"]
    assert (grpo["save_steps"]["default"], grpo["output_dir"]["not"]) == (20, {})
    assert grpo["learning_rate"]["description"]
    assert params_of(schema, "SourceRef", "files")["required"] == ["path"]


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> Validator:
    """The schema's validator. The schema is checked once: that takes a second."""
    kind = validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_manifest_schema_takes_the_recipes(validator: Validator, recipe: Path) -> None:
    validator.validate(YAML(typ="safe").load(recipe.read_text()))
