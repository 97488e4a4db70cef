"""Completions for many prompts, batch by batch, in a log that a killed stage goes on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from guerdon import Messages, Rollout, Row

Prompt = str | Messages


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn, by TRL's names."""

    max_completion_length: int
    """In tokens."""
    temperature: float
    """0 takes the likeliest token every time."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for no such limit."""


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
    """Whether the prompts of a call share one stream of draws: a part of them, asked for again, would draw others."""

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, count: int, seeds: Sequence[int]
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Complete each prompt ``count`` times, side by side; the same for the same arguments.

        Args:
            prompts: Texts, or conversations all.
            sampling: How to draw.
            count: Completions of each prompt.
            seeds: Of the draws, one for each prompt; a joint engine takes the first.

        Yields:
            A prompt's position and its completions, in any order.
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
) -> list[list[Completion]]:
    """Complete every prompt ``count`` times; what an earlier try has left in the log is not done again.

    Args:
        open_engine: Gives the engine; called only if there is something to do.
        prompts: Texts, or conversations all.
        sampling: How to draw.
        count: Completions of each prompt.
        batch_size: Prompts that are completed side by side.
        seed: Of the draws.
        log: A JSONL file, one prompt a line.
        progress: Told how many prompts are done.

    Returns:
        The completions of each prompt, in the order of the prompts.
    """
    known = _read(log)
    for start in range(0, len(prompts), batch_size):
        batch = list(range(start, min(start + batch_size, len(prompts))))
        missing = [place for place in batch if place not in known]
        if missing:
            engine = open_engine()
            if engine.joint:
                missing = batch
            seeds = [_seed(seed, place) for place in missing]
            answers = engine.complete([prompts[place] for place in missing], sampling, count, seeds)
            with log.open("a", encoding="utf-8") as file:
                for position, completions in answers:
                    place = missing[position]
                    known[place] = completions
                    line = {"prompt": place, "completions": [asdict(done) for done in completions]}
                    file.write(json.dumps(line) + "\n")
                    if not engine.joint:
                        file.flush()
        progress(batch[-1] + 1)
    return [known[place] for place in range(len(prompts))]


def _read(log: Path) -> dict[int, list[Completion]]:
    """What the log has; a last line that a kill cut off is taken out of it."""
    if not log.exists():
        return {}
    lines = log.read_text(encoding="utf-8").split("\n")
    if lines.pop():
        partial = log.with_suffix(".partial")
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        partial.replace(log)
    entries = map(json.loads, lines)
    return {entry["prompt"]: [Completion(**done) for done in entry["completions"]] for entry in entries}


def _seed(seed: int, place: int) -> int:
    """Of one prompt, whichever prompts it is asked with: 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {place}".encode()).digest()[:4]) >> 1
