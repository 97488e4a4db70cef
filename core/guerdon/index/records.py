"""Read one line of ``rollouts.jsonl`` for the index."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guerdon.data.json_values import parse_object
from guerdon.text import self_corrections
from guerdon.types import Failure, Outcome, completion_text

OUTCOMES = (Outcome.SCORED.value, Outcome.SKIPPED.value, *(f"failed: {failure.value}" for failure in Failure))
"""How a verdict can end. An outcome's place is its code in the index."""

SEARCHED = 32_000
"""The most characters of a text that a search looks at."""

TASK_COLUMNS = ("task", "data_source", "source", "dataset")
"""The columns of a data row that name its task; the first that is there counts."""

_SCORED_STEP = 1
"""The step of a row that was scored outside of a run."""

_SPACELESS = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])"
)
"""Letters of scripts without spaces between words. Each is searched as a word."""


@dataclass(frozen=True, slots=True)
class EntryVerdict:
    """One entry's verdict, as the index keeps it."""

    value: float | None
    outcome: int
    """A place in ``OUTCOMES``."""
    latency_ms: float


@dataclass(frozen=True, slots=True)
class IndexedRollout:
    """One rollout, as the index keeps it."""

    step: int
    group: int | None
    model: str | None
    task: str | None
    digest: bytes
    """Of the prompt: equal prompts of different runs have equal digests."""
    completion: int
    """The digest of the completion, as a signed number of 8 bytes."""
    prompt: str
    text: str
    """All turns of the completion."""
    reward: float | None
    advantage: float | None
    length: int
    self_corrections: int
    verdicts: Mapping[str, EntryVerdict]


def read_line(line: bytes) -> IndexedRollout | None:
    """Return the rollout on a line, or ``None`` if the line holds none."""
    record = parse_object(line)
    if record is None:
        return None
    try:
        return _rollout(record)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def searchable(text: str) -> str:
    """Return a text as the full-text search takes it."""
    text = text[:SEARCHED]
    if text.isascii():
        return text
    return _SPACELESS.sub(r" \1 ", text).encode("utf-8", "replace").decode("utf-8")


def prompt_text(prompt: Any) -> str:
    """Return a prompt as text: of a conversation, the turns with their text."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(_strings(prompt))


def _rollout(record: Mapping[str, Any]) -> IndexedRollout:
    columns = record.get("columns")
    columns = columns if isinstance(columns, dict) else record
    task = next((columns[name] for name in TASK_COLUMNS if isinstance(columns.get(name), str)), None)
    completion = record.get("completion", "")
    written = completion_text(completion)
    scores = record.get("scores")
    return IndexedRollout(
        step=_integer(record["step"] if "step" in record or "scores" not in record else _SCORED_STEP),
        group=None if record.get("group") is None else _integer(record["group"]),
        model=None if record.get("model") is None else str(record["model"]),
        task=task,
        digest=_digest(record.get("prompt", ""), 10),
        completion=int.from_bytes(_digest(completion, 8), "big", signed=True),
        prompt=prompt_text(record.get("prompt", "")),
        text=written if isinstance(completion, str) else "\n".join(_strings(completion)),
        reward=_number(record.get("reward")),
        advantage=_number(record.get("advantage")),
        length=_integer(record.get("completion_tokens") or 0),
        self_corrections=self_corrections(written),
        verdicts={name: _verdict(said) for name, said in (scores or {}).items()},
    )


def _digest(value: Any, size: int) -> bytes:
    """Return a digest by which equal prompts or completions are found."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _strings(turns: Any) -> Iterator[str]:
    """Yield the texts in a conversation: contents, reasoning, and the arguments of tool calls."""
    if isinstance(turns, str):
        yield turns
    elif isinstance(turns, Mapping):
        for key, value in turns.items():
            if key not in ("role", "type", "id", "tool_call_id"):
                yield from _strings(value)
    elif isinstance(turns, list | tuple):
        for turn in turns:
            yield from _strings(turn)


def _verdict(said: Mapping[str, Any]) -> EntryVerdict:
    outcome = said.get("outcome", Outcome.SCORED.value)
    name = f"failed: {said.get('failure')}" if outcome == Outcome.FAILED else outcome
    return EntryVerdict(
        _number(said.get("value")), OUTCOMES.index(name), _number(said.get("latency_ms")) or 0.0
    )


def _number(value: Any) -> float | None:
    """Return a finite number, or ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int:
    """Return an integer that SQLite can keep.

    Raises:
        ValueError: It is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**62:
        raise ValueError(f"{value!r:.40} is not a count")
    return value
