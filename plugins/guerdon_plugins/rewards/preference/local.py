"""A reward model in this process. Imports torch and transformers at its first use."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon import Failure, Messages, Model, Score
from guerdon.errors import InfrastructureError, MissingDependencyError, UsageError, one_line
from guerdon.models import load_reward_model, load_tokenizer, local_device, resolve_folder
from guerdon.types import message_text


class LocalRewardModel:
    """Scores replies in batches, on the accelerator if there is one. Loaded at the first call.

    Args:
        path: A hub id or a folder.
        dtype: The dtype by torch's name, or ``auto``.
        chat_template: A Jinja template that replaces the model's own.
        batch_size: The number of replies that the model scores at once.
        max_length: The most tokens of a text, whose beginning is cut off; ``None`` for the model's limit.
    """

    def __init__(
        self, path: str, dtype: str, chat_template: str | None, batch_size: int, max_length: int | None
    ) -> None:
        self._source = Model(path, path, dtype=dtype)
        self._chat_template = chat_template
        self._batch_size = batch_size
        self._max_length = max_length
        self._loaded: tuple[Any, Any] | None = None

    def preflight(self) -> None:
        """Raise if the model is not a reward model according to its configuration; no weights are read."""
        _require_transformers()
        architectures = json.loads(self._config_file().read_text(encoding="utf-8")).get("architectures") or []
        if not any("SequenceClassification" in name or "Reward" in name for name in architectures):
            raise UsageError(
                f"the model {self._source.path} is a {', '.join(architectures) or 'model without a name'}, which "
                "has no head for rewards. Name a sequence classification model, or train one by a stage that uses "
                "'reward_model'."
            )

    def _config_file(self) -> Path:
        folder = resolve_folder(self._source)
        if Path(folder).is_dir() or folder.startswith((".", "/", "~")):
            file = Path(folder, "config.json")
            if not file.is_file():
                raise UsageError(f"the reward model's folder {folder} holds no config.json.")
            return file
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(folder, "config.json"))
        except (OSError, ValueError) as error:
            raise InfrastructureError(
                f"the reward model '{folder}' cannot be had from the hub: {one_line(error)}"
            ) from error

    def __call__(self, replies: Sequence[tuple[str | Messages, str]]) -> list[Score]:
        import torch

        model, tokenizer = self._load()
        encoded = [self._encode(tokenizer, prompt, reply) for prompt, reply in replies]
        by_length = sorted(range(len(encoded)), key=lambda i: len(encoded[i]["input_ids"]))
        scores: list[Score | None] = [None] * len(encoded)
        for start in range(0, len(by_length), self._batch_size):
            batch = by_length[start : start + self._batch_size]
            inputs = tokenizer.pad([encoded[i] for i in batch], return_tensors="pt").to(model.device)
            with torch.inference_mode():
                rewards = model(**inputs).logits[:, 0].float().tolist()
            for i, reward in zip(batch, rewards, strict=True):
                scores[i] = _score(reward)
        return [score for score in scores if score is not None]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            _require_transformers()

            model: Any = load_reward_model(self._source)
            tokenizer: Any = load_tokenizer(self._source, chat_template=self._chat_template)
            tokenizer.padding_side = "right"
            tokenizer.truncation_side = "left"
            config = model.config.get_text_config()
            if config.pad_token_id is None:  # the head reads the last token that is not padding
                config.pad_token_id = tokenizer.pad_token_id
            if self._max_length is None:
                positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
                self._max_length = min(positions, tokenizer.model_max_length)
            self._loaded = model.eval().to(local_device()), tokenizer
        return self._loaded

    def _encode(self, tokenizer: Any, prompt: str | Messages, reply: str) -> dict[str, list[int]]:
        cut = {"truncation": True, "max_length": self._max_length}
        if not isinstance(prompt, str) and tokenizer.chat_template is not None:
            conversation = [*prompt, {"role": "assistant", "content": reply}]
            encoded = tokenizer.apply_chat_template(conversation, return_dict=True, **cut)
        elif tokenizer.sep_token is not None:
            encoded = tokenizer(message_text(prompt), reply, **cut)
        elif isinstance(prompt, str):
            encoded = tokenizer(prompt + reply + tokenizer.eos_token, **cut)
        else:
            raise UsageError(
                f"the prompts are conversations, and the reward model {self._source.path} has no chat template. "
                "Set the param 'chat_template' to the text of a Jinja template."
            )
        return dict(encoded)


def _score(reward: float) -> Score:
    if not math.isfinite(reward):
        return Score.failed(Failure.VERIFIER, f"the reward model gave {reward}, which is not a finite number")
    return Score(reward)


def _require_transformers() -> None:
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError("reward 'preference' with a model of its own", package, "train")
