"""The options of generation that a model's authors set, in its ``generation_config.json``.

Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.errors import InfrastructureError, UsageError, one_line
from guerdon.models import load_config, resolve_folder
from guerdon.stage import Model

__all__ = ["FILE", "own_ends", "own_options", "read_options"]

FILE = "generation_config.json"


def own_options(model: Model) -> dict[str, Any]:
    """Return the options in a model's ``generation_config.json``; none if it has no such file.

    Raises:
        UsageError: The file is not a JSON object.
        InfrastructureError: The hub does not respond.
    """
    folder = resolve_folder(model)
    if Path(folder).is_dir() or folder.startswith((".", "/", "~")):
        return read_options(model.name, Path(folder) / FILE)
    from transformers.utils import cached_file

    try:
        found = cached_file(
            folder, FILE, revision=model.revision or "main", _raise_exceptions_for_missing_entries=False
        )
    except OSError as error:
        raise InfrastructureError(
            f"{FILE} of model '{model.name}' cannot be loaded from the hub as '{folder}': {one_line(error)} "
            "Without a network, give a local folder or a package: path."
        ) from error
    return {} if found is None else read_options(model.name, Path(found))


def own_ends(model: Model) -> int | Sequence[int] | None:
    """Return the end tokens of a model's ``generation_config.json``, or of its configuration if it has no such file.

    Raises:
        UsageError: The file is not a JSON object, or the model does not exist.
        InfrastructureError: The hub does not respond.
    """
    ends: int | Sequence[int] | None
    if options := own_options(model):
        ends = options.get("eos_token_id")
    else:
        ends = getattr(load_config(model).get_text_config(), "eos_token_id", None)
    return ends


def read_options(model: str, file: Path) -> dict[str, Any]:
    """Return the options in a file; none if it is not there.

    Args:
        model: The model's name, for errors.
        file: The file.

    Raises:
        UsageError: It is not a JSON object.
    """
    if not file.is_file():
        return {}
    try:
        options = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{FILE} of model '{model}' cannot be read: {one_line(error)}. Correct it."
        ) from error
    if not isinstance(options, dict):
        raise UsageError(f"{FILE} of model '{model}' is {options!r:.60}. It must be an object of options.")
    return options
