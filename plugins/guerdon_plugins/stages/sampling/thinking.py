"""Budget forcing: a stage decides how long a model thinks before it answers (s1, arXiv:2501.19393, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from guerdon import Model
from guerdon.errors import UsageError

__all__ = ["Forcing", "Generate", "Marks", "Part", "Thinking", "Thought", "check_marks", "think"]

Generate: TypeAlias = Callable[[Sequence[list[int]], int, Collection[int]], Sequence[list[int]]]
"""Continues token lists by at most so many tokens, up to and with one of the end tokens."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """A budget of thinking.

    Raises:
        ValueError: A value is out of range.
    """

    max_tokens: int
    """The most tokens of thinking. A longer thought is cut, and ``end`` is appended."""
    waits: int = 0
    """How often an end of thinking within the budget is replaced by ``wait``."""
    wait: str = "Wait"
    end: str = "</think>"
    """What ends a thought: one token."""

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 1), ("waits", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"thinking.{name} is {value!r}: give a whole number, {least} or more.")
        for name in ("wait", "end"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"thinking.{name} is {value!r}: give a text.")

    def __str__(self) -> str:
        return f"thinks {self.max_tokens}" + (f", waits {self.waits}" if self.waits else "")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Thinking:
        """Return the budget that a stage's params describe.

        Raises:
            ValueError: The params do not describe one.
        """
        try:
            return cls(**params)
        except TypeError as error:
            raise ValueError(
                f"thinking has {', '.join(params) or 'nothing'}: it takes "
                f"{', '.join(one.name for one in fields(cls))}, the first always."
            ) from error


class Marks(NamedTuple):
    """The tokens of a budget's texts."""

    end: int
    wait: list[int]

    @classmethod
    def of(cls, thinking: Thinking, model: str, encode: Callable[[str], list[int]]) -> Marks:
        """Return the tokens that a model's tokenizer gives them.

        Args:
            thinking: The budget.
            model: The model's name.
            encode: Returns a text's tokens, without special tokens around it.

        Raises:
            UsageError: ``end`` is not one token.
        """
        end, wait = encode(thinking.end), encode(thinking.wait)
        if len(end) != 1:
            raise UsageError(
                f"thinking.end is {thinking.end!r}, which is {len(end)} tokens of model '{model}'. Give the token that "
                "ends its thinking."
            )
        return cls(end[0], wait)


def check_marks(budgets: Sequence[Thinking | None], models: Sequence[Model]) -> None:
    """Check the budgets before the run, with the tokenizers that are there.

    Raises:
        UsageError: An ``end`` is not one token.
    """
    for model in models:
        file = Path(model.path) / "tokenizer.json"
        if any(budgets) and file.is_file():
            encode = _encoding(file)
            for budget in filter(None, budgets):
                Marks.of(budget, model.name, encode)


def _encoding(file: Path) -> Callable[[str], list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


class Part(NamedTuple):
    """A continuation that a completion needs."""

    text: list[int]
    """The tokens to continue."""
    tokens: int
    """The most tokens of the continuation."""
    ends: Collection[int]
    """The tokens that end it."""
    answers: bool
    """Whether it is the answer, after the thinking."""


Thought: TypeAlias = Generator[Part, list[int], list[int]]
"""Yields parts, gets the tokens of each, and returns those of the completion."""


@dataclass(frozen=True, slots=True)
class Forcing:
    """What forces completions into a budget.

    A completion that ends without an end of thinking has no further answer. The tokens of ``wait`` count as thinking.
    """

    thinking: Thinking
    marks: Marks
    answer_tokens: int
    """The most tokens of an answer."""
    ends: Collection[int]
    """The tokens that end a completion."""
    positions: int | None
    """The most tokens of a prompt with its completion, if there is a limit."""

    def of(self, prompt: list[int]) -> Thought:
        """Return the completion of a prompt, part by part: a thought within its budget, and an answer."""
        ids: list[int] = []
        waits, end = self.thinking.waits, self.marks.end
        stops = frozenset((*self.ends, end))
        while self._fits(prompt, ids):
            new = yield Part(prompt + ids, self.thinking.max_tokens - len(ids), stops, answers=False)
            ids += new
            last = ids[-1] if new else None
            if last in self.ends:
                return ids
            waited = len(ids) - 1 + len(self.marks.wait)
            if last != end or not waits or waited >= self.thinking.max_tokens:
                break
            ids[-1:] = self.marks.wait
            waits -= 1
        else:
            last = None
        if last != end:
            ids.append(end)
        if self._fits(prompt, ids):
            ids += yield Part(prompt + ids, self.answer_tokens, self.ends, answers=True)
        return ids

    def _fits(self, prompt: list[int], ids: list[int]) -> bool:
        return self.positions is None or len(prompt) + len(ids) < self.positions


def think(generate: Generate, prompts: Sequence[list[int]], forcing: Forcing) -> list[list[int]]:
    """Return the completions of prompts by an engine that continues many texts together.

    All think before the first one answers: thoughts share the tokens that end them, and answers share their limit too.

    Args:
        generate: Continues token lists.
        prompts: The prompts' tokens.
        forcing: The budget.
    """
    thoughts = [forcing.of(prompt) for prompt in prompts]
    parts: dict[int, Part] = {}
    done: dict[int, list[int]] = {}

    def advance(number: int, new: list[int] | None) -> None:
        try:
            parts[number] = thoughts[number].send(new)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as end:
            parts.pop(number, None)
            done[number] = end.value

    for number in range(len(thoughts)):
        advance(number, None)
    while parts:
        asked = [number for number, part in parts.items() if not part.answers] or list(parts)
        most = max(parts[number].tokens for number in asked)
        made = generate([parts[number].text for number in asked], most, parts[asked[0]].ends)
        for number, new in zip(asked, made, strict=True):
            advance(number, new[: parts[number].tokens])
    return [done[number] for number in range(len(thoughts))]
