"""Generate completions for many prompts, with a log from which a killed stage resumes."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias

from guerdon import Messages, Rollout, Row
from guerdon.data.json_values import parse_object
from guerdon.errors import InfrastructureError, UsageError, one_line
from guerdon.files import replaced
from guerdon.sampling.sampling import Sampling
from guerdon.stage import Launch
from guerdon.types import ToolCall

logger = logging.getLogger(__name__)

Prompt = str | Messages

_ALONE = Launch()


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


_Place: TypeAlias = tuple[int, int]
"""The number of a prompt, and that of a sample of it."""

_Placed: TypeAlias = tuple[_Place, Completion]

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
        log: A JSONL file, one completion a line, each written as soon as it is there. Each process has its own, in one
            folder that all of them see; the first one's has this name.
        progress: Gets the number of finished prompts.
        rows: The data row of each prompt, for engines with tools.
        answered: Whether the engine has completed other prompts in the same way. If so, a refusal is due to the prompt.
        launch: The processes that complete the prompts together.
        arrived: Gets completions while others are generated: first those that the logs have, then each of this
            process's as soon as it is there.

    Returns:
        The completions of each prompt, in the order of the prompts, in every process.

    Raises:
        InfrastructureError: The processes do not see each other's logs.
        UsageError: The engine refuses everything.
    """
    own = _log_of(log, launch.rank)
    _repair(own)
    launch.exchange("")  # from here on, no process writes until each has read
    known = _read(log)
    launch.exchange("")
    places = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(count)]
    done = 0

    def report() -> None:
        # The others are about as fast. Their logs are not read again for this.
        progress(min(done * launch.count // count, len(prompts)))

    with own.open("a", encoding="utf-8") as file:

        def keep(place: _Place, completion: Completion) -> None:
            nonlocal done
            new = place not in known
            done += new
            known[place] = completion
            line = {"prompt": place[0], "sample": place[1], "completion": asdict(completion)}
            file.write(json.dumps(line) + "\n")
            file.flush()
            report()
            if new:
                arrived(*place, completion)

        engine = open_engine() if any(place not in known for place in places) else None
        size = batch_size * count if engine is not None and engine.joint else None
        share = _share(places, size, launch)
        done = sum(place in known for batch in share for place in batch)
        report()
        if engine is not None:
            for place in sorted(known):
                arrived(*place, known[place])
        refusals: list[_Placed] = []
        answered = answered or any(one.refused is None for one in known.values())
        for place, completion in (
            () if engine is None else _missing(engine, share, known, prompts, rows, sampling, seed)
        ):
            refusals.append((place, completion))
            if answered := answered or completion.refused is None:
                for one in refusals:
                    keep(*one)
                refusals.clear()
        # Until a process has an answer, the request itself may be wrong. A refusal in a log would outlive its cause.
        answered = "answered" in launch.exchange("answered" if answered else "")
        if refusals and not answered:
            raise UsageError(
                f"{engine} refuses each of {len(refusals)} requests, the first with: {refusals[0][1].refused}. "
                "Correct the model's name, the params (max_completion_length?) or the prompts."
            )
        for one in refusals:
            keep(*one)
    if launch.count > 1:
        known = _gathered(log, places, launch)
        progress(len(prompts))
    return [[known[prompt, sample] for sample in range(count)] for prompt in range(len(prompts))]


def _share(places: Sequence[_Place], size: int | None, launch: Launch) -> list[Sequence[_Place]]:
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
    share: Sequence[Sequence[_Place]],
    known: Collection[_Place],
    prompts: Sequence[Prompt],
    rows: Sequence[Row] | None,
    sampling: Sampling,
    seed: int,
) -> Iterator[_Placed]:
    """Yield the completions of a share that are not known, as they are made. A joint engine makes whole batches."""
    for batch in share:
        if not (missing := [place for place in batch if place not in known]):
            continue
        batch = batch if engine.joint else missing
        draws = [
            Draw(prompts[prompt], _seed(seed, prompt) + sample, rows[prompt] if rows else {})
            for prompt, sample in batch
        ]
        for position, completion in engine.complete(draws, sampling):
            yield batch[position], completion


def _gathered(log: Path, places: Sequence[_Place], launch: Launch) -> dict[_Place, Completion]:
    """Wait for all processes, and return the completions of all.

    Raises:
        InfrastructureError: Some are in no log.
    """
    launch.exchange("")
    known = _read(log)
    if lost := [place for place in places if place not in known]:
        raise InfrastructureError(
            f"{len(lost)} of {len(places)} completions are in no log that process {launch.rank} sees in "
            f"{log.parent}. Put the run folder, by -o, on storage that all machines share."
        )
    return known


def _log_of(log: Path, rank: int) -> Path:
    return log if rank == 0 else log.with_name(f"{log.name}.rank{rank}")


def _read(log: Path) -> dict[_Place, Completion]:
    """Return the completions in the logs of all processes, also of an earlier launch with another number of them."""
    known: dict[_Place, Completion] = {}
    for path in (log, *sorted(log.parent.glob(f"{glob.escape(log.name)}.rank*"))):
        if path.exists():
            known.update(entry for line in _lines(path) if (entry := _entry(line)) is not None)
    return known


def _repair(log: Path) -> None:
    """Remove incomplete lines after a kill or a power cut. Their completions are made again."""
    if not log.exists():
        return
    lines = _lines(log)
    whole = [line for line in lines if _entry(line) is not None]
    if lines != [*whole, ""]:
        with replaced(log) as partial:
            partial.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").split("\n")


def _entry(line: str) -> _Placed | None:
    try:
        entry = parse_object(line) or {}
        said = entry["completion"]
        completion = Completion(**{**said, "calls": tuple(said.get("calls", ()))})
        return (entry["prompt"], entry["sample"]), completion
    except (TypeError, KeyError):
        return None


def _seed(seed: int, prompt: int) -> int:
    """Return the seed of one prompt's first sample, independent of other requests: 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:4]) >> 1
