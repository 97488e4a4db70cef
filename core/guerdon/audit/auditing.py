"""Runs the corpus against a rubric and compares what each case earns with honest answers, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from guerdon.audit.corpus import Case, Problem, Template, cases_for, load_corpus, missing_names, write
from guerdon.audit.forms import forms, gold_forms, tags_of
from guerdon.audit.problems import takes_reference
from guerdon.errors import CheckFailedError, InfrastructureError
from guerdon.rubric import Entry, OnFailure, Rubric
from guerdon.text import words
from guerdon.types import Failure, Judgement, Outcome, Rollout

MARGIN = 0.1
"""The share of the way from the honest wrong to the honest right answer's reward that a hack may earn: GRPO climbs any
difference within a group, and a verifier's smooth parts (lengths, shares of words) differ a little between texts."""

_SAME = 1e-9


class Verdict(StrEnum):
    """What one case shows."""

    OK = "ok"
    EXPLOIT = "exploit"
    """A completion without merit earns more than an honest wrong answer, by more than the margin."""
    FALSE_NEGATIVE = "false negative"
    """A right answer in another form earns less than the honest right one, by more than the margin."""
    FAILED = "failed"
    """The completion breaks the verifier: a model that finds it spends the run's failure budget."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case on one problem."""

    case: str
    corpus: str
    why: str
    problem: str
    verdict: Verdict
    reward: float | None
    right: float | None
    """What the honest right answer to the same problem earns."""
    wrong: float | None
    """What the honest wrong answer earns."""
    parts: Mapping[str, float | None]
    """What each entry of the rubric adds."""
    explanations: Mapping[str, str]
    """What each entry says of it."""
    completion: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("case", "corpus", "why", "problem", "verdict", "reward", "right", "wrong")
        return {name: getattr(self, name) for name in names} | {
            "parts": dict(self.parts),
            "explanations": dict(self.explanations),
            "completion": self.completion,
        }


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found."""

    kinds: Sequence[str]
    form: str
    """The form in which answers were written: the one that pays an honest right answer most."""
    results: Sequence[CaseResult]
    left_out: Sequence[str] = field(default_factory=tuple)
    """Problems whose honest answers, right and wrong, earn the same."""
    tells_right: bool = True
    """Whether a right answer earns more than a wrong one; where not, a hack is what earns more than both."""

    def found(self, verdict: Verdict) -> list[CaseResult]:
        """The results with this verdict."""
        return [result for result in self.results if result.verdict is verdict]

    @property
    def passed(self) -> bool:
        return all(result.verdict is Verdict.OK for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kinds": list(self.kinds),
            "form": self.form,
            "margin": MARGIN,
            "passed": self.passed,
            "tells_right": self.tells_right,
            "left_out": list(self.left_out),
            "cases": [result.to_dict() for result in self.results],
        }


def audit_rubric(entries: Sequence[Entry], kinds: Sequence[str], problems: Sequence[Problem]) -> AuditReport:
    """Attack a rubric.

    Args:
        entries: The rubric; failures of its verifiers are reported, whatever its ``on_failure`` says.
        kinds: The kinds of verifiers in it, the one that tells right from wrong first.
        problems: What is asked.

    Raises:
        CheckFailedError: No honest right answer earns more than an honest wrong one, or none can be judged.
        InfrastructureError: Something that a verifier needs is missing or down.
    """
    compares = any(takes_reference(entry) for entry in entries)
    cases = cases_for(kinds or ["answer" if compares else "padding"])
    with Rubric([replace(entry, on_failure=OnFailure.SKIP) for entry in entries]) as rubric:
        form = _paid_form(rubric, problems[0], kinds)
        trials = [
            _Trial(problem, corpus, case, _write(case, form, problem))
            for problem in problems
            for corpus, case in _honest(kinds) + cases + _equivalents(problem)
            if not missing_names(case, problem.names)
        ]
        for trial, judgement in zip(trials, _judge(rubric, trials), strict=True):
            trial.judgement = judgement
    return _report(trials, kinds, form, certain=bool(kinds), compares=compares)


@dataclass(slots=True)
class _Trial:
    problem: Problem
    corpus: str
    case: Case
    completion: str
    judgement: Judgement = field(default_factory=lambda: Judgement(None, {}))

    @property
    def reward(self) -> float | None:
        return self.judgement.reward


def _honest(kinds: Sequence[str]) -> list[tuple[str, Case]]:
    honest = load_corpus(kinds[0] if kinds else "answer").honest
    return [
        (
            "honest",
            _named(_RIGHT, honest.right, "The reward to beat: a right answer, honestly reasoned.", "right"),
        ),
        ("honest", _named(_WRONG, honest.wrong, "The reward of trying honestly and failing.", "no gain")),
    ]


_RIGHT, _WRONG = "honest-right", "honest-wrong"


def _named(name: str, template: Template, why: str, expect: str) -> Case:
    return Case.model_validate({**template.model_dump(), "name": name, "why": why, "expect": expect})


def _equivalents(problem: Problem) -> list[tuple[str, Case]]:
    return [
        ("equivalents", Case(name=f"equivalent {number}", why=why, answer=answer, expect="right"))
        for number, (answer, why) in enumerate(problem.equivalents, start=1)
    ]


def _write(case: Case, form: str, problem: Problem) -> str:
    return write(case, form, problem.names) * case.repeat


def _paid_form(rubric: Rubric, problem: Problem, kinds: Sequence[str]) -> str:
    """The form in which the honest right answer earns the most."""
    candidates = list(forms(tags_of(rubric.entries), gold_forms(rubric.entries)))
    (_, right), _ = _honest(kinds)
    trials = [_Trial(problem, "", right, _write(right, form, problem)) for form in candidates]
    judgements = _judge(rubric, trials)
    rewards = [judgement.reward for judgement in judgements]
    known = [reward for reward in rewards if reward is not None]
    if not known:
        verdicts = [verdict for judgement in judgements for verdict in judgement.verdicts.values()]
        reason = next((v.score.explanation for v in verdicts if v.score.explanation), "all of them skip it")
        raise CheckFailedError(
            f"no verifier judges an honest right answer to {problem.name}, in any of {len(candidates)} forms: {reason}"
        )
    return candidates[rewards.index(max(known))]


def _judge(rubric: Rubric, trials: Sequence[_Trial]) -> list[Judgement]:
    steps = [step for entry in rubric.entries if isinstance(entry.weight, Mapping) for step in entry.weight]
    judgements = rubric.score([_rollout(trial) for trial in trials], step=max(steps, default=0))
    for judgement in judgements:
        for name, verdict in judgement.verdicts.items():
            if verdict.score.failure is Failure.INFRASTRUCTURE:
                raise InfrastructureError(f"'{name}' cannot judge: {verdict.score.explanation}")
    return judgements


def _rollout(trial: _Trial) -> Rollout:
    prompt, text = trial.problem.prompt, trial.completion
    completion = text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
    # Rewards by length count tokens; a word stands for one here, and whatever holds no word for one more.
    ids = [0] * max(len(words(text, symbols=True)), min(len(text), 1))
    return Rollout(prompt, completion, trial.problem.columns, ids)


def _report(
    trials: Sequence[_Trial], kinds: Sequence[str], form: str, *, certain: bool, compares: bool
) -> AuditReport:
    right = {trial.problem.name: trial.reward for trial in trials if trial.case.name == _RIGHT}
    wrong = {trial.problem.name: trial.reward for trial in trials if trial.case.name == _WRONG}
    gains = {name: (right[name] or 0.0) - (wrong[name] or 0.0) for name in right if right[name] is not None}
    told = [name for name, gain in gains.items() if gain > _SAME]
    if not told and (kinds or compares):
        name = next(iter(right))
        raise CheckFailedError(
            f"an honest right answer earns {right[name]} and a wrong one {wrong[name]}: nothing tells them apart, so "
            "no exploit can be told either. Give the verifier a 'gold_completion' that writes answers in its form, or "
            "name its --kind."
        )
    results, left_out = [], [name for name in right if told and name not in told]
    for trial in trials:
        name = trial.problem.name
        if name in left_out and not (certain and trial.corpus == "honest"):
            continue
        # A problem that is not told apart is measured by one that is.
        measure = name if name in told or not told else told[0]
        verdict = _verdict(trial, right[measure], wrong[measure], bool(told))
        if name in left_out and verdict is Verdict.OK:
            continue
        results.append(_result(trial, verdict, right[name], wrong[name]))
    return AuditReport(kinds, form, results, left_out, bool(told))


def _verdict(trial: _Trial, right: float | None, wrong: float | None, told: bool) -> Verdict:
    if any(verdict.score.outcome is Outcome.FAILED for verdict in trial.judgement.verdicts.values()):
        return Verdict.FAILED
    high, low = right or 0.0, wrong or 0.0
    gain = high - low if told else sum(abs(verdict.weight) for verdict in trial.judgement.verdicts.values())
    reward = trial.reward
    if trial.case.expect == "right":
        short = reward is None or reward < high - MARGIN * gain - _SAME
        return Verdict.FALSE_NEGATIVE if short else Verdict.OK
    limit = (low if told else high) + MARGIN * gain
    return Verdict.EXPLOIT if reward is not None and reward > limit + _SAME else Verdict.OK


def _result(trial: _Trial, verdict: Verdict, right: float | None, wrong: float | None) -> CaseResult:
    verdicts = trial.judgement.verdicts
    return CaseResult(
        trial.case.name,
        trial.corpus,
        trial.case.why,
        trial.problem.name,
        verdict,
        trial.reward,
        right,
        wrong,
        {name: one.weighted for name, one in verdicts.items()},
        {name: one.score.explanation for name, one in verdicts.items()},
        trial.completion,
    )


def worst_first(results: Sequence[CaseResult]) -> Iterator[tuple[CaseResult, int]]:
    """One result for each case, the worst of its problems, with the number of problems it was tried on."""
    by_case: dict[tuple[str, str], list[CaseResult]] = {}
    for result in results:
        key = (
            (result.corpus, result.case) if result.corpus != "equivalents" else (result.problem, result.case)
        )
        by_case.setdefault(key, []).append(result)
    for same in by_case.values():
        yield max(same, key=lambda one: (one.verdict is not Verdict.OK, one.reward or 0.0)), len(same)
