"""The judge: asks, reads, retries, and reports failures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from guerdon import Failure, Messages, Score, completion_text
from guerdon.errors import GuerdonError
from guerdon.text import Part, checked_tags, select_part
from guerdon.types import message_text, total_usage
from guerdon_plugins.shared.reading import read
from guerdon_plugins.verifiers.judge.answers import Form
from guerdon_plugins.verifiers.judge.asking import AnswerForm, Asker, NoVerdictError, Spent, failed
from guerdon_plugins.verifiers.judge.criteria import manifest_criteria
from guerdon_plugins.verifiers.judge.modes import ByCriteria, Case, Mode, Pairwise, Pointwise, Vote, Votes
from guerdon_plugins.verifiers.judge.questions import Chat, system_message

_WORDS = "A good reply is correct, helpful and clear."

_AUDIT_KINDS = {"pointwise": "judge", "pairwise": "judge_pairs", "criteria": "judge_criteria"}


class Judge:
    """A language model behind an OpenAI-compatible endpoint that grades a completion, or compares two.

    ``pointwise``, the value is the grade's place on the scale, from 0 to 1. ``pairwise``, the completion is compared
    with another reply: 1 if it wins, 0.5 for a tie, 0 if it loses. Both orders are asked, because judges favor a
    position, and the value is the mean. ``criteria``, the judge decides on each criterion; the value is the weighted
    sum of the points over the sum of the positive weights, within 0 and 1.

    Judged texts are marked as data in the question. The request includes the answer's JSON Schema if the server
    supports it. After an invalid answer, the question is asked again with the problem. The score's ``usage`` counts
    requests, tokens and cost.

    Args:
        endpoint: The judge's endpoint: ``base_url``, ``model``, ``api_key_env`` (the environment variable with the
            key), ``concurrency``, ``max_retries``, ``timeout_s``, ``requests_per_minute``, ``tokens_per_minute``, and
            ``price``, of a million tokens: ``{input: 0.15, output: 0.6}``.
        criteria: What makes a reply good, in words for the judge. With the mode ``criteria`` a list: each is a text, or
            has ``text``, ``weight`` (1; below 0 for a fault), ``choices`` (with points from 0 to 1; by default
            ``{"no": 0, "yes": 1}``) and ``name``.
        mode: ``pointwise``, ``pairwise`` or ``criteria``.
        reference: The column with the text to compare with: ``pairwise``, the other reply, by default ``reference``;
            otherwise what a good reply says, by default not shown.
        part: The part to judge: ``reasoning``, ``answer`` or ``whole``.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
        scale: The lowest and the highest grade.
        fields: The texts that the judge writes before each decision, by key; ``{}`` for none.
        examples: Questions with their right verdicts, which calibrate a judge and show a small one the form of its
            answer. Each has ``prompt``, ``completion``, the column that ``reference`` names, and ``verdict``, the whole
            answer. Not with the mode ``criteria``.
        swap: Whether pairs are asked in both orders.
        criteria_column: The column with a row's own criteria, which come after those of the manifest.
        criteria_per_call: The most criteria of one question; by default all.
        dropout: The probability that a criterion does not count for a prompt.
        seed: Chooses the criteria that do not count.
        repeats: How often each question is asked.
        vote: The value of repeated answers: their ``mean``, or the most frequent one (``majority``).
        tries: The most attempts to get a valid answer.
        sampling: Options of the request, by OpenAI's names. By default the temperature is 0, or 1 with ``repeats``.

    Raises:
        ValueError: A param is out of range, or does not belong to the mode.
    """

    audit_kind = "judge"
    """The corpus of attacks; each mode has its own."""
    timeout_s = 600.0
    """The deadline of one verdict, without the wait for a free request."""

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        criteria: str | Sequence[str | Mapping[str, Any]] | None = None,
        mode: Literal["pointwise", "pairwise", "criteria"] = "pointwise",
        reference: str | None = None,
        part: Part = "whole",
        reasoning_tags: Sequence[str] | None = None,
        scale: tuple[int, int] = (1, 10),
        fields: Mapping[str, str] | None = None,
        examples: Sequence[Mapping[str, Any]] = (),
        swap: bool = True,
        criteria_column: str | None = None,
        criteria_per_call: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
        repeats: int = 1,
        vote: Vote = "mean",
        tries: int = 3,
        sampling: Mapping[str, Any] | None = None,
    ) -> None:
        low, high = scale
        if low >= high:
            raise ValueError(f"scale is {low} to {high}; the first must be below the second")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; give 0 or more, and less than 1")
        if criteria_per_call is not None and criteria_per_call < 1:
            raise ValueError(
                f"criteria_per_call is {criteria_per_call}; give 1 or more, or leave it out for all"
            )
        _check_repeats(repeats, sampling)
        only_criteria = {
            "criteria_column": criteria_column,
            "criteria_per_call": criteria_per_call,
            "dropout": dropout or None,
        }
        _check_mode(mode, criteria, examples, only_criteria)
        self.audit_kind = _AUDIT_KINDS[mode]
        self._asker = Asker(endpoint, tries, sampling, 0.0 if repeats == 1 else 1.0)
        self._reference = reference or ("reference" if mode == "pairwise" else None)
        self._part = part
        self._tags = checked_tags(reasoning_tags)
        votes = Votes(repeats, vote)
        texts = {"reasoning": "why, in one to three sentences"} if fields is None else fields
        words = criteria if isinstance(criteria, str) else _WORDS
        if mode == "criteria":
            given = manifest_criteria(() if criteria is None else criteria)
            _form(texts, "choice", ("no", "yes"))
            self._mode: Mode = ByCriteria(
                given, criteria_column, texts, criteria_per_call, votes, dropout, seed
            )
        elif mode == "pairwise":
            form = _form(texts, "winner", ("A", "tie", "B"))
            self._mode = Pairwise(self._opening(words, mode, form, examples), form, votes, swap)
        else:
            form = _form(texts, "score", range(low, high + 1))
            self._mode = Pointwise(self._opening(words, mode, form, examples), form, votes)

    async def preflight(self) -> None:
        """Raise if the endpoint does not respond, or refuses the model, the key or the options."""
        await self._asker.preflight()

    async def __call__(self, completion: str, prompt: str | Messages, **columns: Any) -> Score:
        other = self._other(columns)
        if other is None and self._reference is not None:
            return Score.failed(Failure.REFERENCE, f"the row has no text '{self._reference}' to compare with")
        reply = await read(select_part, completion, self._part, self._tags)
        case = Case(prompt, reply, other, columns)
        spent: Spent = []

        async def ask(chat: Chat, form: AnswerForm) -> dict[str, Any]:
            return await self._asker.ask(chat, form, spent)

        try:
            score = await self._mode.score(case, ask)
        except NoVerdictError as error:
            return failed(error, spent)
        except GuerdonError as error:
            if not spent:
                raise
            return failed(error, spent)
        return replace(score, usage=total_usage(spent))

    async def aclose(self) -> None:
        """Close the connections; another call opens new ones."""
        await self._asker.close()

    def _other(self, columns: Mapping[str, Any]) -> str | None:
        """Return the text to compare with."""
        value = columns.get(self._reference) if self._reference is not None else None
        if value is None:
            return None
        text = message_text(value) if isinstance(value, str | list | tuple) else str(value)
        return text if text.strip() else None

    def _opening(self, words: str, mode: str, form: Form, examples: Sequence[Mapping[str, Any]]) -> Chat:
        """Return the conversation before a question: the judge's role, and the examples."""
        opening = [system_message(words, mode, form.in_words())]
        for number, example in enumerate(examples):
            opening += self._example(number, example, mode, form)
        return opening

    def _example(self, number: int, example: Mapping[str, Any], mode: str, form: Form) -> Chat:
        other = self._other(example)
        try:
            prompt, reply = example["prompt"], completion_text(example["completion"])
            verdict = form.check(example["verdict"])
            if other is None and self._reference is not None:
                raise KeyError(self._reference)
        except KeyError as error:
            raise ValueError(f"example {number} has no {error}, only {', '.join(example)}") from None
        except ValueError as error:
            raise ValueError(f"the verdict of example {number} cannot be one: {error}") from None
        case = Case(prompt, reply, other, example)
        question = Pairwise.question(case) if mode == "pairwise" else Pointwise.question(case)
        return [question, {"role": "assistant", "content": json.dumps(verdict, ensure_ascii=False)}]


