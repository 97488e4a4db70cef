"""The reward ``preference``: the judged part of a completion, the reward model, and the normalization of its number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from guerdon import Messages, Outcome, Score
from guerdon.chat_template import ChatTemplate
from guerdon.text import checked_tags, select_part
from guerdon.types import completion_text
from guerdon_plugins.rewards.preference.local import LocalRewardModel
from guerdon_plugins.rewards.preference.normalization import Normalize, RunningZScore, clipped, sigmoid
from guerdon_plugins.rewards.preference.remote import RemoteRewardModel

Reply = tuple[str | Messages, str]
"""A prompt, and the part of the completion that is judged."""


class _RewardModel(Protocol):
    def preflight(self) -> None: ...

    def __call__(self, replies: Sequence[Reply]) -> list[Score]: ...


class Preference:
    """The reward of a reward model: a sequence classifier with one label, here or behind HTTP.

    Conversations use the reward model's own chat template. A plain prompt and its completion are joined and end with
    the end-of-sequence token, as in TRL's training of reward models. A model with a separator token, such as BERT, gets
    them as a pair.

    Args:
        model: The reward model: a hub id, a folder, or ``stage:<id>`` for the checkpoint of a stage of the manifest.
        url: Instead of ``model``, the address of a reward model behind HTTP, as vLLM serves it:
            ``http://localhost:8000/classify``.
        part: The part to judge: ``response``, the whole completion, as for harmlessness; or ``summary``, the final
            answer after the reasoning, as for helpfulness.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
        normalize: The normalization of the model's number: ``none``; ``sigmoid``, from 0 to 1; or ``zscore``, by the
            mean
            and the standard deviation of all the numbers that the stage has seen so far.
        clip: The largest magnitude after that; by default without bound.
        batch_size: The number of replies that ``model`` scores at once.
        max_length: The most tokens of a text, whose beginning is cut off; by default the limit of ``model``.
        dtype: The dtype to load ``model`` in, by torch's name, or ``auto``.
        chat_template: A Jinja template, instead of that of ``model``.
        base_dir: The folder that relative paths start from; given by the engine.
        state_dir: The folder for the statistics of ``zscore``, which survives a kill; given by the engine.

    Raises:
        ValueError: Not exactly one of ``model`` and ``url`` is given, or a param is out of range.
    """

    __name__ = "preference"
    audit_kind = "preference"

    def __init__(
        self,
        model: str | None = None,
        url: str | None = None,
        part: Literal["summary", "response"] = "response",
        reasoning_tags: Sequence[str] | None = None,
        normalize: Literal["none", "sigmoid", "zscore"] = "none",
        clip: float | None = None,
        batch_size: int = 16,
        max_length: int | None = None,
        dtype: str = "auto",
        chat_template: ChatTemplate | None = None,
        base_dir: Path | None = None,
        state_dir: Path | None = None,
    ) -> None:
        if (model is None) == (url is None):
            given = "both" if model else "neither"
            raise ValueError(f"{given} of model and url is given; give one of them")
        if clip is not None and clip <= 0:
            raise ValueError(f"clip is {clip}; it must be above 0")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length is {max_length}; it must be at least 1")
        self._reward_model: _RewardModel
        if model is not None:
            local = base_dir / model if base_dir is not None else Path(model)
            path = str(local) if local.exists() else model
            self._reward_model = LocalRewardModel(path, dtype, chat_template, batch_size, max_length)
        else:
            assert url is not None
            self._reward_model = RemoteRewardModel(url)
        self._part: Literal["answer", "whole"] = "answer" if part == "summary" else "whole"
        self._tags = checked_tags(reasoning_tags)
        self._clip = clip
        self._zscore = RunningZScore(state_dir) if normalize == "zscore" else None
        self._normalize: Normalize = sigmoid if normalize == "sigmoid" else list

    def preflight(self) -> None:
        """Raise if the model cannot be a reward model, or if no server responds at the address."""
        self._reward_model.preflight()

    def __call__(
        self,
        prompts: Sequence[str | Messages],
        completions: Sequence[str | Messages],
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[Score]:
        replies = [
            (prompt, _encodable(select_part(completion_text(completion), self._part, self._tags)))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        scores = self._reward_model(replies)
        raw = [score.value for score in scores if score.value is not None]
        step = getattr(trainer_state, "global_step", 0)
        values = self._zscore(raw, step) if self._zscore is not None else self._normalize(raw)
        done = iter(clipped(values, self._clip))
        return [
            Score(next(done), metadata={"reward_model": score.value})
            if score.outcome is Outcome.SCORED
            else score
            for score in scores
        ]


def _encodable(text: str) -> str:
    """Return the text with each lone surrogate replaced, because tokenizers and servers do not accept them."""
    return text.encode("utf-8", "replace").decode()
