"""Generate completions for many prompts, by all processes of a launch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

from guerdon import Messages, Rollout, Row
from guerdon.errors import UsageError, one_line
from guerdon.sampling.sampling import Sampling
from guerdon.stage import Launch
from guerdon.types import ToolCall
from guerdon_plugins.stages.sampling.completions import Completion, CompletionLog, Place, Placed

logger = logging.getLogger(__name__)

Prompt = str | Messages

_ALONE = Launch()


class Draw(NamedTuple):
    """One completion to generate."""

    prompt: Prompt
    seed: int
    row: Row = MappingProxyType({})
    """The data row, which decides the tools."""


Answers: TypeAlias = Generator[tuple[int, Completion], None, None]
"""The number of a draw and its completion, in any order, each as soon as it is available."""


Arrived: TypeAlias = Callable[[int, int, Completion], None]
"""Takes the numbers of a prompt and of its sample, and the completion."""


def not_judged(prompt: int, sample: int, completion: Completion) -> None:
    """Take a completion that is judged later."""


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


def warn_of_refused(groups: Sequence[Sequence[Completion]], first_row: int) -> None:
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
    launch: Launch = _ALONE,
    rows: Sequence[Row] | None = None,
    arrived: Arrived = not_judged,
) -> list[list[Completion]]:
    """Complete every prompt ``count`` times, except for completions that the logs of an earlier attempt have.

    Each process of a launch completes its share: every n-th batch of a joint engine, every n-th prompt of any other. A
    batch and its seeds do not depend on the number of processes, so the completions do not either.

    Args:
        open_engine: Returns the engine; called only if completions are missing.
        prompts: The prompts, all texts or all conversations.
        sampling: The sampling settings.
        count: The number of completions of each prompt.
        batch_size: The number of prompts that a joint engine completes together.
        seed: The seed of the draws.
        log: The first process's file; see `CompletionLog`.
        progress: Gets the number of finished prompts.
        rows: The data row of each prompt, for engines with tools.
        answered: Whether the engine has completed other prompts in the same way. If so, a refusal is due to the prompt.
        launch: The processes that complete the prompts together.
        arrived: Gets the completions of this process's share while others are generated: first those that the logs
            have, then each new one as soon as it is there.

    Returns:
        The completions of each prompt, in the order of the prompts, in every process.

    Raises:
        InfrastructureError: The processes do not see each other's logs.
        UsageError: The engine refuses everything.
    """
    places = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(count)]
    with CompletionLog(log, launch) as known:
        engine = open_engine() if any(place not in known for place in places) else None
        size = batch_size * count if engine is not None and engine.joint else None
        share = _share(places, size, launch)
        done = sum(place in known for batch in share for place in batch)

        def report() -> None:
            # The others are about as fast. Their logs are not read again for this.
            progress(min(done * launch.count // count, len(prompts)))

        report()
        if engine is not None or launch.count > 1:
            for place in sorted(place for batch in share for place in batch if place in known):
                arrived(*place, known[place])
        made = () if engine is None else _missing(engine, share, known, prompts, rows, sampling, seed)
        for place, completion in _accepted(made, engine, launch, answered or known.answered()):
            new = place not in known  # a joint engine makes whole batches again
            done += new
            known.add(place, completion)
            report()
            if new:
                arrived(*place, completion)
        known.gather(places)
        progress(len(prompts))
        return [[known[prompt, sample] for sample in range(count)] for prompt in range(len(prompts))]


def _accepted(
    made: Iterable[Placed], engine: Engine | None, launch: Launch, answered: bool
) -> Iterator[Placed]:
    """Yield completions, but refusals only once a process has an answer.

    Until then the request itself may be wrong, and a refusal in a log would outlive its cause.

    Raises:
        UsageError: The engine refuses everything.
    """
    refusals: list[Placed] = []
    for one in made:
        refusals.append(one)
        if answered := answered or one[1].refused is None:
            yield from refusals
            refusals.clear()
    answered = "answered" in launch.exchange("answered" if answered else "")
    if refusals and not answered:
        raise UsageError(
            f"{engine} refuses each of {len(refusals)} requests, the first with: {refusals[0][1].refused}. "
            "Correct the model's name, the params (max_completion_length?) or the prompts."
        )
    yield from refusals


def _share(places: Sequence[Place], size: int | None, launch: Launch) -> list[Sequence[Place]]:
    """Return the batches of completions that this process makes.

    Args:
        places: All completions.
        size: The size of the batches that a joint engine takes; ``None`` for one batch of this process's prompts.
        launch: The processes that complete the prompts together.
    """
    if size is None:
        return [[place for place in places if place[0] % launch.count == launch.rank]]
    batches = [places[start : start + size] for start in range(0, len(places), size)]
    return batches[launch.rank :: launch.count]


def _missing(
    engine: Engine,
    share: Sequence[Sequence[Place]],
    known: CompletionLog,
    prompts: Sequence[Prompt],
    rows: Sequence[Row] | None,
    sampling: Sampling,
    seed: int,
) -> Iterator[Placed]:
    """Yield the completions of a share that are not known, as they are made. A joint engine makes whole batches."""
    for batch in share:
        if not (missing := [place for place in batch if place not in known]):
            continue
        batch = batch if engine.joint else missing
        draws = [
            Draw(prompts[prompt], seed_of(seed, prompt) + sample, rows[prompt] if rows else {})
            for prompt, sample in batch
        ]
        for position, completion in engine.complete(draws, sampling):
            yield batch[position], completion


def seed_of(seed: int, number: int) -> int:
    """Return the seed of one of several things, such as a prompt's first sample, independent of the others: 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4]) >> 1
