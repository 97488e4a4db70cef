"""The pages on the adapters and on the server name every argument, option, field and path."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from guerdon.adapters import openrlhf, skyrl, slime, trl, verifiers, verl
from guerdon.cli.serve import serve
from guerdon.rubric import Rubric
from guerdon.rubric.shared import SharedRubric
from guerdon.serve import schema
from guerdon.serve.app import Limits, create_app

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    "function",
    [
        trl.reward_function,
        verl.compute_score,
        openrlhf.reward_function,
        verifiers.reward_function,
        verifiers.classic_rubric,
        slime.reward_function,
        skyrl.environment_class,
    ],
)
def test_arguments_of_the_adapters(function: Callable[..., Any]) -> None:
    page = (REFERENCE / "adapters.md").read_text(encoding="utf-8")
    assert f"`{function.__module__}.{function.__name__}`" in page
    parameters = inspect.signature(function).parameters.values()
    ours = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    for name in ours[ours.index("rubric") :]:
        assert f"| `{name}` |" in page


def test_options_of_serve_and_their_defaults() -> None:
    page = (REFERENCE / "serve.md").read_text(encoding="utf-8")
    for option in serve.params:
        assert isinstance(option, click.Option)
        (row,) = re.findall(rf"^\| `{option.opts[0]}`.*$", page, re.MULTILINE)
        if option.show_default:
            assert f"| `{option.default}` |" in row


def test_paths_and_fields_of_the_server() -> None:
    page = (REFERENCE / "serve.md").read_text(encoding="utf-8")
    with SharedRubric(Rubric([])) as rubric:
        for path, methods in create_app(rubric, Limits()).openapi()["paths"].items():
            for method in methods:
                assert f"`{method.upper()} {path}`" in page
    for model in (
        schema.ScoreRequest,
        schema.RolloutIn,
        schema.ScoreResponse,
        schema.ResultOut,
        schema.ScoreOut,
    ):
        assert issubclass(model, BaseModel)
        for field in model.model_fields:
            assert f"`{field}`" in page or f'"{field}"' in page, field
