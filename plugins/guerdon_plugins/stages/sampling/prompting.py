"""Build the model's prompt from a row's: its wording, a system message, worked examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon import Row
from guerdon.errors import DataError
from guerdon.types import message_text
from guerdon_plugins.stages.sampling.generation import Prompt


@dataclass(frozen=True, slots=True)
class Prompting:
    """The settings that turn a row's prompt into the model's.

    Raises:
        ValueError: An example lacks its prompt or its completion, or has another key.
    """

    template: str | None = None
    """The prompt's new text, with columns in braces; ``{prompt}`` is its old text."""
    system: str | None = None
    examples: Sequence[Mapping[str, str]] = ()
    """Earlier turns: a ``prompt`` and a ``completion`` each."""

    def __post_init__(self) -> None:
        for number, example in enumerate(self.examples):
            if set(example) != {"prompt", "completion"}:
                raise ValueError(
                    f"example {number} has {', '.join(example) or 'nothing'}: "
                    "give each a 'prompt' and a 'completion'."
                )

    def __call__(self, row: Row, number: int) -> Prompt:
        """Return the model's prompt for a row.

        Args:
            row: The row, with its ``prompt``.
            number: The row's number, for errors.

        Raises:
            DataError: The template names a column that the row lacks.
        """
        prompt: Prompt = row["prompt"]
        if self.template is not None:
            text = self._filled_in(row, number)
            prompt = text if isinstance(prompt, str) else [*prompt[:-1], {**prompt[-1], "content": text}]
        if self.system is None and not self.examples:
            return prompt
        turns: list[Mapping[str, Any]] = []
        if self.system is not None:
            turns.append({"role": "system", "content": self.system})
        for example in self.examples:
            turns.append({"role": "user", "content": example["prompt"]})
            turns.append({"role": "assistant", "content": example["completion"]})
        return [*turns, *([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)]

    def _filled_in(self, row: Row, number: int) -> str:
        assert self.template is not None
        prompt = row["prompt"]
        columns = {**row, "prompt": prompt if isinstance(prompt, str) else message_text(prompt[-1:])}
        try:
            return self.template.format_map(columns)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise DataError(
                f"the template {self.template[:60]!r} cannot be filled in from row {number}: "
                f"{type(error).__name__}: {error}. Columns: {', '.join(columns)}; write {{{{ and }}}} for braces "
                "that are text."
            ) from error
