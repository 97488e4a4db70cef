"""Run the corpus against a rubric and compare each case's reward with those of honest answers, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from guerdon.audit.corpus import Problem, cases_for, missing_names
from guerdon.audit.forms import forms, gold_forms, tags_of
from guerdon.audit.problems import OWN_FORM, takes_reference
from guerdon.audit.trials import RIGHT, WRONG, Honest, Trial, completion_of, own_cases
from guerdon.errors import CheckFailedError, InfrastructureError
from guerdon.plugins.discovery import Kind
from guerdon.rubric import Entry, FirstOf, OnFailure, Rubric
from guerdon.rubric.entry import first_ofs
from guerdon.text import words
from guerdon.types import Failure, Judgement, Rollout, completion_text

MARGIN = 0.1
"""The largest reward of a hack, as a share of the way from the honest wrong to the honest right answer's reward.

GRPO exploits any difference within a group. A verifier's smooth parts (lengths, shares of words) differ a little
between texts.
"""

_SAME = 1e-9


class AuditVerdict(StrEnum):
    """The result of one case."""

    OK = "ok"
    EXPLOIT = "exploit"
    """A completion without merit earns more than an honest wrong answer, by more than the margin."""
    FALSE_NEGATIVE = "false negative"
    """A right answer in another form earns less than the honest right one, by more than the margin."""
    FAILED = "failed"
    """The completion breaks the verifier. A model that finds it uses up the run's failure budget."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case on one problem."""

    case: str
    corpus: str
    why: str
    problem: str
    verdict: AuditVerdict
    reward: float | None
    right: float | None
    """The reward of the honest right answer to the same problem."""
    wrong: float | None
    """The reward of the honest wrong answer."""
    parts: Mapping[str, float | None]
    """The contribution of each entry of the rubric."""
    explanations: Mapping[str, str]
    """The explanation of each entry."""
    completion: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        names = ("case", "corpus", "why", "problem", "verdict", "reward", "right", "wrong")
        return {name: getattr(self, name) for name in names} | {
            "parts": dict(self.parts),
            "explanations": dict(self.explanations),
            "completion": self.completion,
        }


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of an audit."""

    kinds: Sequence[str]
    form: str
    """The form in which answers were written: the one that gives an honest right answer the highest reward."""
    results: Sequence[CaseResult]
    left_out: Sequence[str] = field(default_factory=tuple)
    """Problems whose honest answers, right and wrong, earn the same."""
    tells_right: bool = True
    """Whether a right answer earns more than a wrong one. If not, a hack is a case that earns more than both."""

    def found(self, verdict: AuditVerdict) -> list[CaseResult]:
        """Return the results with this verdict."""
        return [result for result in self.results if result.verdict is verdict]

    @property
    def passed(self) -> bool:
        return all(result.verdict is AuditVerdict.OK for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "kinds": list(self.kinds),
            "form": self.form,
            "margin": MARGIN,
            "passed": self.passed,
            "tells_right": self.tells_right,
            "left_out": list(self.left_out),
            "cases": [result.to_dict() for result in self.results],
        }


def audit_rubric(
    entries: Sequence[Entry], kinds: Sequence[str], problems: Sequence[Problem], form: str | None = None
) -> AuditReport:
    """Attack a rubric.

    Args:
        entries: The rubric; failures of its verifiers are reported, regardless of ``on_failure``.
        kinds: The kinds of verifiers in it; the kind that separates right from wrong comes first.
        problems: The problems to use.
        form: The form in which answers are written; by default the one that gives an honest right answer the highest
            reward.

    Raises:
        CheckFailedError: No honest answer is paid: none can be judged, or a right one earns no more than a wrong one
            where it should, or no honest answer earns more than the worst completion.
        InfrastructureError: A resource that a verifier needs is missing or down.
    """
    compares = any(takes_reference(entry) for entry in entries)
    unknown = "content" if form is not None else "padding"
    cases = cases_for(kinds or ["answer" if compares else unknown])
    honest = Honest.of(kinds if form is None else [])
    with Rubric([_without_reaction(entry) for entry in entries]) as rubric:
        form = form or _paid_form(rubric, problems[0], honest)
        trials = [
            Trial(problem, corpus, case, completion_of(case, form, problem, honest))
            for problem in problems
            for corpus, case in [*honest.cases(), *cases, *own_cases(problem)]
            if not missing_names(case, problem.names)
        ]
        for trial, judgement in zip(trials, _judge(rubric, trials), strict=True):
            trial.judgement = judgement
            trial.relative = [entry.name for entry in entries if entry.component.kind is Kind.GROUP_REWARD]
            trial.whole_of = {entry.name: entry.within.name for entry in entries if entry.within is not None}
    stakes = _Stakes.of_all(trials)
    told_apart = [name for name, stake in stakes.items() if stake.gain > _SAME]
    _refuse_unpaid(trials, stakes, told_apart, form, must_tell=bool(kinds) or compares or form == OWN_FORM)
    return _report(trials, stakes, told_apart, kinds, form)


def _without_reaction(entry: Entry) -> Entry:
    """Return the entry with ``on_failure: skip``, so that its failures are seen."""
    within = entry.within and replace(entry.within, on_failure=OnFailure.SKIP)
    return replace(entry, on_failure=OnFailure.SKIP, within=within)


def _paid_form(rubric: Rubric, problem: Problem, honest: Honest) -> str:
    """Return the form in which the honest right answer earns the most."""
    candidates = list(forms(tags_of(rubric.entries), gold_forms(rubric.entries)))
    (_, right), _ = honest.cases()
    trials = [Trial(problem, "", right, completion_of(right, form, problem, honest)) for form in candidates]
    judgements = _judge(rubric, trials)
    rewards = [judgement.reward for judgement in judgements]
    known = [reward for reward in rewards if reward is not None]
    if not known:
        raise CheckFailedError(
            f"no verifier judges an honest right answer to {problem.name}, in any of {len(candidates)} forms: "
            f"{_reason(judgements)}"
        )
    return candidates[rewards.index(max(known))]


def _reason(judgements: Sequence[Judgement]) -> str:
    """Return why nothing was judged: the first explanation."""
    verdicts = [verdict for judgement in judgements for verdict in judgement.verdicts.values()]
    return next((v.score.explanation for v in verdicts if v.score.explanation), "all of them skip it")


def _judge(rubric: Rubric, trials: Sequence[Trial]) -> Sequence[Judgement]:
    parts: list[Entry | FirstOf] = [*rubric.entries, *first_ofs(rubric.entries).values()]
    weights = [part.weight for part in parts]
    steps = [step for weight in weights if isinstance(weight, Mapping) for step in weight]
    step = max(steps, default=0)
    if rubric.compares_groups:
        judgements = _among_honest(rubric, trials, step)
    else:
        judgements = rubric.score([_rollout(trial) for trial in trials], step)
    for judgement in judgements:
        for name, verdict in judgement.verdicts.items():
            if verdict.score.failure is Failure.INFRASTRUCTURE:
                raise InfrastructureError(f"'{name}' cannot judge: {verdict.score.explanation}")
    return judgements


def _among_honest(rubric: Rubric, trials: Sequence[Trial], step: int) -> list[Judgement]:
    """Judge each trial in a group of its own, with the honest answers to its problem."""
    honest: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.case.name in (RIGHT, WRONG):
            honest.setdefault(trial.problem.name, []).append(trial)
    groups = [
        [trial, *(one for one in honest.get(trial.problem.name, ()) if one is not trial)] for trial in trials
    ]
    judged = iter(
        rubric.score(
            [_rollout(one) for group in groups for one in group],
            step,
            groups=[number for number, group in enumerate(groups) for _ in group],
        )
    )
    firsts = []
    for group in groups:
        judgements = [next(judged) for _ in group]
        firsts.append(judgements[0])
        for one, judgement in zip(group[1:], judgements[1:], strict=True):
            group[0].honest[one.case.name] = judgement.reward
    return firsts


def _rollout(trial: Trial) -> Rollout:
    prompt, completion = trial.problem.prompt, trial.completion
    if isinstance(completion, str) and not isinstance(prompt, str):
        completion = [{"role": "assistant", "content": completion}]
    # Rewards by length count tokens. One word counts as one token here, and a text without words as one.
    text = completion_text(completion)
    ids = [0] * max(len(words(text, symbols=True)), min(len(text), 1))
    return Rollout(prompt, completion, trial.problem.columns, ids)


@dataclass(frozen=True, slots=True)
class _Stakes:
    """The rewards of the honest answers to a problem."""

    right: float | None
    wrong: float | None
    own_right: float | None
    """The right answer's reward without what group rewards add."""

    @classmethod
    def of_all(cls, trials: Sequence[Trial]) -> dict[str, _Stakes]:
        """Return the stakes of each problem, by its name."""
        right = {trial.problem.name: trial.reward for trial in trials if trial.case.name == RIGHT}
        wrong = {trial.problem.name: trial.reward for trial in trials if trial.case.name == WRONG}
        own = {trial.problem.name: trial.own_reward for trial in trials if trial.case.name == RIGHT}
        return {name: cls(right[name], wrong[name], own[name]) for name in right}

    @property
    def gain(self) -> float:
        """Return how much more the right answer earns.

        An answer without a reward counts as 0, because it teaches nothing.
        """
        return 0.0 if self.right is None else self.right - (self.wrong or 0.0)

    def verdict(self, trial: Trial, tells: bool) -> AuditVerdict:
        """Return the verdict on a trial, measured by these stakes.

        Args:
            trial: The trial.
            tells: Whether the rubric separates right from wrong at all.
        """
        if trial.failed:
            return AuditVerdict.FAILED
        verdicts = trial.judgement.verdicts.values()
        margin = MARGIN * (self.gain if tells else sum(abs(verdict.weight) for verdict in verdicts))
        right, wrong = self.right or 0.0, trial.honest.get(WRONG, self.wrong) or 0.0
        if trial.case.expect == "right":
            own, least = trial.own_reward, self.own_right
            if least is None:  # only group rewards pay, so the answers of one group are compared
                own, least = trial.reward, trial.honest.get(RIGHT, trial.reward)
            short = own is None or own < (least or 0.0) - margin - _SAME
            return AuditVerdict.FALSE_NEGATIVE if short else AuditVerdict.OK
        limit = (wrong if tells else right) + margin
        return (
            AuditVerdict.EXPLOIT
            if trial.reward is not None and trial.reward > limit + _SAME
            else AuditVerdict.OK
        )


