"""The judge: asks, reads, retries, and reports failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from guerdon import Failure, Messages, Score, completion_text
from guerdon.text import Part, checked_tags, select_part
from guerdon.types import message_text
from guerdon_plugins.verifiers.judge.answers import Form
from guerdon_plugins.verifiers.judge.asking import Asker, NoVerdictError
from guerdon_plugins.verifiers.judge.questions import Chat, comparison, grading, system_message

_POINTS: Mapping[str, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}


class Judge:
    """A language model behind an OpenAI-compatible endpoint that grades a completion, or compares two.

    ``pointwise``, the value is the grade's place on the scale, from 0 to 1. ``pairwise``, the completion is compared
    with another reply: 1 if it wins, 0.5 for a tie, 0 if it loses; Both orders are asked, because judges favor a
    position, and the value is the mean. Judged texts are marked as data in the question. The request includes the
    answer's JSON Schema if the server supports it. After an invalid answer, the question is asked again with the
    problem.

    Args:
        endpoint: The judge's endpoint: ``base_url``, ``model``, ``api_key_env`` (the environment variable with the
            key),
            ``concurrency``, ``max_retries``, ``timeout_s``.
        criteria: What makes a reply good, in words for the judge.
        mode: ``pointwise`` or ``pairwise``.
        reference: The column with the text to compare with: ``pointwise``, what a good reply says, by default not
            shown; ``pairwise``, the other reply, by default ``reference``.
        part: The part to judge: ``reasoning``, ``answer`` or ``whole``.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
        scale: The lowest and the highest grade.
        fields: The texts that the judge writes before its decision, by key; ``{}`` for none.
        examples: Questions with their right verdicts, which calibrate a judge and show a small one the form of its
            answer. Each has ``prompt``, ``completion``, the column that ``reference`` names, and ``verdict``, the whole
            answer.
        swap: Whether pairs are asked in both orders.
        tries: The most attempts to get a valid answer.
        sampling: Options of the request, by OpenAI's names.

    Raises:
        ValueError: A param is out of range.
    """

    audit_kind = "judge"
    timeout_s = 600.0
    """The deadline of one verdict, including the wait for a free request."""

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        criteria: str = "A good reply is correct, helpful and clear.",
        mode: Literal["pointwise", "pairwise"] = "pointwise",
        reference: str | None = None,
        part: Part = "whole",
        reasoning_tags: Sequence[str] | None = None,
        scale: tuple[int, int] = (1, 10),
        fields: Mapping[str, str] | None = None,
        examples: Sequence[Mapping[str, Any]] = (),
        swap: bool = True,
        tries: int = 3,
        sampling: Mapping[str, Any] | None = None,
    ) -> None:
        low, high = scale
        if low >= high:
            raise ValueError(f"scale is {low} to {high}; the first must be below the second")
        decision, choices = (
            ("score", range(low, high + 1)) if mode == "pointwise" else ("winner", tuple(_POINTS))
        )
        texts = {"reasoning": "why, in one to three sentences"} if fields is None else fields
        if decision in texts:
            raise ValueError(f"fields has '{decision}', which is the key of the judge's decision")
        self._asker = Asker(endpoint, tries, sampling)
        self._pairwise = mode == "pairwise"
        self._reference = reference or ("reference" if self._pairwise else None)
        self._part = part
        self._tags = checked_tags(reasoning_tags)
        self._scale = scale
        self._form = Form(texts, decision, choices)
        self._opening = [system_message(criteria, mode, self._form.in_words())]
        for number, example in enumerate(examples):
            self._opening += self._example(number, example)
        self._swap = swap

    async def preflight(self) -> None:
        """Raise if the endpoint does not respond, or refuses the model, the key or the options."""
        await self._asker.preflight()

    async def __call__(self, completion: str, prompt: str | Messages, **columns: Any) -> Score:
        reply = select_part(completion, self._part, self._tags)
        other = self._other(columns)
        if other is None and self._reference is not None:
            return Score.failed(Failure.REFERENCE, f"the row has no text '{self._reference}' to compare with")
        try:
            if self._pairwise:
                assert other is not None
                return await self._compare(prompt, reply, other)
            return await self._grade(prompt, reply, other)
        except NoVerdictError as error:
            return Score.failed(Failure.VERIFIER, str(error))

    async def aclose(self) -> None:
        """Close the connections; another call opens new ones."""
        await self._asker.close()

    async def _grade(self, prompt: str | Messages, reply: str, reference: str | None) -> Score:
        verdict = await self._ask(grading(prompt, reply, reference))
        low, high = self._scale
        value = (verdict["score"] - low) / (high - low)
        return Score(value, explanation=_shown(verdict), metadata={"verdicts": [verdict]})

    async def _compare(self, prompt: str | Messages, reply: str, other: str) -> Score:
        orders = [(reply, other), (other, reply)] if self._swap else [(reply, other)]
        verdicts = await asyncio.gather(*(self._ask(comparison(prompt, *order)) for order in orders))
        points = [_POINTS[verdict["winner"]] for verdict in verdicts]
        if self._swap:
            points[1] = 1 - points[1]
        return Score(
            sum(points) / len(points),
            explanation=" / ".join(map(_shown, verdicts)),
            metadata={"verdicts": verdicts},
        )

    def _other(self, columns: Mapping[str, Any]) -> str | None:
        """Return the text to compare with."""
        value = columns.get(self._reference) if self._reference is not None else None
        if value is None:
            return None
        text = message_text(value) if isinstance(value, str | list | tuple) else str(value)
        return text if text.strip() else None

    def _example(self, number: int, example: Mapping[str, Any]) -> Chat:
        other = self._other(example)
        try:
            prompt, reply = example["prompt"], completion_text(example["completion"])
            verdict = self._form.check(example["verdict"])
            if other is None and self._reference is not None:
                raise KeyError(self._reference)
        except KeyError as error:
            raise ValueError(f"example {number} has no {error}, only {', '.join(example)}") from None
        except ValueError as error:
            raise ValueError(f"the verdict of example {number} cannot be one: {error}") from None
        if self._pairwise:
            assert other is not None
            question = comparison(prompt, reply, other)
        else:
            question = grading(prompt, reply, other)
        return [question, {"role": "assistant", "content": json.dumps(verdict, ensure_ascii=False)}]

    async def _ask(self, question: dict[str, str]) -> dict[str, Any]:
        return await self._asker.ask([*self._opening, question], self._form)


def _shown(verdict: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in verdict.items())
