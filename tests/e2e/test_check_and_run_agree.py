"""Manifests with random mistakes: what `run` refuses before a stage starts, `check` refuses with the same status."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Guerdon = Callable[..., Any]

PLUGINS = Path(__file__).parents[1] / "fixtures" / "fuzzed_plugins.py"

MANIFEST: dict[str, Any] = {
    "name": "fuzzed",
    "description": "words",
    "seed": 3,
    "heldout": 0.5,
    "failure_budget": 0.5,
    "hooks": [{"use": "./p.py:Bell", "params": {"loud": True}}],
    "stages": [
        {
            "id": "a",
            "use": "./p.py:Stage",
            "init": "none",
            "data": [{"use": "./p.py:Rows", "params": {"count": 40}, "split": "train", "limit": 8}],
            "params": {"steps": 2},
        },
        {
            "id": "b",
            "use": "./p.py:Stage",
            "init": ["none"],
            "data": [{"use": "./p.py:Rows"}, {"use": "./p.py:Rows", "add": {"task": "t"}}],
        },
    ],
}

JUNK: list[Any] = [
    None,
    -1,
    0,
    1.5,
    True,
    "",
    "junk",
    "stage:a",
    "stage:b",
    "./p.py:Rows",
    "./p.py:rows",
    [],
    {},
    ["x"],
    {"x": 1},
]

ROUNDS = 80


def places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and item of a manifest."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from places(value, (*place, key))


def mutated(chance: random.Random) -> tuple[str, str]:
    """A manifest with one or two mistakes, and what they are."""
    manifest = copy.deepcopy(MANIFEST)
    told = []
    for _ in range(chance.choice((1, 1, 2))):
        *around, key = chance.choice(list(places(manifest)))
        holder = manifest
        for part in around:
            holder = holder[part]
        kind = chance.choice(("value", "value", "drop", "rename", "double"))
        told.append(f"{kind} {[*around, key]}")
        if kind == "drop":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[f"{key}s"] = holder.pop(key)
        elif kind == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = chance.choice(JUNK)
    text = StringIO()
    YAML().dump(manifest, text)
    return text.getvalue(), ", ".join(told)


def test_check_refuses_what_run_refuses(call: Guerdon, tmp_path: Path) -> None:
    shutil.copy(PLUGINS, tmp_path / "p.py")
    chance = random.Random(1)
    refused = 0
    for number in range(ROUNDS):
        text, told = mutated(chance)
        Path("m.yaml").write_text(text)
        checked = call("check", "m.yaml", "-o", f"runs/{number}")
        ran = call("run", "m.yaml", "-o", f"runs/{number}")
        refused += ran.status != 0
        assert checked.status == ran.status, (told, text, checked.err, ran.err)
    assert refused > ROUNDS / 3
