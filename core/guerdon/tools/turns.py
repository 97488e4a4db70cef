"""The loop of a rollout with many turns: the model writes, its tools answer, the model writes again.

The tokens are those of TRL's own loop (``GRPOTrainer._tool_call_loop`` of 1.16): a turn is sampled after the tokens of
all turns before it, which are never tokenized again, and the same results are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from guerdon.errors import DataError
from guerdon.tools.toolbox import Session, Toolbox
from guerdon.types import Messages


@dataclass(slots=True)
class Conversation:
    """A rollout in progress."""

    session: Session
    prompt_ids: Sequence[int]
    completion_ids: list[int]
    """The tokens of all turns, the model's and the tools'."""
    written: list[int]
    """1 for each token that the model wrote, 0 for each of a tool's result."""
    messages: list[dict[str, Any]]
    """The completion's turns. The first is the model's."""
    logprobs: list[float] | None = None
    """The sampler's log-probability of each token, 0 for those of results."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a rollout ends, whatever the model wants."""

    turns: int
    """The most turns that call tools."""
    tokens: int
    """The most tokens of all turns together, results included."""
    positions: int
    """The model's positions, for prompt and completion together."""


class Dialect(Protocol):
    """How a model writes calls of tools, and reads their results."""

    def parse(self, ids: Sequence[int], prefix: Sequence[int], session: Session) -> dict[str, Any]:
        """Return the message in sampled tokens, with its ``tool_calls``.

        Args:
            ids: The tokens of one turn.
            prefix: All tokens before it.
            session: The rollout's session.
        """
        ...

    def results(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the tokens that follow a turn that called tools: the results, and the start of the next turn."""
        ...


class Generate(Protocol):
    """Samples one completion for each prompt."""

    def __call__(self, prompts: Sequence[list[int]]) -> tuple[list[list[int]], list[list[float]] | None]:
        """Return the tokens of each completion, and their log-probabilities if the sampler knows them."""
        ...


def take_turns(
    toolbox: Toolbox,
    conversations: Sequence[Conversation],
    generate: Generate,
    dialect: Dialect,
    limits: Limits,
) -> None:
    """Call the tools that the models asked for and let the models continue, until no model asks or a limit is reached.

    A rollout whose environment is broken ends at once.
    """
    asking = [one for one in conversations if _calls(one)]
    for _ in range(limits.turns):
        asking = [one for one in asking if one.session.broken is None]
        if not asking:
            return
        answers = toolbox.call([(one.session, _calls(one)) for one in asking])
        continued = []
        for one, results in zip(asking, answers, strict=True):
            ids = dialect.results(results)
            length = len(one.completion_ids) + len(ids)
            fits = length <= limits.tokens and len(one.prompt_ids) + length < limits.positions
            if fits and one.session.broken is None:
                one.messages += results
                continued.append((one, ids))
        if continued:
            _continue(continued, generate, dialect, limits)
        asking = [one for one, _ in continued if _calls(one)]


def _calls(one: Conversation) -> Sequence[Mapping[str, Any]]:
    """Return the calls of the last message."""
    return one.messages[-1].get("tool_calls") or []


def _continue(
    continued: Sequence[tuple[Conversation, list[int]]], generate: Generate, dialect: Dialect, limits: Limits
) -> None:
    """Sample the next turn of each rollout after its results."""
    prompts = [[*one.prompt_ids, *one.completion_ids, *results] for one, results in continued]
    sampled, logprobs = generate(prompts)
    for number, (one, results) in enumerate(continued):
        room = limits.tokens - len(one.completion_ids) - len(results)
        ids = sampled[number][:room]
        one.completion_ids += [*results, *ids]
        one.written += [0] * len(results) + [1] * len(ids)
        if one.logprobs is not None and logprobs is not None:
            one.logprobs += [0.0] * len(results) + logprobs[number][: len(ids)]
        if ids:
            one.messages.append(dialect.parse(ids, prompts[number], one.session))


def with_observation(prompt: str | Messages, observation: str | None) -> Messages:
    """Return a prompt with what an environment shows at the end of its last message.

    TRL joins the two texts without a space between. Here an empty line is between them, unless one of them has its own
    white space there.

    Raises:
        DataError: The prompt is not a conversation.
    """
    if isinstance(prompt, str):
        raise DataError(
            "a prompt is a text, and tools need conversations: give it as [{role: user, content: text}]."
        )
    if not observation:
        return prompt
    content: Any = prompt[-1].get("content") or ""
    if isinstance(content, list):
        added: Any = [{"type": "text", "text": observation}]
    else:
        apart = content[-1:].isspace() or observation[:1].isspace() or not content
        added = observation if apart else f"\n\n{observation}"
    return [*prompt[:-1], {**prompt[-1], "content": content + added}]
