"""``reasoning_gym``: generated puzzles of any Reasoning Gym task, for the verifier of the same name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from guerdon.errors import library_of
from guerdon_plugins.shared.rows import RowShape


class ReasoningGym:
    """Generates the rows of one task of Reasoning Gym (arXiv 2505.24760): the same ones for the same params.

    A row has ``prompt``, ``reference`` (absent where a task accepts any valid solution), ``task``, and ``metadata``,
    which is JSON and holds the other inputs of the task's scorer.

    Args:
        task: The task's name, such as ``leg_counting``.
        config: The task's settings, as Reasoning Gym names them: ``{max_terms: 3}``.
        seed: The seed of the generated rows.
        size: The number of rows.
        template: The prompt's text, with columns in braces: ``"Question: {prompt}"``.
        system: A system message before the prompt, which makes the prompt a conversation.
        chat: Whether the prompt becomes a conversation's user message, for models with a chat template.

    Raises:
        MissingDependencyError: Reasoning Gym is not installed.
        ValueError: There is no such task, or the task refuses the config.
    """

    def __init__(
        self,
        task: str,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        size: int = 500,
        template: str | None = None,
        system: str | None = None,
        chat: bool = False,
    ) -> None:
        with library_of("source 'reasoning_gym'", extra="reasoning-gym"):
            from reasoning_gym.factory import DATASETS, create_dataset
        if task not in DATASETS:
            near = ", ".join(get_close_matches(task, DATASETS)) or "its gallery lists them"
            raise ValueError(
                f"task is '{task}', which is not one of Reasoning Gym's {len(DATASETS)}. Near: {near}."
            )
        self._task = task
        self._config = dict(config or {})
        self._size = size
        self._shape = RowShape({}, template, system, chat)
        try:
            self._puzzles = create_dataset(task, **self._config, seed=seed, size=size)
        except (AssertionError, TypeError, ValueError) as error:
            raise ValueError(f"the task '{task}' refuses the config {self._config}: {error}") from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self._size):
            puzzle = self._puzzles[number]
            metadata = {**puzzle["metadata"], "source_config": self._config}
            row = {
                "prompt": puzzle["question"],
                "reference": puzzle["answer"],
                "task": self._task,
                "metadata": json.dumps(_plain(metadata), ensure_ascii=False, default=str),
            }
            yield self._shape(row, f"Reasoning Gym task '{self._task}', row {number}")


def _plain(value: Any) -> Any:
    """Mark values that JSON would lose and scorers compare: tuples, and keys that are not strings."""
    if isinstance(value, tuple):
        return {"__tuple__": [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    return {"__items__": [[_plain(key), _plain(item)] for key, item in value.items()]}
