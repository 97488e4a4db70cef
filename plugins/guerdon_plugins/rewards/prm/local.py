"""A process reward model in this process. Imports torch and transformers at its first use."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon import Failure, Messages, Model, Score
from guerdon.errors import InfrastructureError, MissingDependencyError, UsageError, one_line
from guerdon.models import load_process_reward_model, load_tokenizer, local_device, resolve_folder
from guerdon_plugins.shared.steps import StepTokens, tokens_of_steps


@dataclass(frozen=True, slots=True)
class Steps:
    """A completion's steps, after their prompt."""

    prompt: str | Messages
    texts: Sequence[str]


class LocalProcessRewardModel:
    """Gives each step the probability that it is good, in batches, on the accelerator if there is one.

    Args:
        path: A hub id or a folder.
        dtype: The dtype by torch's name, or ``auto``.
        chat_template: A Jinja template that replaces the model's own.
        batch_size: The number of completions that the model scores at once.
        max_length: The most tokens of a text; ``None`` for the model's limit.
        separator: The text that the model reads after each step.
    """

    def __init__(
        self,
        path: str,
        dtype: str,
        chat_template: str | None,
        batch_size: int,
        max_length: int | None,
        separator: str,
    ) -> None:
        self._source = Model(path, path, dtype=dtype)
        self._chat_template = chat_template
        self._batch_size = batch_size
        self._max_length = max_length
        self._separator = separator
        self._loaded: tuple[Any, Any] | None = None

    def preflight(self) -> None:
        """Raise if the model is not a token classifier according to its configuration; no weights are read."""
        _require_transformers()
        architectures = json.loads(self._config_file().read_text(encoding="utf-8")).get("architectures") or []
        if not any("TokenClassification" in name for name in architectures):
            raise UsageError(
                f"the model {self._source.path} is a {', '.join(architectures) or 'model without a name'}, which "
                "classifies no tokens. Name a token classification model, or train one by a stage that uses "
                "'process_reward_model'."
            )

    def _config_file(self) -> Path:
        folder = resolve_folder(self._source)
        if Path(folder).is_dir() or folder.startswith((".", "/", "~")):
            file = Path(folder, "config.json")
            if not file.is_file():
                raise UsageError(f"the process reward model's folder {folder} holds no config.json.")
            return file
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(folder, "config.json"))
        except (OSError, ValueError) as error:
            raise InfrastructureError(
                f"the process reward model '{folder}' cannot be had from the hub: {one_line(error)}"
            ) from error

    def __call__(self, completions: Sequence[Steps]) -> list[list[float] | Score]:
        """Return the value of each step, or a failed score for a completion that is too long."""
        model, tokenizer = self._load()
        tokens = [tokens_of_steps(tokenizer, one.prompt, one.texts, self._separator) for one in completions]
        values: list[list[float] | Score] = [[] for _ in tokens]
        fitting = []
        for index, one in enumerate(tokens):
            if self._max_length is not None and len(one.ids) > self._max_length:
                values[index] = Score.failed(
                    Failure.VERIFIER,
                    f"the prompt and its completion have {len(one.ids)} tokens, more than {self._max_length}, the most "
                    "that the process reward model reads. Raise max_length, or lower max_completion_length",
                )
            elif one.ends:
                fitting.append(index)
        by_length = sorted(fitting, key=lambda index: len(tokens[index].ids))
        for start in range(0, len(by_length), self._batch_size):
            batch = by_length[start : start + self._batch_size]
            for index, found in zip(
                batch, _values(model, tokenizer, [tokens[i] for i in batch]), strict=True
            ):
                values[index] = found
        return values

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            _require_transformers()
            model: Any = load_process_reward_model(self._source)
            tokenizer: Any = load_tokenizer(self._source, chat_template=self._chat_template)
            tokenizer.padding_side = "right"
            if self._max_length is None:
                config = model.config.get_text_config()
                positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
                self._max_length = min(positions, tokenizer.model_max_length)
            self._loaded = model.eval().to(local_device()), tokenizer
        return self._loaded


def _values(model: Any, tokenizer: Any, batch: Sequence[StepTokens]) -> list[list[float]]:
    """Return the probability of a good step at each step's last token."""
    import torch

    inputs = tokenizer.pad({"input_ids": [one.ids for one in batch]}, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        logits = model(**inputs).logits.float()
    good = logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]
    return [good[row, one.ends].tolist() for row, one in enumerate(batch)]


def _require_transformers() -> None:
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError("reward 'prm'", package, "train")
