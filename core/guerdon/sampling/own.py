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
        UsageError: The file is not a JSON object, or there is no such model.
        InfrastructureError: The hub does not respond.
    """
    folder = resolve_folder(model)
    if Path(folder).is_dir() or folder.startswith((".", "/", "~")):
        return read_options(model.name, Path(folder) / FILE)
    found = _from_hub(model, folder)
    return {} if found is None else read_options(model.name, Path(found))


def _from_hub(model: Model, name: str) -> str | None:
    """Return the file of a model on the hub, if it has one. Without a network, its cached files decide."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        return hf_hub_download(name, FILE, revision=model.revision)
    except HFValidationError as error:
        raise UsageError(
            f"model '{model.name}' is neither a folder nor a hub id: {one_line(error)}"
        ) from error
    except OSError as error:
        cached = try_to_load_from_cache(name, "config.json", revision=model.revision)
        unknown = isinstance(error, LocalEntryNotFoundError) and not isinstance(cached, str)
        if isinstance(error, EntryNotFoundError) and not unknown:
            return None
        raise InfrastructureError(
            f"{FILE} of model '{model.name}' cannot be loaded from the hub as '{name}': {one_line(error)} "
            "Without a network, give a local folder or a package: path."
        ) from error


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
