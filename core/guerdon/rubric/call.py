"""One call of a rubric: the verdicts on its rollouts, as they arrive turn by turn."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle

from guerdon.errors import FailureBudgetError, UsageError
from guerdon.plugins.discovery import Kind
from guerdon.rubric.entry import Entry, FirstOf
from guerdon.rubric.rule import decided, is_full, unmet
from guerdon.scoring.budget import FailureBudget
from guerdon.scoring.entries import Asked, Batch, Scorer
from guerdon.scoring.pool import Pool
from guerdon.types import Failure, OnFailure, Outcome, Rollout, Score, Verdict, total_usage

__all__ = ["Call"]


class Call:
    """The verdicts on some rollouts.

    Args:
        rollouts: The rollouts.
        step: The training step, for weight schedules.
        budget: Counts the failures, if there is a limit.
        members: The names of the members of each ``first_of``, in order.
        groups: Each rollout's group, if it is known.
        early: Whether a later call about the same rollouts takes the answers. Only that one counts failures, stops at
            them and retries.
    """

    def __init__(
        self,
        rollouts: Sequence[Rollout],
        step: int,
        budget: FailureBudget | None,
        members: Mapping[str, Sequence[str]],
        groups: Sequence[Hashable] | None,
        early: bool = False,
    ) -> None:
        self._groups = groups
        self._early = early
        self._members = members
        self._rollouts = rollouts
        self._step = step
        self._budget = budget
        self.verdicts: list[dict[str, Verdict]] = [{} for _ in rollouts]
        """The verdicts on each rollout, by name."""
        self.metrics: dict[str, float] = {}
        """What reward functions passed to ``log_metric``."""

    def ask(self, entries: Sequence[Entry], scorers: Mapping[str, Scorer], pool: Pool) -> None:
        """Ask entries together for the rollouts that are routed to them and meet their needs.

        Raises:
            DataError: A rollout lacks a column that a verifier needs.
            FailureBudgetError: Too many scores failed, or one with ``on_failure: abort``.
            PluginLoadError: A plugin cannot be built.
        """
        questions = [_Question(entry, scorers[entry.name], self._asked(entry)) for entry in entries]
        waiting = questions
        while waiting:
            batches = [question.prepare() for question in waiting]
            pool.run(job for batch in batches for job in batch.jobs)
            for question, batch in zip(waiting, batches, strict=True):
                question.keep(batch)
                self.metrics |= batch.metrics
            waiting = [question for question in waiting if question.waiting and not self._early]
        for question in questions:
            self._record(question)

    def decide(self, whole: FirstOf) -> None:
        """Record the verdict of a ``first_of``, whose members have all been asked."""
        asked = []
        for rollout, verdicts in zip(self._rollouts, self.verdicts, strict=True):
            if not whole.applies_to(rollout.columns):
                continue
            withheld = unmet(whole.needs, verdicts)
            known = {name: verdicts[name] for name in self._members[whole.name] if name in verdicts}
            score = withheld or decided(known)
            latency_ms = sum(verdict.latency_ms for verdict in known.values())
            verdicts[whole.name] = self._verdict(whole, score, latency_ms, 0 if withheld else 1)
            if withheld is None:
                asked.append(score)
        self._spend(whole, asked)

    def _asked(self, entry: Entry) -> Asked:
        """Return the rollouts for which the entry is asked, and record the verdicts of unmet needs.

        A group reward is asked for all completions of a group, if one of them meets its needs.

        Raises:
            UsageError: It is a group reward, and the groups are not known.
        """
        asked: list[tuple[int, bool | None]] = []
        grouped = entry.component.kind is Kind.GROUP_REWARD
        for position, (rollout, verdicts) in enumerate(zip(self._rollouts, self.verdicts, strict=True)):
            if not entry.applies_to(rollout.columns) or self._is_decided(entry.within, verdicts):
                continue
            if rollout.broken is not None:  # what the model did is unknown
                lost = Score.failed(Failure.INFRASTRUCTURE, rollout.broken)
                verdicts[entry.name] = self._verdict(entry, lost, 0.0, tries=0)
                if entry.within is None:
                    self._spend(entry, [lost])
                continue
            withheld = unmet(entry.needs, verdicts)
            if withheld is None or grouped:
                met = None if withheld is not None and withheld.value is None else withheld is None
                asked.append((position, met))
            if withheld is not None:
                verdicts[entry.name] = self._verdict(entry, withheld, 0.0, tries=0)
        positions = [position for position, _ in asked]
        if not grouped:
            return Asked(positions, [self._rollouts[i] for i in positions], self._step, early=self._early)
        if self._groups is None:
            raise UsageError(
                f"{entry.component.plugin} compares the completions of one prompt, and the caller does not say which "
                "completions belong together. Give rubric.score(rollouts, groups=[...]) one value for each rollout: "
                "equal for the rollouts of one prompt."
            )
        worth = {self._groups[position] for position, met in asked if met}
        asked = [(position, met) for position, met in asked if self._groups[position] in worth]
        positions = [position for position, _ in asked]
        return Asked(
            positions,
            [self._rollouts[i] for i in positions],
            self._step,
            [self._groups[i] for i in positions],
            [met for _, met in asked],
            early=self._early,
        )

    def _is_decided(self, whole: FirstOf | None, verdicts: Mapping[str, Verdict]) -> bool:
        """Return whether an earlier member gave the full value, or the whole is not asked."""
        if whole is None:
            return False
        full = any(is_full(verdicts.get(name)) for name in self._members.get(whole.name, ()))
        return full or unmet(whole.needs, verdicts) is not None

    def _record(self, question: _Question) -> None:
        entry = question.entry
        for position, (score, latency_ms) in question.scores.items():
            tries = question.tries[position]
            self.verdicts[position][entry.name] = self._verdict(entry, score, latency_ms, tries)
        scores = [score for score, _ in question.scores.values()]
        if entry.within is None:
            self._spend(entry, scores)
        elif entry.on_failure is OnFailure.ABORT and not self._early:
            _abort_on_failure(entry.name, scores)

    def _spend(self, part: Entry | FirstOf, scores: Sequence[Score]) -> None:
        if self._early:
            return
        if self._budget is not None:
            self._budget.spend(part.name, scores)
        if part.on_failure is OnFailure.ABORT:
            _abort_on_failure(part.name, scores)

    def _verdict(self, part: Entry | FirstOf, score: Score, latency_ms: float, tries: int) -> Verdict:
        return Verdict(score, part.weight_at(self._step), latency_ms, part.on_failure, tries)


class _Question:
    """One entry's question about some rollouts, with its retries."""

    def __init__(self, entry: Entry, scorer: Scorer, asked: Asked) -> None:
        positions = [p for p, met in zip(asked.positions, asked.met or cycle([True]), strict=False) if met]
        self.entry = entry
        self.scores: dict[int, tuple[Score, float]] = {}
        """Each score with the time of all tries in milliseconds, by the rollout's position."""
        self.tries = dict.fromkeys(positions, 0)
        self.waiting = list(positions)
        """The rollouts to ask for now."""
        self._scorer = scorer
        self._all = self._asked = asked

    def prepare(self) -> Batch:
        return self._scorer.prepare(self._asked)

    def keep(self, batch: Batch) -> None:
        """Keep the answers for the rollouts that were waiting, and wait for those to ask for again."""
        answers = batch.collect()
        for position in self.waiting:
            score, latency_ms = answers[position]
            if position in self.scores:
                earlier, earlier_ms = self.scores[position]
                latency_ms += earlier_ms
                score = replace(score, usage=total_usage([earlier.usage, score.usage]))
            self.scores[position] = score, latency_ms
            self.tries[position] += 1
        self.waiting = [
            position
            for position in self.waiting
            if self.tries[position] <= self.entry.retries and _may_change(self.scores[position][0])
        ]
        self._asked = self._scorer.again(self._all, set(self.waiting))


def _may_change(score: Score) -> bool:
    """Return whether another try may give a verdict. A reference that cannot be read stays so."""
    return score.outcome is Outcome.FAILED and score.failure is not Failure.REFERENCE


def _abort_on_failure(name: str, scores: Iterable[Score]) -> None:
    for score in scores:
        if score.outcome is Outcome.FAILED:
            raise FailureBudgetError(
                f"'{name}' failed: {score.failure}: {score.explanation}. "
                "Its 'on_failure' is abort; set it to skip to leave such completions out instead."
            )
