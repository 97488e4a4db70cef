"""The conformance kit for group rewards."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

from guerdon.plugins.columns import CallColumns, group_arguments
from guerdon.plugins.discovery import Kind
from guerdon.rubric import Entry, Rubric
from guerdon.testing.base import broken
from guerdon.testing.cases import Case, same, verdict_of
from guerdon.testing.scorers import UNBOUNDED, ScorerConformance
from guerdon.types import Score, Verdict

__all__ = ["GroupRewardConformance"]


class GroupRewardConformance(ScorerConformance):
    """Checks of all uses of a group reward by the engine. Each of ``groups`` is the completions of one prompt.

    A hack case is judged as one more completion of the first group.

    ```python
    from guerdon.testing import Case, GroupRewardConformance


    class TestDistinct(GroupRewardConformance):
        plugin = "distinct"
        groups = ((Case("4", 0.0), Case("4", 0.0), Case("It is 5.", 1.0)),)
    ```
    """

    kinds = (Kind.GROUP_REWARD,)
    groups: ClassVar[Sequence[Sequence[Case]]] = ()
    """Groups of completions with their expected verdicts."""
    value_range: ClassVar[tuple[float, float]] = UNBOUNDED

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.groups:
            cls.golden = tuple(case for group in cls.groups for case in group)

    def test_alignment(self) -> None:
        """It returns one score for each completion, for a group of any size and of equal completions."""
        group = self._group()
        for size in range(1, len(group) + 1):
            self._aligned(group[:size])
        self._aligned([group[0]] * 5)

    def test_follows_completions(self) -> None:
        """The scores follow their completions, in any order of the group."""
        group = self._group()
        if len(group) < 2:
            raise SkipTest("no group of several completions: give groups")
        before = self._judged_together(group)
        after = self._judged_together(group[::-1])[::-1]
        for case, first, second in zip(group, before, after, strict=True):
            if not same(first, second):
                raise broken(
                    f"{case} gets {verdict_of(first)}, and in the reversed group {verdict_of(second)}.",
                    why="the order of a group says nothing about its completions.",
                    fix="break ties by the completions' content, or give equal ones equal scores.",
                )

    def test_no_mutation(self) -> None:
        """It does not change its arguments."""
        component = self.component()
        built = component.build()
        component.set_up(built)
        group = self._group()
        row = {**group[0].rollout.columns, "prompt": group[0].rollout.prompt}
        named = group_arguments(
            built,
            completion_ids=[list(case.rollout.completion_ids) for case in group],
            met=[True] * len(group),
        )
        arguments = {**named, **CallColumns.of_built(component, built).pick(row)}
        texts = [case.rollout.text for case in group]
        before = copy.deepcopy((texts, arguments))
        try:
            returned = built(texts, **arguments)
            if inspect.isawaitable(returned):
                asyncio.run(_wait(returned))
        except Exception as error:  # a plugin may raise anything
            raise SkipTest(f"it raises {type(error).__name__}, which other checks report") from None
        if (texts, arguments) != before:
            raise broken(
                "it changes its arguments.",
                why="every other scorer gets the same row.",
                fix="work on a copy: sorted(x) for x.sort(), {**x} before x.pop().",
            )

    @classmethod
    def batches(cls, rubric: Rubric, cases: Sequence[Case]) -> list[Verdict]:
        """Judge each case in its own group; one without a group is one more completion of the first group."""
        known: dict[int, Verdict] = {}
        for group in cls.groups:
            if any(case is member for case in cases for member in group):
                known |= dict(zip(map(id, group), cls._verdicts_of(rubric, group), strict=True))
        for case in cases:
            if id(case) not in known:
                group = [case, *(cls.groups[0] if cls.groups else ())]
                known[id(case)] = cls._verdicts_of(rubric, group)[0]
        return [known[id(case)] for case in cases]

    @classmethod
    def _verdicts_of(cls, rubric: Rubric, group: Sequence[Case]) -> list[Verdict]:
        judgements = rubric.score([case.rollout for case in group], groups=[0] * len(group))
        return [next(iter(judgement.verdicts.values())) for judgement in judgements]

    def _group(self) -> list[Case]:
        row = self.ordinary_row()
        return (
            list(self.groups[0]) if self.groups else [Case(text, None, **row) for text in ("4", "It is 4.")]
        )

    def _judged_together(self, group: Sequence[Case]) -> list[Score]:
        with Rubric([Entry("under test", self.component(), timeout_s=self.timeout_s)], workers=1) as rubric:
            return [verdict.score for verdict in self._verdicts_of(rubric, group)]

    def _aligned(self, group: Sequence[Case]) -> None:
        for case, score in zip(group, self._judged_together(group), strict=True):
            if score.value is None and "rewards for" in score.explanation:
                raise broken(
                    f"{case}: it {score.explanation}.",
                    why="scores belong to completions by their place; one too few shifts all that follow.",
                    fix="return a list with one number, None or Score for each completion, also for equal ones.",
                )


async def _wait(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
