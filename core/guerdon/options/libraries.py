"""The options of other libraries' configs as data: names, types, defaults and descriptions, without importing them.

TRL and transformers take seconds to import. ``catalogue.json`` holds their options for the versions in
``constraints.txt``. For other versions, a separate process reads them at the first request, and they are cached per
user, in a file named by the versions. To update the shipped file::

    python -m guerdon.options.libraries core/guerdon/options/catalogue.json
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from guerdon.errors import InfrastructureError, MissingDependencyError, one_line

__all__ = ["Option", "cache_folder", "llama_options", "model_types", "options_of"]

CONFIGS = (
    "trl.trainer.grpo_config:GRPOConfig",
    "trl.experimental.async_grpo.async_grpo_config:AsyncGRPOConfig",
    "trl.trainer.sft_config:SFTConfig",
    "trl.trainer.reward_config:RewardConfig",
    "trl.trainer.dpo_config:DPOConfig",
    "trl.trainer.distillation_config:DistillationConfig",
    "peft:LoraConfig",
)
"""The configs that are read together, because one import provides them all."""

SHIPPED = Path(__file__).with_name("catalogue.json")
"""The options for one version of each library."""

_LIBRARIES = ("trl", "transformers", "peft", "accelerate", "torch")
_FORMAT = 5
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a config."""

    name: str
    type: str
    """A Python expression over builtin types, ``Any`` and ``Literal``."""
    default: Any
    """As parsed JSON."""
    required: bool
    doc: str

    @property
    def annotation(self) -> Any:
        """Return the type, as an annotation."""
        # spell() below created the text, in a file that only this user can write.
        return eval(self.type, dict(_NAMES))


_NAMES: Mapping[str, Any] = {
    "Any": Any,
    "Literal": Literal,
    "None": None,
    "False": False,
    "True": True,
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict, tuple)},
}


def options_of(config: str) -> dict[str, Option]:
    """Return the options of a config by name.

    Args:
        config: One of :data:`CONFIGS`.

    Raises:
        MissingDependencyError: Its library is not installed.
        InfrastructureError: Its library cannot be imported.
    """
    return {name: Option(**option) for name, option in _catalogue()["configs"][config].items()}


def model_types() -> Sequence[str]:
    """Return the types of models that the installed transformers knows.

    Raises:
        MissingDependencyError: It is not installed.
        InfrastructureError: It cannot be imported.
    """
    types: Sequence[str] = _catalogue()["model_types"]
    return types


def llama_options() -> Sequence[str]:
    """Return the names of the options of transformers' ``LlamaConfig``.

    Raises:
        MissingDependencyError: It is not installed.
        InfrastructureError: It cannot be imported.
    """
    names: Sequence[str] = _catalogue()["llama_options"]
    return names


def cache_folder() -> Path:
    """Return the folder of guerdon's cache for a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guerdon"


@cache
def _catalogue() -> dict[str, Any]:
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            raise MissingDependencyError("the training options", library, "train") from None
    if (shipped := _shipped(versions)) is not None:
        return shipped
    key = hashlib.sha256(json.dumps([_FORMAT, sys.prefix, versions]).encode()).hexdigest()[:16]
    file = cache_folder() / "options" / f"{key}.json"
    try:
        catalogue: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        text = _described()
        _keep(file, text)
        catalogue = json.loads(text)
    return catalogue


def _shipped(versions: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the catalogue that is part of guerdon, if it describes these versions."""
    shipped: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return shipped["catalogue"] if shipped["versions"] == _without_builds(versions) else None


def _without_builds(versions: Mapping[str, str]) -> dict[str, str]:
    """Return versions without their local part, such as ``+cpu``: builds of a version have the same options."""
    return {library: version.partition("+")[0] for library, version in versions.items()}


def _described() -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "guerdon.options.libraries"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise InfrastructureError(
            f"TRL's options could not be read within {_TIMEOUT_S:g} s. Does 'import trl' end in this environment?"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise InfrastructureError(
            f"TRL's options cannot be read: {one_line(last)}. Reinstall them: pip install 'guerdon[train]'."
        )
    return done.stdout.splitlines()[-1]


def _keep(file: Path, text: str) -> None:
    """Write the file atomically. A cache that cannot be written only costs time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as partial:
            partial.write(text)
        Path(partial.name).replace(file)
    except OSError:
        pass


def spell(annotation: Any) -> str:
    """Return a type as an expression that needs no import. An enum becomes its values, an unknown type ``Any``."""
    import enum
    import types
    import typing

    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "None"
    if origin is Literal and any("[" in str(argument) for argument in arguments):
        return "str"  # peft writes a pattern as a value: 'pissa_niter_[number of iters]'
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (typing.Union, types.UnionType):
        # Sorted: typing keeps one object for unions of the same members, in the order that came first.
        parts = sorted(set(map(spell, arguments)), key=lambda part: (part == "None", part))
        # Text is what a manifest writes for an enum: where both fit, the enum's values are the ones that do.
        if any(isinstance(a, type) and issubclass(a, enum.Enum) for a in arguments):
            parts = [part for part in parts if part != "str"]
        return "Any" if "Any" in parts else " | ".join(parts)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return f"Literal[{', '.join(repr(member.value) for member in annotation)}]"
    if origin in (list, dict, tuple):
        inner = ["..." if argument is ... else spell(argument) for argument in arguments]
        return "tuple" if origin is tuple else f"{origin.__name__}[{', '.join(inner)}]"
    if annotation in (bool, int, float, str, list, dict, tuple):
        name: str = annotation.__name__
        return name
    return "Any"


def describe(config: str) -> dict[str, dict[str, Any]]:
    """Return the options of a config, which is a dataclass, as JSON values. Imports its library."""
    import dataclasses
    import importlib
    import inspect
    import typing

    module, _, name = config.partition(":")
    loaded: Any = getattr(importlib.import_module(module), name)
    hints = typing.get_type_hints(loaded)
    documented = _documented(inspect.getdoc(loaded) or "")
    options = {}
    for field in dataclasses.fields(loaded):
        default: Any = (
            field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        )
        doc = one_line(field.metadata.get("help") or documented.get(field.name, ""))
        option = Option(
            field.name, spell(hints[field.name]), _plain(default), default is dataclasses.MISSING, doc
        )
        options[field.name] = dataclasses.asdict(option)
    return options


def _plain(value: Any) -> Any:
    try:
        return json.loads(json.dumps(getattr(value, "value", value)))
    except (TypeError, ValueError):
        return None


def _documented(doc: str) -> dict[str, str]:
    """Return the description of each option in a docstring of transformers' style: ``name (`type`): text``."""
    import re

    found: dict[str, str] = {}
    name = ""
    for line in doc.splitlines():
        if start := re.match(r"\s{0,8}(\w+) \([^)]*.*\):\s*(.*)$", line):
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
        else:
            name = ""
    return found


def main() -> None:
    """Print the catalogue, on the last line; with the path of a file, write that file to ship instead."""
    import importlib

    transformers = importlib.import_module("transformers")
    types = sorted(
        importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    )
    catalogue: dict[str, Any] = {
        "configs": {config: describe(config) for config in CONFIGS},
        "model_types": types,
        "llama_options": sorted(transformers.LlamaConfig().to_dict()),
    }
    if len(sys.argv) == 1:
        sys.stdout.write("\n" + json.dumps(catalogue) + "\n")
        return
    versions = _without_builds({library: metadata.version(library) for library in _LIBRARIES})
    text = json.dumps({"versions": versions, "catalogue": catalogue}, indent=1, ensure_ascii=False)
    Path(sys.argv[1]).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
