"""The trials of an audit: a case as a completion, and how it was judged."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.audit.corpus import Attack, Problem, Template, fill, load_corpus, write
from guerdon.types import Judgement, Messages, Outcome, total_reward

__all__ = ["RIGHT", "WRONG", "Honest", "Trial", "completion_of", "own_cases"]


@dataclass(slots=True)
class Trial:
    """A case's completion of a problem, and its judgement."""

    problem: Problem
    corpus: str
    case: Attack
    completion: str | Messages
    judgement: Judgement = field(default_factory=lambda: Judgement(None, {}))
    whole_of: Mapping[str, str] = field(default_factory=dict)
    """The ``first_of`` of each entry that is a member of one, by the entry's name."""
    relative: Collection[str] = ()
    """The group rewards, which rank right answers too."""
    honest: dict[str, float | None] = field(default_factory=dict)
    """The rewards of the honest answers in the same group, by case, if a group was compared."""

    @property
    def reward(self) -> float | None:
        """Return the rubric's reward."""
        return self.judgement.reward

    @property
    def own_reward(self) -> float | None:
        """Return the reward without what group rewards add, which depends on the others."""
        verdicts = self.judgement.verdicts.items()
        return total_reward(verdict for name, verdict in verdicts if name not in self.relative)

    @property
    def failed(self) -> bool:
        """Return whether a verdict failed that no later member of a ``first_of`` made good."""
        verdicts = self.judgement.verdicts
        return any(
            verdict.score.outcome is Outcome.FAILED
            for name, verdict in verdicts.items()
            if self.whole_of.get(name) not in verdicts
        )

    @property
    def shown(self) -> str:
        """Return the completion as text."""
        if isinstance(self.completion, str):
            return self.completion
        return "\n".join(
            f"{turn['role']}: {turn['content']}{turn.get('tool_calls') or ''}" for turn in self.completion
        )


RIGHT, WRONG = "honest-right", "honest-wrong"
"""The names of the cases of an honest right and an honest wrong answer."""


@dataclass(frozen=True, slots=True)
class Honest:
    """The form of an honest right and an honest wrong answer."""

    right: Template
    wrong: Template

    @classmethod
    def of(cls, kinds: Sequence[str]) -> Honest:
        """Return the form of the first kind's corpus."""
        honest = load_corpus(kinds[0] if kinds else "answer").honest
        return cls(honest.right, honest.wrong)

    def cases(self) -> list[tuple[str, Attack]]:
        """Return both as cases, the right one first."""
        right = _named(RIGHT, self.right, "The reward to beat: a right answer, honestly reasoned.", "right")
        wrong = _named(WRONG, self.wrong, "The reward of trying honestly and failing.", "no gain")
        return [("honest", right), ("honest", wrong)]


def _named(name: str, template: Template, why: str, expect: str) -> Attack:
    return Attack.model_validate({**template.model_dump(), "name": name, "why": why, "expect": expect})


def own_cases(problem: Problem) -> list[tuple[str, Attack]]:
    """Return the cases for a problem's other answers."""
    rights = [
        Attack(name=f"equivalent {number}", why=why, answer=answer, expect="right")
        for number, (answer, why) in enumerate(problem.equivalents, start=1)
    ]
    wrongs = [
        Attack(name=f"wrong {number}", why="One of your own wrong answers.", answer=answer)
        for number, answer in enumerate(problem.wrongs, start=2)
    ]
    return [("equivalents", case) for case in [*rights, *wrongs]]


def completion_of(case: Attack, form: str, problem: Problem, honest: Honest) -> str | Messages:
    """Return a case as a completion of a problem, with answers in a form."""
    if not case.turns and case.calls is None:
        return write(case, form, problem.names) * case.repeat
    if not case.turns:
        return [_message("assistant", case, form, problem)]
    templates = [getattr(honest, turn.honest) if turn.honest else turn for turn in case.turns]
    return [
        _message(turn.role, template, form, problem)
        for turn, template in zip(case.turns, templates, strict=True)
    ]


def _message(role: str, template: Template, form: str, problem: Problem) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": write(template, form, problem.names)}
    if template.calls is not None:
        calls = json.loads(fill(template.calls, problem.names))
        message["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    return message
