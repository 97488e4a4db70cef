"""Adapter for verifiers: a rubric as a task's reward (from version 0.4), or as a ``Rubric`` (before).

```python
# my_rewards.py, named by the configuration: rewards = {zero = {fn = "my_rewards.py:zero"}}
from guerdon.adapters.verifiers import reward_function

zero = reward_function("zero.yaml", stage="zero", columns={"reference": "answer"})
```
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from guerdon.adapters.named_rubric import NO_GROUPS, NamedRubric, renamed, reward_of
from guerdon.errors import UsageError
from guerdon.types import Messages, Rollout

__all__ = [
    "classic_rubric",
    "reward_function",
]

_REFERENCE = {"reference": "answer"}
"""The name that environments of verifiers have used since its first version."""


def reward_function(
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    workers: int | None = None,
) -> Callable[[Any, Any], Awaitable[float]]:
    """Return a reward for a task of verifiers 0.4 or newer.

    It returns the rubric's total reward, and adds each entry's raw value to the trace's metrics. A completion without a
    reward raises an error. verifiers then records a ``TaskError`` on the trace instead of a reward.

    Args:
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        columns: For each name that a verifier reads, the task data's name: ``{"reference": "answer"}``.
        workers: How many processes share the sync verifiers; by default one per usable CPU.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit.
    """
    named = NamedRubric(rubric, stage, params, workers)
    named.refuse_groups("verifiers from 0.4", NO_GROUPS)
    named.warn_of_schedules("verifiers")

    async def reward(task: Any, trace: Any) -> float:
        row = renamed(task.model_dump(), columns or {})
        rollout = Rollout(row.pop("prompt", None) or "", _model_turns(trace), row)
        (judgement,) = await named.judge([rollout])
        for name, verdict in judgement.verdicts.items():
            if verdict.score.value is not None:
                trace.record_metric(f"{named.name}/{name}", verdict.score.value)
        return reward_of(judgement, advice="It is the trace's error, and the trace has no reward.")

    reward.__name__ = named.name
    return reward


def classic_rubric(
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] = _REFERENCE,
    workers: int | None = None,
) -> Any:
    """Return a ``Rubric`` for environments of verifiers before 0.4, with a weighted function for each entry.

    The library's class turns an error of a function into a reward of 0. This one raises the error, because the class
    cannot express that a rollout has no reward. Weights are those of step 0, because the training step is unknown.

    Args:
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        columns: For each name that a verifier reads, the data's name.
        workers: How many processes share the sync verifiers; by default one per usable CPU.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit, or this version of verifiers has no ``Rubric``.
    """
    import verifiers

    if not hasattr(verifiers, "Rubric"):
        raise UsageError(
            f"verifiers {verifiers.__version__} has no Rubric. "
            "Plug guerdon.adapters.verifiers.reward_function into the task instead."
        )
    named = NamedRubric(rubric, stage, params, workers)
    named.warn_of_schedules("verifiers")

    class NamedClassicRubric(verifiers.Rubric):  # type: ignore[misc]  # no types, where it is not installed
        def __init__(self) -> None:
            super().__init__(
                funcs=[_named(name) for name in named.names], weights=[*named.weights().values()]
            )
            self._values: dict[int, Mapping[str, float]] = {}

        async def score_rollout(self, state: Any) -> None:
            named.refuse_groups("verifiers' score_rollout", "Score whole groups, as its score_group does.")
            async with self._judged([state]):
                await super().score_rollout(state)

        async def score_group(self, states: list[Any]) -> None:
            async with self._judged(states):
                await super().score_group(states)

        @asynccontextmanager
        async def _judged(self, states: Sequence[Any]) -> AsyncIterator[None]:
            judgements = await named.judge([_rollout(state, columns) for state in states], [0] * len(states))
            for state, judgement in zip(states, judgements, strict=True):
                reward_of(
                    judgement, advice="Fix the cause, or give the entry 'on_failure: zero' in the manifest."
                )
                values = judgement.values(named.names)
                # A skipped score adds nothing to the sum, and neither does a failed one with ``on_failure: zero``.
                self._values[id(state)] = {n: 0.0 if v != v else v for n, v in values.items()}
            try:
                yield
            finally:
                for state in states:
                    del self._values[id(state)]

        async def _call_individual_reward_func(self, func: Any, state: Any) -> float:
            return self._values[id(state)][func.__name__]

        async def teardown(self) -> None:
            await super().teardown()
            named.close()

    return NamedClassicRubric()


def _model_turns(trace: Any) -> str | Messages:
    """Return the model's text in a trace, with its reasoning. Of several agents, return the root's reply."""
    if trace.root_reply is not None:
        return str(trace.root_reply)
    return [message.model_dump() for message in trace.assistant_messages]


def _rollout(state: Mapping[str, Any], names: Mapping[str, str]) -> Rollout:
    columns = {key: state.get(key) for key in ("answer", "info", "task", "example_id")}
    info = columns["info"]
    columns |= info if isinstance(info, Mapping) else {}
    completion = state["completion"]
    if not isinstance(completion, str):
        completion = [m if isinstance(m, Mapping) else m.model_dump() for m in completion]
    return Rollout(state["prompt"], completion, renamed(columns, names))


def _named(name: str) -> Callable[..., float]:
    """Return a stub of a reward function, from which verifiers takes a name."""

    def judged_by_the_rubric(**_: Any) -> float:
        raise AssertionError("the rubric judges, not its functions")

    judged_by_the_rubric.__name__ = name
    return judged_by_the_rubric
