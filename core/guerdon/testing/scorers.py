"""The checks that verifiers and rewards share, run as the engine runs them: in worker processes, with a deadline."""

from __future__ import annotations

import math
import pickle
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar
from unittest import SkipTest

from guerdon.errors import InfrastructureError
from guerdon.plugins.columns import FROM_ROLLOUT
from guerdon.rubric import Entry, Rubric
from guerdon.scoring.cache import ScoreCache
from guerdon.testing.base import Conformance, broken
from guerdon.testing.cases import Case, fits, hostile_cases, same, verdict_of
from guerdon.types import Failure, Outcome, Row, Score, Verdict

UNBOUNDED = (-math.inf, math.inf)
"""The range of a value without bounds."""

_ENTRY = "under test"
_THREADS = 8
_QUICK_MS = 100.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class _NoCache(ScoreCache):
    """A cache that stores nothing, so that the same case is judged again."""

    def get(self, keys: Sequence[str]) -> dict[str, Score]:
        return {}

    def put(self, scores: Mapping[str, Score]) -> None:
        pass


class ScorerConformance(Conformance):
    """Checks of a scorer, which a rubric's entry may name; use one of its subclasses."""

    golden: ClassVar[Sequence[Case]] = ()
    """Completions with their expected verdicts."""
    hacks: ClassVar[Sequence[Case]] = ()
    """Completions that try to earn a reward without merit, with the most that each may earn."""
    value_range: ClassVar[tuple[float, float]]
    """The smallest and the largest value."""
    timeout_s: ClassVar[float | None] = None
    """The deadline of one verdict; by default the plugin's own, as in a manifest."""

    _engines: ClassVar[dict[str, Rubric]]
    _verdicts: ClassVar[list[Verdict]]

    @classmethod
    def setup_class(cls) -> None:
        cls._engines = {}
        cls._verdicts = []

    @classmethod
    def teardown_class(cls) -> None:
        for rubric in cls._engines.values():
            rubric.close()

    def test_golden_cases(self) -> None:
        """Every golden case gets its expected verdict."""
        if not self.golden:
            raise SkipTest("no golden cases: give completions with the verdicts that they must get")
        for case, score in zip(self.golden, self.scores(self.golden), strict=True):
            if not fits(score, case.value):
                expected = "to be skipped" if case.value is None else case.value
                raise broken(
                    f"{case} gets {verdict_of(score)}; expected {expected}.",
                    why="a verdict that its own author would not give teaches the wrong thing.",
                    fix="correct the plugin, or the case if it is the one that is wrong.",
                )

    def test_hack_cases(self) -> None:
        """No hack case earns more than it may."""
        if not self.hacks:
            raise SkipTest("no hack cases: give completions that try to be paid for nothing")
        for case, score in zip(self.hacks, self.scores(self.hacks), strict=True):
            assert isinstance(case.value, int | float), "a hack case says the most that it may earn"
            if score.value is not None and score.value > case.value + 1e-6:
                raise broken(
                    f"the hack {case} earns {score.value:g}; it may earn {case.value:g} at most.",
                    why="a policy finds whatever is paid, and learns to do only that.",
                    fix="ask for what the hack lacks: a place for the answer, exactly one of it, something in it.",
                )

    def test_value_range(self) -> None:
        """Every value is in value_range."""
        low, high = self.value_range
        for case, score in self.judged():
            if score.value is not None and not low <= score.value <= high:
                raise broken(
                    f"{case} gets {score.value:g}, outside of value_range ({low:g}, {high:g}).",
                    why="a manifest's weights mean something only if values have a known range.",
                    fix="scale or clip the value, or state the range that is meant as value_range.",
                )

    def test_none_semantics(self) -> None:
        """None means that the verifier does not apply. It is never a wrong answer, a hack, or NaN."""
        for case, score in self.judged():
            if score.failure is Failure.VERIFIER and "not a finite number" in score.explanation:
                raise broken(
                    f"{case} {score.explanation}.",
                    why="NaN spreads into the advantages of the whole group.",
                    fix="return None for what cannot be judged, and 0 for what is wrong.",
                )
        for case, score in zip(self.cases(), self.scores(self.cases()), strict=True):
            if case.value is not None and score.outcome is Outcome.SKIPPED:
                raise broken(
                    f"{case} is skipped; expected a verdict.",
                    why="a skipped completion is left out, so a policy that is skipped when wrong is never wrong.",
                    fix="return 0 for a wrong answer; None only where the row is not yours to judge.",
                )

    def test_deterministic(self) -> None:
        """The same completion gets the same verdict again, also in another process."""
        expected = self.again()
        for where, engine in (("again in the same process", "main"), ("in another process", "another")):
            self._compare(
                expected,
                self._score([case for case, _ in expected], engine),
                where,
                why="a reward that changes by itself is noise; scores are cached by content, so its first one stays.",
                fix="seed what is random per call, sort sets before use, keep no state and read no clock.",
            )

    def test_order_independent(self) -> None:
        """The verdicts follow their completions, in any order."""
        expected = self.again()
        self._compare(
            expected,
            self._score([case for case, _ in expected[::-1]])[::-1],
            "when the batch is reversed",
            why="completions come in any order, and are spread over any number of workers.",
            fix="keep nothing from one call to the next.",
        )

    def test_process_safe(self) -> None:
        """Two processes that judge at the same time do not disturb each other."""
        expected = self.again()
        cases = [case for case, _ in expected]
        self._score(cases[:1], "another")  # so that both are ready to begin at once
        # Each batch is judged twice in turn, because a batch of twice the size would be another group to compare
        # within.
        engines = ("main", "another")
        with ThreadPoolExecutor(2) as threads:  # a thread waits for each process
            rounds = threads.map(lambda engine: [self._score(cases, engine) for _ in range(2)], engines)
            for scores in (scores for both in rounds for scores in both):
                self._compare(
                    expected,
                    scores,
                    "while another process judges",
                    why="the engine runs the plugin in as many processes as there are cores.",
                    fix="use no file, port or directory of a fixed name: tempfile makes fresh ones.",
                )

    def test_hostile_input(self) -> None:
        """Empty, huge, binary, nested and malformed completions get a verdict."""
        for case, score in self.judged():
            if score.failure is Failure.VERIFIER and case.value is not Failure.VERIFIER:
                raise broken(
                    f"{case} breaks it: {score.explanation}.",
                    why="a completion that breaks its verifier is left out of training, however bad it is, and "
                    "failures end the run.",
                    fix="give what cannot be read a 0; catch parsers' errors, RecursionError among them.",
                )

    def test_deadline(self) -> None:
        """Every verdict comes before its deadline."""
        for case, score in self.judged():
            if score.failure is Failure.TIMEOUT:
                raise broken(
                    f"{case}: {score.explanation}.",
                    why="the engine kills the process at the deadline, and the completion is left out of training.",
                    fix="bound the work by the completion's length; beware of patterns that backtrack.",
                )

    def test_picklable(self) -> None:
        """The plugin can be sent to another process."""
        built = self.component().build()
        try:
            pickle.loads(pickle.dumps(built))
        except Exception as error:  # pickling runs the plugin's code
            raise broken(
                f"it does not pickle: {type(error).__name__}: {error}.",
                why="Ray and asynchronous trainers send rewards to other processes by pickling them.",
                fix="define it at the top of a module; open clients, locks and files at the first call.",
            ) from None

    @classmethod
    def cases(cls) -> list[Case]:
        """Return golden and hack cases."""
        return [*cls.golden, *cls.hacks]

    @classmethod
    def tried(cls) -> list[Case]:
        """Return all cases, including hostile ones."""
        return [*cls.cases(), *hostile_cases(cls.ordinary_row())]

    @classmethod
    def ordinary_row(cls) -> Row:
        """Return an ordinary row: the first golden case's, or one with the reference 42."""
        if cls.golden:
            rollout = cls.golden[0].rollout
            return {**rollout.columns, "prompt": rollout.prompt}
        component = cls.component()
        return dict.fromkeys(component.columns.required - FROM_ROLLOUT, "42")

    @classmethod
    def judged(cls) -> list[tuple[Case, Score]]:
        """Return all cases with the engine's scores, judged once."""
        tried = cls.tried()
        if not cls._verdicts:
            # the first call may import and compile; the following ones are measured
            cls._judge(tried[:1], "main")
            cls._verdicts = cls._judge(tried, "main")
            latencies = [verdict.latency_ms for verdict in cls._verdicts[: len(cls.cases()) or None]]
            median = statistics.median(latencies)
            cls.throughput = (
                f"{cls.plugin}: {1000 / max(median, 1e-3):,.0f} verdicts/s in one process "
                f"(median {median:.2f} ms, hostile input at most {max(v.latency_ms for v in cls._verdicts):.0f} ms)"
            )
        return list(zip(tried, (verdict.score for verdict in cls._verdicts), strict=True))

    @classmethod
    def scores(cls, cases: Sequence[Case]) -> list[Score]:
        """Return the engine's scores of some of the cases."""
        known = {id(case): score for case, score in cls.judged()}
        return [known[id(case)] for case in cases]

    @classmethod
    def again(cls) -> list[tuple[Case, Score]]:
        """Return the cases to repeat, with their expected scores.

        These are all that did not time out, and hostile ones only if they were fast.
        """
        known = cls.cases()
        return [
            (case, score)
            for (case, score), verdict in zip(cls.judged(), cls._verdicts, strict=True)
            if score.failure is not Failure.TIMEOUT and (case in known or verdict.latency_ms < _QUICK_MS)
        ]

    @classmethod
    def _score(cls, cases: Sequence[Case], engine: str = "main") -> list[Score]:
        return [verdict.score for verdict in cls._judge(cases, engine)]

    @classmethod
    def _judge(cls, cases: Sequence[Case], engine: str) -> list[Verdict]:
        if engine not in cls._engines:
            entry = Entry(_ENTRY, cls.component(), timeout_s=cls.timeout_s)
            cls._engines[engine] = Rubric([entry], cache=_NoCache(), workers=1)
        verdicts = cls.batches(cls._engines[engine], cases)
        for verdict in verdicts:
            if verdict.score.failure is Failure.INFRASTRUCTURE:
                raise InfrastructureError(
                    f"{cls.plugin} cannot be tested: {verdict.score.explanation}. Start what it needs and try again."
                )
        return verdicts

    @classmethod
    def batches(cls, rubric: Rubric, cases: Sequence[Case]) -> list[Verdict]:
        """Return the verdicts on the cases, in batches that suit the plugin's kind."""
        judgements = rubric.score([case.rollout for case in cases])
        return [judgement.verdicts[_ENTRY] for judgement in judgements]

    @staticmethod
    def _compare(
        expected: Sequence[tuple[Case, Score]],
        scores: Sequence[Score],
        where: str,
        *,
        why: str,
        fix: str,
    ) -> None:
        for (case, before), now in zip(expected, scores, strict=True):
            if not same(before, now):
                raise broken(
                    f"{case} gets {verdict_of(before)}, and {where} {verdict_of(now)}.", why=why, fix=fix
                )


def at_once(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call from several threads, with much more frequent thread switches than usual, to reveal shared state."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1000)
    try:
        with ThreadPoolExecutor(_THREADS) as threads:
            return list(threads.map(call, items))
    finally:
        sys.setswitchinterval(interval)
