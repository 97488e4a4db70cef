"""The verifier's modes: what each asks the judge about one reply, and what the answers are worth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, Protocol

from guerdon import Failure, Messages, Score
from guerdon_plugins.verifiers.judge.answers import CriteriaForm, Form
from guerdon_plugins.verifiers.judge.asking import AnswerForm, together
from guerdon_plugins.verifiers.judge.criteria import (
    Criterion,
    check_names,
    kept,
    row_criteria,
    signed_parts,
    total,
    voted,
)
from guerdon_plugins.verifiers.judge.questions import (
    Chat,
    comparison,
    grading,
    numbered,
    prompt_text,
    system_message,
)

Vote = Literal["mean", "majority"]

Ask = Callable[[Chat, AnswerForm], Coroutine[Any, Any, dict[str, Any]]]
"""Asks the judge and returns its verdict."""

_WINS: Mapping[str, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}


@dataclass(frozen=True, slots=True)
class Case:
    """A reply to judge."""

    prompt: str | Messages
    reply: str
    other: str | None
    """The text that the column ``reference`` names."""
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Votes:
    """How often each question is asked, and what its answers are worth together."""

    repeats: int
    vote: Vote

    async def values(self, ask: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
        """Return the verdicts of all repeats."""
        return await together(ask() for _ in range(self.repeats))

    def value(self, values: Sequence[float]) -> float:
        """Return what several values are worth together."""
        return voted(values, self.vote)


class Mode(Protocol):
    """One way to judge a reply."""

    def score(self, case: Case, ask: Ask) -> Awaitable[Score]:
        """Return the reply's score."""
        ...


@dataclass(frozen=True, slots=True)
class Pointwise:
    """The judge grades the reply."""

    opening: Chat
    form: Form
    votes: Votes

    @staticmethod
    def question(case: Case) -> dict[str, str]:
        """Return the question about a reply."""
        return grading(case.prompt, case.reply, case.other)

    async def score(self, case: Case, ask: Ask) -> Score:
        """Return the grade's place on the scale."""
        chat = [*self.opening, self.question(case)]
        verdicts = await self.votes.values(lambda: ask(chat, self.form))
        low, high = int(self.form.choices[0]), int(self.form.choices[-1])
        values = [(verdict["score"] - low) / (high - low) for verdict in verdicts]
        return Score(
            self.votes.value(values),
            explanation=" / ".join(map(shown, verdicts)),
            metadata={"verdicts": verdicts},
        )


@dataclass(frozen=True, slots=True)
class Pairwise:
    """The judge says which of two replies is better."""

    opening: Chat
    form: Form
    votes: Votes
    swap: bool

    @staticmethod
    def question(case: Case) -> dict[str, str]:
        """Return the question about a reply and the other one."""
        assert case.other is not None
        return comparison(case.prompt, case.reply, case.other)

    async def score(self, case: Case, ask: Ask) -> Score:
        """Return 1 for a reply that wins, 0.5 for a tie; of both orders the mean."""
        assert case.other is not None
        pairs = [(case.reply, case.other), (case.other, case.reply)][: 1 + self.swap]
        chats = [[*self.opening, comparison(case.prompt, *pair)] for pair in pairs]
        verdicts = await together(ask(chat, self.form) for chat in chats * self.votes.repeats)
        points = [_WINS[verdict["winner"]] for verdict in verdicts]
        if self.swap:
            points[1::2] = [1 - point for point in points[1::2]]
        values = [fmean(points[start : start + len(pairs)]) for start in range(0, len(points), len(pairs))]
        return Score(
            self.votes.value(values),
            explanation=" / ".join(map(shown, verdicts)),
            metadata={"verdicts": verdicts},
        )


@dataclass(frozen=True, slots=True)
class ByCriteria:
    """The judge decides on each of several criteria."""

    criteria: Sequence[Criterion]
    """Those of the manifest."""
    column: str | None
    """The column with a row's own."""
    texts: Mapping[str, str]
    """What the judge writes before each decision, by key."""
    per_call: int | None
    votes: Votes
    dropout: float
    seed: int

    async def score(self, case: Case, ask: Ask) -> Score:
        """Return the weighted share of the criteria's points."""
        try:
            every = self._all(case.columns)
        except ValueError as error:
            problem = str(error).rstrip(".")
            return Score.failed(
                Failure.REFERENCE, f"the row's column '{self.column}' has no criteria: {problem}"
            )
        criteria = kept(every, self.dropout, self.seed, prompt_text(case.prompt))
        size = self.per_call or len(criteria)
        calls = [criteria[start : start + size] for start in range(0, len(criteria), size)]
        question = grading(case.prompt, case.reply, case.other)
        answers = await together(
            self.votes.values(lambda part=part: self._ask(part, question, ask))  # type: ignore[misc]
            for part in calls
        )
        # Of each criterion, the verdicts of all repeats.
        verdicts = [
            [answer[str(number)] for answer in repeats]
            for part, repeats in zip(calls, answers, strict=True)
            for number in range(1, len(part) + 1)
        ]
        points = [
            self.votes.value([criterion.choices[verdict["choice"]] for verdict in of_one])
            for criterion, of_one in zip(criteria, verdicts, strict=True)
        ]
        return Score(
            total(criteria, points),
            explanation="; ".join(map(_explained, criteria, points, verdicts)),
            metadata={
                "criteria": [
                    {"text": criterion.text, "weight": criterion.weight, "points": point, "verdicts": of_one}
                    for criterion, point, of_one in zip(criteria, points, verdicts, strict=True)
                ]
            },
            parts=signed_parts(criteria, points),
        )

    def _all(self, columns: Mapping[str, Any]) -> list[Criterion]:
        """Return the manifest's criteria, then the row's.

        Raises:
            ValueError: The row's cannot be read, or there are none at all.
        """
        if self.column is None:
            return list(self.criteria)
        if columns.get(self.column) is None:
            raise ValueError(f"the row has {', '.join(columns) or 'no columns'}")
        found = [*self.criteria, *row_criteria(columns[self.column])]
        if not found:
            raise ValueError("the list is empty")
        check_names(found)
        return found

    def _ask(
        self, criteria: Sequence[Criterion], question: dict[str, str], ask: Ask
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        form = CriteriaForm([Form(self.texts, "choice", tuple(criterion.choices)) for criterion in criteria])
        return ask([system_message(numbered(criteria), "criteria", form.in_words()), question], form)


def shown(verdict: Mapping[str, Any]) -> str:
    """Return a verdict as text."""
    return ", ".join(f"{key}: {value}" for key, value in verdict.items())


def _explained(criterion: Criterion, point: float, verdicts: Sequence[Mapping[str, Any]]) -> str:
    name = criterion.name or criterion.text[:60]
    return f"{name}: {point:g} ({' / '.join(map(shown, verdicts))})"
