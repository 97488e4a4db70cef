"""The page on the Python API has every public module, and every public name is documented and typed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")

MODULES = (
    "guerdon",
    "guerdon.types",
    "guerdon.stage",
    "guerdon.hookspecs",
    "guerdon.plugins.protocols",
    "guerdon.errors",
    "guerdon.text",
    "guerdon.data.references",
    "guerdon.data.columns",
    "guerdon.files",
    "guerdon.records",
    "guerdon.rubric",
    "guerdon.tools",
    "guerdon.verifier",
    "guerdon.plugins.objects",
    "guerdon.deadline",
    "guerdon.models",
    "guerdon.chat_template",
    "guerdon.testing",
    "guerdon.kernels",
    "guerdon.grpo",
    "guerdon.adapters.named_rubric",
    "guerdon.adapters.trl",
    "guerdon.adapters.verl",
    "guerdon.adapters.openrlhf",
    "guerdon.adapters.verifiers",
    "guerdon.adapters.slime",
    "guerdon.adapters.skyrl",
    "guerdon_sandbox",
)
"""The public modules, in the order of the page."""


@cache
def source() -> griffe.ModulesCollection:
    """The modules as griffe reads them, which also knows the docstrings of constants."""
    loader = griffe.GriffeLoader(search_paths=[ROOT / "core", ROOT / "sandbox"])
    loader.load("guerdon")
    loader.load("guerdon_sandbox")
    loader.resolve_aliases(implicit=False, external=False)
    return loader.modules_collection


def public_names(module: str) -> Iterator[tuple[str, griffe.Object]]:
    """The names of a module's ``__all__``, with what they name."""
    for name in importlib.import_module(module).__all__:
        member = source()[module].members[name]
        yield name, member.final_target if isinstance(member, griffe.Alias) else member


def public_functions(module: str) -> Iterator[griffe.Function]:
    """The public functions of a module, and the public methods of its classes."""
    for _, member in public_names(module):
        if isinstance(member, griffe.Function):
            yield member
        elif isinstance(member, griffe.Class):
            for name, part in member.members.items():
                if isinstance(part, griffe.Function) and (name == "__init__" or not name.startswith("_")):
                    yield part


def test_page_sections_are_the_public_modules_in_order() -> None:
    assert re.findall(r"^::: ([\w.]+)$", PAGE, re.MULTILINE) == list(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_public_names_exist(module: str) -> None:
    imported = importlib.import_module(module)
    assert imported.__all__
    assert [name for name in imported.__all__ if not hasattr(imported, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_public_names_have_docstrings(module: str) -> None:
    assert [name for name, member in public_names(module) if not member.docstring] == []


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_are_annotated(module: str) -> None:
    missing = [
        f"{function.path}({parameter.name})"
        for function in public_functions(module)
        for parameter in function.parameters
        if parameter.annotation is None and parameter.name not in ("self", "cls")
    ]
    missing += [
        function.path
        for function in public_functions(module)
        if function.returns is None and function.name != "__init__"
    ]
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_have_no_sphinx_roles(module: str) -> None:
    documented = [member for _, member in public_names(module)] + list(public_functions(module))
    roles = [
        member.path
        for member in documented
        if member.docstring and re.search(r":\w+:`", member.docstring.value)
    ]
    assert roles == []
