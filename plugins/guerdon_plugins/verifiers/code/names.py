"""Decide which names in tests are the candidate's, and which come from libraries that the tests forgot to import."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Iterable
from functools import cache

_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__runners__"}
_MODULES = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "sp": "import scipy as sp",
    "nx": "import networkx as nx",
    "tf": "import tensorflow as tf",
    **{
        name: f"import {name}"
        for name in ("numpy", "pandas", "scipy", "sympy", "pytest", "torch", "networkx")
    },
}
_FROM = {
    "collections": "Counter OrderedDict defaultdict deque namedtuple ChainMap",
    "fractions": "Fraction",
    "decimal": "Decimal",
    "pathlib": "Path",
    "io": "StringIO BytesIO",
    "datetime": "timedelta timezone",
    "enum": "Enum IntEnum",
    "dataclasses": "dataclass",
    "typing": "Any Callable Dict FrozenSet Iterable Iterator List Optional Sequence Set Tuple Union",
    "unittest": "TestCase",
    "math": "isclose",
    "itertools": "islice",
    "functools": "partial reduce",
    "pytest": "approx raises",
}
_CLASSES = {name: f"from {module} import {name}" for module, names in _FROM.items() for name in names.split()}
_FROM_FUNCTIONS = {
    "math": "ceil comb exp factorial floor gcd inf lcm log nan pi prod sqrt",
    "itertools": "chain combinations permutations product",
    "copy": "deepcopy",
}
_FUNCTIONS = {
    name: f"from {module} import {name}"
    for module, names in _FROM_FUNCTIONS.items()
    for name in names.split()
}
_CALLED_MODULES = {"datetime": "from datetime import datetime"}


def library_imports(sources: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """Return import statements for the unbound library names in the sources, by name.

    A candidate must not define what tests compare with, so ``np`` and ``Counter`` are the library's even where a
    program has a class of that name.

    Args:
        sources: The tests.
        known: The names that certainly are the candidate's. Without any, a library's class is the candidate's if
            nothing else is: a problem may require a ``Counter``.
    """
    text = "\n".join(sources)
    free, called = free_names(text), _called_names(text)
    own = frozenset(known)
    found = {name: _MODULES[name] for name in free & _MODULES.keys()}
    for name in free & sys.stdlib_module_names:
        if name in _CALLED_MODULES and name in called:
            found[name] = _CALLED_MODULES[name]
        elif name not in called:
            found[name] = f"import {name}"
    found |= {name: _CLASSES[name] for name in free & _CLASSES.keys()}
    if own:
        found |= {name: _FUNCTIONS[name] for name in free & _FUNCTIONS.keys()}
    elif not free - found.keys():
        found = {name: line for name, line in found.items() if name not in _CLASSES}
    return {name: line for name, line in sorted(found.items()) if name not in own}


def free_names(source: str) -> frozenset[str]:
    """Return the names that the source reads and that neither the source nor the builtins define."""
    tree = parse(source)
    read = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return frozenset(read - bound_names(source) - _BUILTINS)


def bound_names(source: str) -> frozenset[str]:
    """Return the names that the source binds anywhere."""
    bound: set[str] = set()
    for node in ast.walk(parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                bound.add(name)
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")]):
                bound |= _exported(module)
            case ast.alias(name=name, asname=asname):
                bound.add(asname or name.partition(".")[0])
    return frozenset(bound)


def data_names(source: str, names: Iterable[str]) -> frozenset[str]:
    """Return which of some names a source uses only as data: it does not call or pass them, or read their attributes.

    A program must not choose what its results are compared with.
    """
    tree = parse(source)
    used: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call():
                inner = [node.func, *node.args, *(keyword.value for keyword in node.keywords)]
            case ast.Attribute(value=value):
                inner = [value]
            case ast.ClassDef(bases=bases):
                inner = bases
            case ast.ExceptHandler(type=ast.expr() as kind):
                inner = [one for one in ast.walk(kind) if isinstance(one, ast.expr)]
            case _:
                continue
        used |= {one.id for one in inner if isinstance(one, ast.Name)}
    return frozenset(names) - used


def parse(source: str) -> ast.Module:
    """Return a parsed source. A source with syntax errors counts as empty; reading the suite reports the error."""
    # the second form for a source that ends with the head of a function
    for text in (source, f"{source}\n    pass"):
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return ast.Module(body=[], type_ignores=[])


@cache
def _exported(module: str) -> frozenset[str]:
    """Return the names that ``from module import *`` binds, for modules of the standard library."""
    if module.partition(".")[0] not in sys.stdlib_module_names or module in (
        "antigravity",
        "this",
        "idlelib",
    ):
        return frozenset()
    try:
        names = vars(importlib.import_module(module))
    except ImportError:
        return frozenset()
    return frozenset(names.get("__all__") or [name for name in names if not name.startswith("_")])


def _called_names(source: str) -> frozenset[str]:
    return frozenset(
        node.func.id
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
