"""Budget forcing: a stage decides how long a model thinks before it answers (s1, arXiv:2501.19393, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from guerdon import Model
from guerdon.errors import UsageError

__all__ = ["Generate", "Marks", "Thinking", "check_marks", "think"]

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


@dataclass
class _Thought:
    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    waits: int = 0
    thinks: bool = True
    answers: bool = True
    """Whether it is to be continued after the thinking."""

    @property
    def text(self) -> list[int]:
        return self.prompt + self.ids


def think(
    generate: Generate,
    prompts: Sequence[list[int]],
    thinking: Thinking,
    marks: Marks,
    *,
    answer_tokens: int,
    ends: Collection[int],
    positions: int | None,
) -> list[list[int]]:
    """Return the completions of prompts, each a thought within its budget and an answer.

    A completion that ends without an end of thinking has no further answer. The tokens of ``wait`` count as thinking.

    Args:
        generate: Continues token lists.
        prompts: The prompts' tokens.
        thinking: The budget.
        marks: The tokens of the budget's texts.
        answer_tokens: The most tokens of an answer.
        ends: The tokens that end a completion.
        positions: The most tokens of a prompt with its completion, if there is a limit.
    """
    thoughts = [_Thought(prompt, waits=thinking.waits) for prompt in prompts]

    def continued(some: Sequence[_Thought], tokens: int, stops: Collection[int]) -> None:
        fitting = [one for one in some if positions is None or len(one.text) < positions]
        if not fitting:
            return
        for one, new in zip(fitting, generate([one.text for one in fitting], tokens, stops), strict=True):
            one.ids += new

    while thinkers := [one for one in thoughts if one.thinks]:
        before = [len(one.ids) for one in thinkers]
        left = max(thinking.max_tokens - count for count in before)
        continued(thinkers, left, {*ends, marks.end})
        for one, count in zip(thinkers, before, strict=True):
            _judge(one, len(one.ids) > count, thinking, marks, ends)
    continued([one for one in thoughts if one.answers], answer_tokens, ends)
    return [one.ids for one in thoughts]


def _judge(one: _Thought, grew: bool, thinking: Thinking, marks: Marks, ends: Collection[int]) -> None:
    """Decide what follows a part of a thought."""
    over = len(one.ids) > thinking.max_tokens
    del one.ids[thinking.max_tokens :]
    last = one.ids[-1] if grew and not over else None
    if last in ends:
        one.thinks = one.answers = False
    elif last == marks.end:
        waited = len(one.ids) - 1 + len(marks.wait)
        if one.waits and waited < thinking.max_tokens:
            one.ids[-1:] = marks.wait
            one.waits -= 1
        else:
            one.thinks = False
    else:
        one.thinks = False
        one.ids.append(marks.end)
