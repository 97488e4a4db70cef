"""What prompts must mention, for the method ``prompt_hint`` of verifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Hint", "place_hint"]

Hint = Mapping[str, Sequence[str]]
"""What a prompt must mention, with the texts of which it must have one."""

_PLACES: Mapping[str, Hint] = {
    "boxed": {"\\boxed{}": ["boxed"]},
    "answer": {"<answer>": ["<answer>"]},
    "hashes": {"####": ["####"]},
    "line": {
        'a line "Answer:"': [
            *("answer:", "answer is", "antwort", "réponse", "respuesta", "resposta", "risposta", "antwoord"),
            *("ответ", "الإجابة", "الجواب", "उत्तर", "答", "正解", "정답", "답"),
        ]
    },
}


def place_hint(place: str) -> Hint:
    """Return what a prompt must mention for an answer in a place of ``extraction``; nothing for ``auto``, ``whole``."""
    return _PLACES.get(place, {})