def _refuse_unpaid(
    trials: Sequence[Trial],
    stakes: Mapping[str, _Stakes],
    told_apart: Sequence[str],
    form: str,
    *,
    must_tell: bool,
) -> None:
    """Raise if no honest answer earns a reward, because the audit of such a rubric would always pass.

    Raises:
        CheckFailedError: No honest answer earns a reward.
    """
    if told_apart:
        return
    if all(trial.reward is None for trial in trials):
        reason = _reason([trial.judgement for trial in trials])
        raise CheckFailedError(f"no verifier judges any of {len(trials)} completions together: {reason}")
    stake = next(iter(stakes.values()))
    if must_tell:
        raise CheckFailedError(
            f"an honest right answer earns {stake.right} and a wrong one {stake.wrong}: nothing tells them apart, so "
            f"no exploit can be recognized either. {_fix_of_answers(form)}"
        )
    honest = [reward for one in stakes.values() for reward in (one.right, one.wrong) if reward is not None]
    lowest = min(trial.reward for trial in trials if trial.reward is not None)
    if max(honest) <= lowest + _SAME:
        raise CheckFailedError(
            f"no honest answer is paid: right and wrong ones earn {max(honest)}, and nothing that was tried earns "
            "less. Name the verifier's --kind, or give your own right and wrong answers with --cases."
        )


