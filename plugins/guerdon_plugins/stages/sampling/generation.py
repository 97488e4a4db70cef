"""Completions for many prompts, in a log that a killed stage resumes from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from guerdon import Messages, Rollout, Row
from guerdon.errors import UsageError, one_line
from guerdon.sampling.sampling import Sampling

logger = logging.getLogger(__name__)

Prompt = str | Messages


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion."""

    text: str
    ids: Sequence[int]
    """With the token that ends it, where it ends; empty where an endpoint gave only the text."""
    tokens: int
    """Its length."""
    finished: bool
    """Whether it came to its end within the length that it had."""
    refused: str | None = None
    """Why there is none: what an endpoint says that does not complete this prompt, or that it is too long."""


class Draw(NamedTuple):
    """One completion to make."""

    prompt: Prompt
    seed: int


Answers: TypeAlias = Generator[tuple[int, Completion], None, None]
"""The number of a draw and its completion, in any order, each as soon as it is there."""


def check_counts(**counts: int | None) -> None:
    """Hold params that count something to 1 or more.

    Raises:
        ValueError: One is less.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}: give 1 or more.")


class Engine(Protocol):
    """Completes prompts."""

    joint: bool
    """Whether the draws of a call share one stream of random numbers, so that a part of them, asked for again, would
    be others. Such an engine is given one batch at a time; any other one all that there is, and sees itself to how
    much of it is under way."""

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        """Make completions, the same for the same arguments.

        Args:
            draws: Their prompts are texts, or conversations all; a joint engine takes the first one's seed.
            sampling: How to draw.

        Yields:
            Each draw's number and completion.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def rollout_of(row: Row, completion: Completion) -> Rollout:
    """What a rubric judges: the completion in the form of the row's prompt."""
    columns = {name: value for name, value in row.items() if name != "prompt"}
    said = completion_like(row["prompt"], completion.text)
    return Rollout(row["prompt"], said, columns, completion.ids)


def completion_like(prompt: Prompt, text: str) -> Prompt:
    """A completion's text in the form of its prompt: a text, or an assistant's message."""
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
) -> list[list[Completion]]:
    """Complete every prompt ``count`` times; what an earlier try has left in the log is not done again.

    Args:
        open_engine: Gives the engine; called only if there is something to do.
        prompts: Texts, or conversations all.
        sampling: How to draw.
        count: Completions of each prompt.
        batch_size: Prompts that a joint engine completes side by side.
        seed: Of the draws.
        log: A JSONL file, one completion a line, each written as soon as it is there.
        progress: Told how many prompts are done.
        answered: Whether the engine has completed other prompts in the same way: then what it refuses, it refuses for
            the prompt's sake.

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
                draws = [Draw(prompts[prompt], _seed(seed, prompt) + sample) for prompt, sample in batch]
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
    """Yield what the engine completes, and what it refuses once it has completed something.

    Until then the request itself may be wrong; a refusal in the log would outlive its cause.
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
    """Return what the log has. Lines that a kill or a power cut tore are taken out of it, and completed again."""
    if not log.exists():
        return {}
    known: dict[tuple[int, int], Completion] = {}
    whole: list[str] = []
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    for line in lines:
        try:
            entry = json.loads(line)
            known[entry["prompt"], entry["sample"]] = Completion(**entry["completion"])
        except (ValueError, TypeError, KeyError):
            continue
        whole.append(line)
    if lines != [*whole, ""]:
        partial = log.with_suffix(".partial")
        partial.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
        partial.replace(log)
    return known


def _seed(seed: int, prompt: int) -> int:
    """Of one prompt's first sample, whatever else is asked with it: 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:4]) >> 1