def _form(texts: Mapping[str, str], decision: str, choices: Sequence[int] | Sequence[str]) -> Form:
    if decision in texts:
        raise ValueError(f"fields has '{decision}', which is the key of the judge's decision")
    return Form(texts, decision, choices)


def _check_repeats(repeats: int, sampling: Mapping[str, Any] | None) -> None:
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; it must be at least 1")
    if repeats > 1 and sampling is not None and sampling.get("temperature") == 0:
        raise ValueError(
            f"repeats is {repeats}, and the temperature in sampling is 0, so all answers would be the same. Raise it, "
            "or leave repeats out"
        )


def _check_mode(
    mode: str, criteria: object, examples: Sequence[object], only_criteria: Mapping[str, object]
) -> None:
    """Raise if a param does not belong to the mode.

    Raises:
        ValueError: One does not.
    """
    if mode != "criteria":
        if criteria is not None and not isinstance(criteria, str):
            raise ValueError(f"criteria is a list, and mode is {mode}. Set mode to criteria, or give a text")
        if other := next((name for name, value in only_criteria.items() if value is not None), None):
            raise ValueError(f"{other} is for the mode criteria, and mode is {mode}")
        return
    if isinstance(criteria, str):
        raise ValueError(
            "criteria is a text, and mode is criteria. Give a list, each with its text and weight"
        )
    if not criteria and only_criteria["criteria_column"] is None:
        raise ValueError(
            "mode is criteria, and there are none. Give a list as criteria, or name a criteria_column"
        )
    if examples:
        raise ValueError(
            "examples are for the modes pointwise and pairwise. Write what decides into the criteria"
        )