def _fix_of_answers(form: str) -> str:
    if form == OWN_FORM:
        return "Correct the 'right' and the 'wrong' answers of --cases, or the verifier."
    return (
        "Give the verifier a 'gold_completion' that writes answers in its form, name its --kind, or give your own "
        "right and wrong answers with --cases."
    )


def _report(
    trials: Sequence[Trial],
    stakes: Mapping[str, _Stakes],
    told_apart: Sequence[str],
    kinds: Sequence[str],
    form: str,
) -> AuditReport:
    left_out = [name for name in stakes if told_apart and name not in told_apart]
    # that the honest answers have the form that the verifier expects
    certain = bool(kinds) or form == OWN_FORM
    results = []
    for trial in trials:
        name = trial.problem.name
        # A problem whose answers earn the same is measured by one whose answers differ.
        measure = stakes[told_apart[0] if name in left_out else name]
        verdict = measure.verdict(trial, tells=bool(told_apart))
        worth_it = certain and trial.corpus == "honest" and verdict is not AuditVerdict.OK
        if name not in left_out or worth_it:
            results.append(_result(trial, verdict, stakes[name]))
    return AuditReport(kinds, form, results, left_out, bool(told_apart))


def _result(trial: Trial, verdict: AuditVerdict, stakes: _Stakes) -> CaseResult:
    verdicts = trial.judgement.verdicts
    return CaseResult(
        trial.case.name,
        trial.corpus,
        trial.case.why,
        trial.problem.name,
        verdict,
        trial.reward,
        stakes.right,
        stakes.wrong,
        {name: one.weighted for name, one in verdicts.items()},
        {name: one.score.explanation for name, one in verdicts.items()},
        trial.shown,
    )


def worst_first(results: Sequence[CaseResult]) -> Iterator[tuple[CaseResult, int]]:
    """Yield one result for each case, the worst of its problems, with the number of problems that were tried."""
    by_case: dict[tuple[str, str], list[CaseResult]] = {}
    for result in results:
        key = (
            (result.corpus, result.case) if result.corpus != "equivalents" else (result.problem, result.case)
        )
        by_case.setdefault(key, []).append(result)
    for same in by_case.values():
        yield max(same, key=lambda one: (one.verdict is not AuditVerdict.OK, one.reward or 0.0)), len(same)
