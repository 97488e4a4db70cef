"""The conformance kit for rewards: functions with TRL's signature."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import SkipTest

from guerdon.plugins.discovery import Kind
from guerdon.rubric import Rubric
from guerdon.scoring.convert import to_failure, to_scores
from guerdon.testing.base import broken
from guerdon.testing.cases import Case, verdict_of
from guerdon.testing.scorers import UNBOUNDED, ScorerConformance, at_once
from guerdon.types import Score, Verdict


class RewardConformance(ScorerConformance):
    """Checks of all uses of a reward by the engine and TRL. Golden and hack cases are judged as one batch.

    ```python
    from guerdon.testing import Case, RewardConformance


    class TestBrevity(RewardConformance):
        plugin = "brevity"
        golden = (Case("4", 1.0), Case("Let me think. It is 4.", 0.5))
    ```
    """

    kinds = (Kind.REWARD,)
    value_range: ClassVar[tuple[float, float]] = UNBOUNDED
    compares_completions: ClassVar[bool] = False
    """Whether a completion's reward depends on the others in its batch, as in a ranking."""

    def test_batch_equals_single(self) -> None:
        """A completion rewarded alone gets the same reward as in a batch."""
        if self.compares_completions:
            raise SkipTest("it compares completions, so alone they are judged otherwise")
        expected = self.again()
        self._compare(
            expected,
            [self._score([case])[0] for case, _ in expected],
            "alone",
            why="how completions are batched depends on the machine, and must not change what they earn.",
            fix="reward each completion by itself, or set compares_completions = True.",
        )

    def test_alignment(self) -> None:
        """It returns one reward for each completion, in order, for a batch of any size."""
        cases = self._plain_cases()
        reward = _accepting(self._ready())
        batches = [cases[:size] for size in range(1, len(cases) + 1)] + [cases[:1] * 5]
        for batch in batches:
            returned = reward(_arguments(batch))
            many = f"{len(returned)} rewards" if hasattr(returned, "__len__") else repr(returned)
            if many != f"{len(batch)} rewards":
                raise broken(
                    f"it returns {many} for {len(batch)} completions, the first of them {batch[0]}.",
                    why="rewards belong to completions by their place; one too few shifts all that follow.",
                    fix="return a list with one number or None for each completion, also for equal ones.",
                )

    def test_trl_contract(self) -> None:
        """TRL can call it: it has a name, and accepts any column, text and messages."""
        reward = self._ready()
        if not hasattr(reward.func if isinstance(reward, functools.partial) else reward, "__name__"):
            raise broken(
                f"a {type(reward).__name__} has no __name__.",
                why="TRL names a reward's metrics after it, and stops where there is none.",
                fix='give the class an attribute, such as __name__ = "brevity".',
            )
        cases = self._plain_cases()
        arguments = _arguments(cases) | {"some_other_column": [None] * len(cases)}
        try:
            inspect.signature(reward).bind(**arguments)
        except TypeError as error:
            raise broken(
                f"it cannot be called with TRL's keywords and a column of the data set: {error}.",
                why="TRL passes every column, and its own trainer_state, log_extra and log_metric.",
                fix="end the parameters with **kwargs.",
            ) from None
        as_text = _scores(reward, arguments)
        as_messages = _scores(
            reward,
            arguments | {"completions": [[{"role": "assistant", "content": c.rollout.text}] for c in cases]},
        )
        for case, text, messages in zip(cases, as_text, as_messages, strict=True):
            if text.value != messages.value:
                raise broken(
                    f"{case} gets {verdict_of(text)} as text, and {verdict_of(messages)} as a message.",
                    why="TRL gives completions as messages where the data set's prompts are messages.",
                    fix="read them with guerdon.completion_text(completion).",
                )

    def test_thread_safe(self) -> None:
        """Many concurrent calls get the same rewards as sequential ones."""
        cases = self._plain_cases()
        reward = self._ready()
        arguments = _arguments(cases)
        expected = list(zip(cases, _scores(reward, arguments), strict=True))
        for scores in at_once(lambda _: _scores(reward, arguments), range(32)):
            self._compare(
                expected,
                scores,
                "with many calls at once",
                why="servers and trainers call a reward from several threads.",
                fix="keep what a call works on in local variables, not on the object or the module.",
            )

    def test_no_mutation(self) -> None:
        """It does not change its arguments."""
        arguments = _arguments(self._plain_cases())
        data = {name: value for name, value in arguments.items() if isinstance(value, list)}
        before = copy.deepcopy(data)
        _scores(self._ready(), arguments)
        changed = [name for name, value in data.items() if value != before[name]]
        if changed:
            raise broken(
                f"it changes its argument '{changed[0]}'.",
                why="every other reward of the batch gets the same lists.",
                fix="work on a copy: sorted(x) for x.sort(), {**x} before x.pop().",
            )

    @classmethod
    def batches(cls, rubric: Rubric, cases: Sequence[Case]) -> list[Verdict]:
        """Score the cases in one call, and each hostile completion in its own call, because a call fails as a whole."""
        known = cls.cases()
        batch = [case for case in cases if case in known]
        verdicts = dict(zip(map(id, batch), super().batches(rubric, batch), strict=True))
        for case in cases:
            if case not in known:
                (verdicts[id(case)],) = super().batches(rubric, [case])
        return [verdicts[id(case)] for case in cases]

    def _ready(self) -> Any:
        """Return the reward, built and set up in this process."""
        component = self.component()
        built = component.build()
        component.set_up(built)
        return built

    def _plain_cases(self) -> list[Case]:
        cases = [case for case, _ in self.again() if case in self.cases()]
        row = self.ordinary_row()
        return cases or [Case(text, None, **row) for text in ("4", "It is 4.", "I do not know.")]


def _arguments(cases: Sequence[Case]) -> dict[str, Any]:
    """Return TRL's arguments of a reward.

    See https://huggingface.co/docs/trl/grpo_trainer, "Using a custom reward function".
    """
    names = {name: None for case in cases for name in case.rollout.columns}
    return {
        "prompts": [case.rollout.prompt for case in cases],
        "completions": [case.rollout.text for case in cases],
        "completion_ids": [list(case.rollout.completion_ids) for case in cases],
        "trainer_state": SimpleNamespace(global_step=0),
        "log_extra": lambda _column, _values: None,
        "log_metric": lambda _name, _value: None,
        **{name: [case.rollout.columns.get(name) for case in cases] for name in names},
    }


def _accepting(reward: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a call of the reward with those of TRL's arguments that its signature names, as the engine calls it."""
    parameters = inspect.signature(reward).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())

    def call(arguments: Mapping[str, Any]) -> Any:
        returned = reward(**{name: arguments[name] for name in arguments if takes_all or name in parameters})
        return asyncio.run(_wait(returned)) if inspect.isawaitable(returned) else returned

    return call


def _scores(reward: Callable[..., Any], arguments: Mapping[str, Any]) -> list[Score]:
    expected = len(arguments["completions"])
    try:
        return to_scores(_accepting(reward)(arguments), expected)
    except Exception as error:  # a plugin may raise anything
        return [to_failure(error)] * expected


async def _wait(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
