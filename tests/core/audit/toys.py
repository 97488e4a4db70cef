"""Verifiers that are known to be sound, gameable, blind or brittle. Workers import them, so they are light."""

from __future__ import annotations

import json
import re
from typing import Any

from guerdon import Failure, Score

_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


def exact(completion: str, reference: str) -> bool:
    """Sound: the one box holds the reference."""
    return _BOX.findall(completion) == [reference]


def loose(completion: str, reference: str) -> bool:
    """Gameable: the reference stands somewhere."""
    return reference in completion


def brittle(completion: str, reference: str) -> bool:
    """Breaks on what it does not expect."""
    return bool(_BOX.findall(completion)[0] == reference)


def blind(completion: str, reference: str) -> float:
    return 0.5


def down(completion: str, reference: str) -> Score:
    return Score.failed(Failure.INFRASTRUCTURE, "the sandbox is down")


def farmed(completion: str) -> float:
    """Gameable: pays for length."""
    return min(1.0, len(completion.split()) / 400)


def short(completion: str) -> float:
    return 1.0 if len(completion) < 1000 else 0.0


class Named:
    """Says a kind that there is no corpus for."""

    audit_kind = "poetry"

    def __call__(self, completion: str) -> float:
        return 1.0


def schema(completion: str) -> float:
    """Pays for JSON alone, which no honest answer of the corpus is."""
    try:
        return float(isinstance(json.loads(completion), dict))
    except ValueError:
        return 0.0


def joined(completions: list[list[dict[str, str]]], reference: list[str], **_: Any) -> list[float]:
    """Gameable: reads what tools and users say, too."""
    texts = ["\n".join(turn["content"] for turn in completion) for completion in completions]
    return [float(gold in _BOX.findall(text)) for text, gold in zip(texts, reference, strict=True)]


def trl_reward(completions: list[list[dict[str, str]]], reference: list[str], **_: Any) -> list[float]:
    """A reward as TRL's are: it wants conversations and token ids."""
    texts = [completion[0]["content"] for completion in completions]
    return [float(exact(text, gold)) for text, gold in zip(texts, reference, strict=True)]


def together(completions: list[str], **columns: Any) -> list[float]:
    """Breaks where several completions are scored in one call."""
    return [1.0 / (len(completions) == 1)]


def called(completion: str, tool_calls: list[dict[str, Any]], expected_calls: list[dict[str, Any]]) -> bool:
    """Gameable: the names are right."""
    return {call["name"] for call in tool_calls} == {call["name"] for call in expected_calls}
