"""The conformance kit for verifiers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, ClassVar
from unittest import SkipTest

from guerdon.plugins.columns import CallColumns
from guerdon.plugins.discovery import Kind
from guerdon.plugins.signatures import is_async
from guerdon.scoring.convert import to_failure, to_score
from guerdon.scoring.entries import offered_columns
from guerdon.testing.base import broken
from guerdon.testing.cases import UNREADABLE_REFERENCES, Case, hostile_cases, verdict_of
from guerdon.testing.scorers import ScorerConformance, at_once
from guerdon.types import Score


class VerifierConformance(ScorerConformance):
    r"""Checks of all uses of a verifier by the engine, TRL, Ray and a web server.

    ```python
    from guerdon.testing import Case, VerifierConformance


    class TestTidy(VerifierConformance):
        plugin = "tidy"
        golden = (Case("4", 1.0), Case("Let me think.\nIt is 4.", 0.0))
        hacks = (Case("", 0.0, why="an empty answer"),)
    ```
    """

    kinds = (Kind.VERIFIER,)
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def test_batch_equals_single(self) -> None:
        """A completion judged alone gets the same verdict as in a batch."""
        expected = self.again()
        self._compare(
            expected,
            [self._score([case])[0] for case, _ in expected],
            "alone",
            why="how completions are batched depends on the machine, and must not change what they earn.",
            fix="judge each completion by itself; what depends on its neighbours is a reward, not a verifier.",
        )

    def test_alignment(self) -> None:
        """Each completion gets its own score, with any other completions in the batch."""
        known = self.cases()
        expected = [(case, score) for case, score in self.again() if case in known]
        quick = [case for case, _ in self.again() if case not in known]
        hostile = quick or hostile_cases(self.ordinary_row())[:1]
        mixed = [one for i, (case, _) in enumerate(expected) for one in (hostile[i % len(hostile)], case)]
        self._compare(
            expected,
            self._score(mixed)[1::2],
            "after a hostile completion",
            why="a score that moves to the next completion pays the wrong one, and nothing else shows it.",
            fix="reset whatever a call sets up, also when it raises.",
        )

    def test_thread_safe(self) -> None:
        """Many concurrent calls get the same verdicts as sequential ones."""
        cases = [case for case, _ in self.again()] * 2
        with _built(self) as (one_by_one, together):
            expected = list(zip(cases, one_by_one(cases), strict=True))
            self._compare(
                expected,
                together(cases),
                "with many calls at once",
                why="servers and trainers call it from several threads; an async one, many times in one event loop.",
                fix="keep what a call works on in local variables, not on the object or the module.",
            )

    def test_no_mutation(self) -> None:
        """It does not change its arguments."""
        cases = [case for case, _ in self.again() if case in self.cases()] or [
            Case("4", None, **self.ordinary_row())
        ]
        before = copy.deepcopy([dict(case.rollout.columns) for case in cases])
        with _built(self) as (one_by_one, _):
            one_by_one(cases)
        for case, columns in zip(cases, before, strict=True):
            changed = [name for name, value in case.rollout.columns.items() if columns.get(name) != value]
            if changed:
                raise broken(
                    f"judging {case} changes its column '{changed[0]}' from {columns.get(changed[0])!r} to "
                    f"{case.rollout.columns[changed[0]]!r}.",
                    why="the row is shared by the whole group, and by every other verifier.",
                    fix="work on a copy: sorted(x) for x.sort(), {**x} before x.pop().",
                )

    def test_unreadable_reference(self) -> None:
        """No completion earns anything if the reference is missing or empty."""
        paid = [
            (float(case.value), case)
            for case in self.golden
            if isinstance(case.value, float | int) and case.value > 0 and "reference" in case.rollout.columns
        ]
        if not paid:
            raise SkipTest("no golden case that has a reference and a value above 0")
        value, case = max(paid, key=itemgetter(0))
        for reference in UNREADABLE_REFERENCES:
            row = {**case.rollout.columns, "prompt": case.rollout.prompt, "reference": reference}
            (score,) = self._score([Case(case.rollout.completion, None, **row)])
            if score.value is not None and score.value >= value:
                raise broken(
                    f"{case} gets {verdict_of(score)} for the reference {reference!r} too.",
                    why="a row without an answer then pays everybody, and the policy learns nothing from it.",
                    fix="return Score.failed(Failure.REFERENCE, ...) for a reference that cannot be read.",
                )


_Judge = Callable[[Sequence[Case]], list[Score]]


@contextmanager
def _built(kit: VerifierConformance) -> Iterator[tuple[_Judge, _Judge]]:
    """Yield the verifier built in this process, as a sequential and a concurrent judge of cases."""
    component = kit.component()
    built = component.build()
    columns = CallColumns.of_built(component, built)
    asynchronous = is_async(built)

    def call(case: Case) -> Any:
        return built(case.rollout.text, **columns.pick(offered_columns(case.rollout)))

    def verify(case: Case) -> Score:
        try:
            return to_score(runner.run(_wait(call(case))) if asynchronous else call(case))
        except Exception as error:  # a plugin may raise anything
            return to_failure(error)

    async def verify_async(case: Case) -> Score:
        try:
            return to_score(await call(case))
        except Exception as error:
            return to_failure(error)

    async def gather(cases: Sequence[Case]) -> list[Score]:
        return await asyncio.gather(*map(verify_async, cases))

    def one_by_one(cases: Sequence[Case]) -> list[Score]:
        return [verify(case) for case in cases]

    def together(cases: Sequence[Case]) -> list[Score]:
        return runner.run(gather(cases)) if asynchronous else at_once(verify, cases)

    with asyncio.Runner() as runner:
        component.set_up(built, runner.run)
        yield one_by_one, together
        if (close := component.member("aclose", of=built)) is not None:
            runner.run(close())


async def _wait(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
