"""Folders of PEFT adapters: merged into their base model once, and cached as a model.

Importing this module imports neither torch nor peft.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from guerdon.errors import UsageError, one_line
from guerdon.models.cached import cached_model
from guerdon.stage import Model

__all__ = ["CONFIG", "base_model", "base_of", "is_adapter", "merged_folder", "with_config", "with_tokenizer"]

CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds adapters and no model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").exists()


def base_of(folder: Path) -> str:
    """Return the path of the adapters' base model: a folder or a hub id.

    Raises:
        UsageError: The folder names none, or lacks the adapters' weights.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the adapters' '{folder / CONFIG}' cannot be read: {one_line(error)}.") from error
    config = config if isinstance(config, dict) else {}
    if (task := config.get("task_type")) not in (None, "CAUSAL_LM"):
        raise UsageError(
            f"the adapters in '{folder}' are of the task {task}. Only those of causal language models can be used. "
            "Merge others into their base model with peft."
        )
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UsageError(
            f"the adapters' '{folder / CONFIG}' has no 'base_model_name_or_path'. Write the base model's folder or hub "
            "id there."
        )
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise UsageError(f"the folder of adapters '{folder}' has no {_WEIGHTS[0]}. Save the adapters there.")
    if base.startswith((".", "/", "~")) and not Path(base).expanduser().is_dir():
        raise UsageError(
            f"the adapters in '{folder}' belong to the base model '{base}', a folder that does not exist. Correct "
            f"'base_model_name_or_path' in its {CONFIG}."
        )
    if Path(base).resolve() == folder.resolve():
        raise UsageError(f"the adapters in '{folder}' name their own folder as the base model.")
    return base


def with_config(model: Model) -> Model:
    """Return what has a model's configuration: for adapters, their base model."""
    folder = Path(model.path)
    return with_config(base_model(model)) if is_adapter(folder) else model


def with_tokenizer(model: Model) -> Model:
    """Return what has a model's tokenizer: for adapters that were saved without one, their base model."""
    folder = Path(model.path)
    if not is_adapter(folder) or any((folder / name).is_file() for name in _TOKENIZER):
        return model
    return with_tokenizer(base_model(model))


def merged_folder(model: Model, merge: Callable[[Path], None]) -> Path:
    """Return the folder of a model with the adapters merged, created once for each content.

    Args:
        model: The adapters.
        merge: Writes the merged model into a folder.
    """
    folder = Path(model.path)
    digest = hashlib.sha256()
    for name in (CONFIG, *_WEIGHTS):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    base = Path(base_of(folder)).expanduser()
    for file in sorted(base.iterdir()) if base.is_dir() else ():
        status = file.stat()
        digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    return cached_model("adapters", f"{folder.name}-{digest.hexdigest()[:16]}", merge)


def base_model(model: Model) -> Model:
    """Return the base model of adapters."""
    return Model(f"the base of {model.name}", str(Path(base_of(Path(model.path))).expanduser()))
