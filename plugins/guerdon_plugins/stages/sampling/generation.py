"""Generate completions for many prompts, with a log from which a killed stage resumes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias

from guerdon import Messages, Rollout, Row
from guerdon.data.json_values import parse_object
from guerdon.errors import UsageError, one_line
from guerdon.files import replaced
from guerdon.sampling.sampling import Sampling
from guerdon.types import ToolCall

logger = logging.getLogger(__name__)

Prompt = str | Messages


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion."""

    text: str
    ids: Sequence[int]
    """The token ids, with the end token if there is one; empty if an endpoint returned only the text."""
    tokens: int
    """Its length in tokens."""
    finished: bool
    """Whether it ended within its length limit."""
    refused: str | None = None
    """Why there is no completion: the endpoint's message, or that the prompt is too long."""
    messages: Messages | None = None
    """All turns, the tools' among them, of a completion with tools."""
    calls: Sequence[Mapping[str, Any]] = ()
    """The calls of tools, as ``ToolCall.to_dict`` writes them."""
    environment: Mapping[str, Any] | None = None
    environment_reward: float | None = None
    broken: str | None = None
    """Why the rollout's environment was lost."""


class Draw(NamedTuple):
    """One completion to generate."""

    prompt: Prompt
    seed: int
    row: Row = MappingProxyType({})
    """The data row, which decides the tools."""


Answers: TypeAlias = Generator[tuple[int, Completion], None, None]
"""The number of a draw and its completion, in any order, each as soon as it is available."""


def check_counts(**counts: int | None) -> None:
    """Check that count params are 1 or more.

    Raises:
        ValueError: One is less.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}: give 1 or more.")


class Engine(Protocol):
    """Completes prompts."""

    joint: bool
    """Whether the draws of a call share one stream of random numbers.

    A repeated part of such a call would give other draws, so the engine gets one batch at a time. Any other engine gets
    all
    draws at once, and limits its own concurrency.
    """

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        """Generate completions, the same for the same arguments.

        Args:
            draws: The draws, whose prompts are all texts or all conversations. A joint engine uses the first one's
                seed.
            sampling: The sampling settings.

        Yields:
            Each draw's number and completion.
        """
        ...

    def close(self) -> None:
        """Release the engine's resources."""
        ...


def rollout_of(row: Row, completion: Completion) -> Rollout:
    """Return the rollout that a rubric judges: the completion in the form of the row's prompt."""
    columns = {name: value for name, value in row.items() if name != "prompt"}
    if completion.messages is not None:
        return Rollout(
            row["prompt"],
            completion.messages,
            columns,
            completion.ids,
            calls=[ToolCall.from_dict(call) for call in completion.calls],
            environment=completion.environment,
            environment_reward=completion.environment_reward,
            broken=completion.broken,
        )
    said = completion_like(row["prompt"], completion.text)
    return Rollout(row["prompt"], said, columns, completion.ids)


def completion_like(prompt: Prompt, text: str) -> Prompt:
    """Return a completion's text in the form of its prompt: a text, or an assistant's message."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def tell_refused(groups: Sequence[Sequence[Completion]], first_row: int) -> None:
    """Log which rows are dropped because the engine does not complete their prompts.

    Args:
        groups: The completions of each row's prompt.
        first_row: The number of the first row.
    """
    for number, group in enumerate(groups, first_row):
        reason = next((done.refused for done in group if done.refused is not None), None)
        if reason is not None:
            logger.warning("row %d is dropped: %s", number, one_line(reason))


def complete_all(
    open_engine: Callable[[], Engine],
    prompts: Sequence[Prompt],
    sampling: Sampling,
    count: int,
    *,
    batch_size: int,
    seed: int,
    log: Path,
    progress: Callable[[int], None],
    answered: bool = False,
    rows: Sequence[Row] | None = None,
) -> list[list[Completion]]:
    """Complete every prompt ``count`` times, except for completions that the log of an earlier attempt has.

    Args:
        open_engine: Returns the engine; called only if completions are missing.
        prompts: The prompts, all texts or all conversations.
        sampling: The sampling settings.
        count: The number of completions of each prompt.
        batch_size: The number of prompts that a joint engine completes together.
        seed: The seed of the draws.
        log: A JSONL file, one completion a line, each written as soon as it is there.
        progress: Gets the number of finished prompts.
        rows: The data row of each prompt, for engines with tools.
        answered: Whether the engine has completed other prompts in the same way. If so, a refusal is due to the prompt.

    Returns:
        The completions of each prompt, in the order of the prompts.

    Raises:
        UsageError: The engine refuses everything.
    """
    known = _read(log)
    progress(len(known) // count)
    places = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(count)]
    if missing := [place for place in places if place not in known]:
        engine = open_engine()
        size = batch_size * count if engine.joint else len(missing)
        wanted = places if engine.joint else missing
        batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]

        def completions() -> Iterator[tuple[tuple[int, int], Completion]]:
            for batch in batches:
                if known.keys() >= set(batch):
                    continue
                draws = [
                    Draw(prompts[prompt], _seed(seed, prompt) + sample, rows[prompt] if rows else {})
                    for prompt, sample in batch
                ]
                for position, completion in engine.complete(draws, sampling):
                    yield batch[position], completion

        answered = answered or any(done.refused is None for done in known.values())
        with log.open("a", encoding="utf-8") as file:
            for (prompt, sample), completion in _unless_all_refused(engine, completions(), answered):
                known[prompt, sample] = completion
                line = {"prompt": prompt, "sample": sample, "completion": asdict(completion)}
                file.write(json.dumps(line) + "\n")
                file.flush()
                progress(len(known) // count)
    return [[known[prompt, sample] for sample in range(count)] for prompt in range(len(prompts))]


def _unless_all_refused(
    engine: Engine, completions: Iterator[tuple[tuple[int, int], Completion]], answered: bool
) -> Iterator[tuple[tuple[int, int], Completion]]:
    """Yield completions, and refusals once there is a completion.

    Before that, the request itself may be wrong, and a refusal in the log would outlive its cause.
    """
    refusals: list[tuple[tuple[int, int], Completion]] = []
    for place, completion in completions:
        refusals.append((place, completion))
        if answered := answered or completion.refused is None:
            yield from refusals
            refusals.clear()
    if refusals:
        raise UsageError(
            f"{engine} refuses each of {len(refusals)} requests, the first with: {refusals[0][1].refused}. "
            "Correct the model's name, the params (max_completion_length?) or the prompts."
        )


def _read(log: Path) -> dict[tuple[int, int], Completion]:
    """Return the log's completions. Incomplete lines after a kill or a power cut are removed and completed again."""
    if not log.exists():
        return {}
    known: dict[tuple[int, int], Completion] = {}
    whole: list[str] = []
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    for line in lines:
        try:
            entry = parse_object(line) or {}
            known[entry["prompt"], entry["sample"]] = Completion(**entry["completion"])
        except (TypeError, KeyError):
            continue
        whole.append(line)
    if lines != [*whole, ""]:
        with replaced(log) as partial:
            partial.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    return known


def _seed(seed: int, prompt: int) -> int:
    """Return the seed of one prompt's first sample, independent of other requests: 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:4]) >> 1
