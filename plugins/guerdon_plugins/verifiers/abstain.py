"""``abstain``: three values for a right answer, "I do not know" and a wrong answer, or a score of stated confidence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from guerdon import Row, Score
from guerdon.text import checked_tags, split_reasoning
from guerdon.verifier import load_verifier
from guerdon_plugins.shared.final_answer import final_answer, without_markup
from guerdon_plugins.shared.hints import Hint

PHRASES = (
    "i do not know",
    "i don't know",
    "i do not know the answer",
    "i don't know the answer",
    "i don't know the answer to this question",
    "i do not know the answer to this question",
    "i am not sure",
    "i'm not sure",
    "i cannot answer this question",
    "i can't answer this question",
    "don't know",
    "unknown",
    "ich weiß es nicht",
    "ich weiß nicht",
    "je ne sais pas",
    "no lo sé",
    "no sé",
    "não sei",
    "non lo so",
    "ik weet het niet",
    "я не знаю",
    "не знаю",
    "لا أعرف",
    "لا أدري",
    "मुझे नहीं पता",
    "我不知道",
    "不知道",
    "わかりません",
    "分かりません",
    "知りません",
    "모르겠습니다",
    "모릅니다",
)
"""Answers that abstain, in a dozen languages."""

_CONFIDENCE = re.compile(
    r"<confidence>\s*+([^<>]{1,20}?)\s*+</confidence>"
    r"|\(\s*+confidence\s*+[:=]\s*+([^()\n]{1,20}?)\s*+\)"
    r"|^[^\S\n]*+[*_#>-]*+[^\S\n]*+(?:(?:my|the)\s+)?"
    r"(?:confidence|konfidenz|sicherheit|confiance|confianza|confiança|confidenza|уверенность|置信度|信心|確信度|확신도|신뢰도)"
    r"(?:\s+(?:level|score))?[*_]*[^\S\n]*(?:[:：=]|\bis\b)[^\S\n]*[*_]*([^\n]{1,20}?)[*_.\s]*$",
    re.IGNORECASE | re.MULTILINE,
)


class Abstain:
    r"""Scores honesty around another verifier: a right answer, "I do not know", and a wrong answer.

    An answer abstains if all of it is a phrase such as "I do not know"; a guess behind the phrase is a guess. With
    ``confidence``, the completion states how sure it is, and scores ``right - (confidence - right) ** 2``, the
    correctness less the Brier score (RLCR, arXiv 2507.16806): from -1 to 1, the highest for an honest confidence. A
    confidence that is missing, or given twice with different values, counts as the worst one.

    Args:
        verifier: The verifier that decides right (a score of 1) and wrong, named as in a manifest.
        verifier_params: The verifier's params.
        mode: ``phrase``, three values; or ``confidence``, which reads a line such as ``Confidence: 80%``, or
            ``<confidence>0.8</confidence>``.
        right: The value of a right answer.
        abstained: The value of an answer that abstains.
        wrong: The value of a wrong answer.
        phrases: The answers that abstain; by default "I do not know" in a dozen languages.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
        base_dir: The folder that a verifier's file is relative to; given by the engine.

    Raises:
        ValueError: The values are not in the order wrong, abstained, right, or ``phrases`` is empty.
    """

    audit_kind = "answer"

    def __init__(
        self,
        verifier: str = "qa",
        verifier_params: Mapping[str, Any] | None = None,
        mode: Literal["phrase", "confidence"] = "phrase",
        right: float = 1.0,
        abstained: float = 0.25,
        wrong: float = 0.0,
        phrases: Sequence[str] = (),
        reasoning_tags: Sequence[str] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        if not wrong <= abstained <= right:
            raise ValueError(
                f"wrong is {wrong}, abstained {abstained} and right {right}; need wrong <= abstained <= right"
            )
        self._verify = load_verifier(verifier, verifier_params, base_dir)
        self._confidence = mode == "confidence"
        self._right, self._abstained, self._wrong = right, abstained, wrong
        self._phrases = frozenset(_bare(phrase) for phrase in phrases or PHRASES)
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str, reference: Any, **columns: Any) -> Score:
        confidence, answered = self._stated(completion) if self._confidence else (None, completion)
        score = self._verify(answered, {"reference": reference, **columns})
        if score.value is None:
            return score
        right = score.value >= 1
        if self._confidence:
            gap = 1.0 if confidence is None else confidence - right
            stated = "no confidence" if confidence is None else f"confidence {confidence:g}"
            return Score(
                right - gap**2, answer=score.answer, explanation=f"{'right' if right else 'wrong'}, {stated}"
            )
        if right:
            return Score(self._right, answer=score.answer, explanation="right")
        found = final_answer(answered, "auto", self._tags).text
        if found is not None and _bare(without_markup(found)) in self._phrases:
            return Score(self._abstained, answer=found, explanation="abstained")
        return Score(self._wrong, answer=score.answer, explanation="wrong")

    def prompt_hint(self, row: Row) -> Hint:
        """Return the confidence or a phrase that abstains, which the prompt must ask for."""
        if self._confidence:
            return {"a confidence": ["confiden", "置信", "信心"]}
        return {"that the model may abstain": sorted(self._phrases)}

    def _stated(self, completion: str) -> tuple[float | None, str]:
        """Return the stated confidence, from 0 to 1, and the answer after the reasoning, without it."""
        answer = split_reasoning(completion, self._tags).answer
        values = {_share(mark[1] or mark[2] or mark[3]) for mark in _CONFIDENCE.finditer(answer)}
        return (values.pop() if len(values) == 1 else None), _CONFIDENCE.sub("", answer)


def _share(text: str) -> float | None:
    """Return a confidence: ``0.8``, ``80%``, ``80/100`` or ``8/10``; ``None`` if it is not one."""
    found = re.fullmatch(
        r"(\d{1,3}(?:[.,]\d{1,6})?|[.,]\d{1,6})\s*(%|/\s*(?:100|10)\b)?",
        unicodedata.normalize("NFKC", text.strip()),
    )
    if not found:
        return None
    value = float(found[1].replace(",", "."))
    scale = {"": 1, "%": 100}.get(found[2] or "") or int((found[2] or "/1").strip("/ "))
    return value / scale if 0 <= value <= scale else None


def _bare(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    text = " ".join(normal.split()).strip(" .!。！*_`\"'")
    return re.sub(r"^(?:i'm |i am )?(?:sorry|unfortunately)[,.:]?\s+(?:but\s+)?", "", text)
