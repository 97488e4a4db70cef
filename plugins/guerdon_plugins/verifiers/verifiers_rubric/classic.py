"""The rewards of a ``Rubric``, as verifiers before 0.4 has them."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guerdon import Messages
from guerdon.data.json_values import brief, to_number


class ClassicRubric:
    """A rubric whose functions raise their errors.

    Raises:
        ValueError: A function compares the completions of a prompt, or the version of verifiers is unknown.
    """

    def __init__(self, rubric: Any) -> None:
        if any(getattr(one, "has_group_rewards", False) for one in _all(rubric)):
            raise ValueError(
                "the rubric has functions that compare the completions of a prompt, and a verifier sees one; "
                "name a rubric without them"
            )
        for one in _all(rubric):
            if not hasattr(one, "score_objects") or not hasattr(one, "_call_individual_reward_func"):
                raise ValueError("this version of verifiers is not supported; install 0.1.14 or later")
            one._call_individual_reward_func = _raising(one)
        self._rubric = rubric

    async def score(
        self, prompt: str | Messages, messages: Messages, row: Mapping[str, Any]
    ) -> tuple[float, dict[str, float]]:
        """Return the weighted sum and each function's value."""
        from verifiers.types import State

        given = {
            "prompt": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt),
            "answer": row.get("answer", ""),
            "info": _info(row.get("info")),
            "example_id": row.get("example_id", 0),
            **({"task": row["task"]} if "task" in row else {}),
        }
        more = {name: value for name, value in row.items() if name not in given}
        state = State(input={**more, **given}, **given, completion=list(messages), trajectory=[])
        await self._rubric.score_rollout(state)
        return state["reward"], dict(state["metrics"])


def _all(rubric: Any) -> Iterator[Any]:
    """Yield a rubric and those inside it: of a group of rubrics, and of a group of environments."""
    yield rubric
    for inner in getattr(rubric, "rubrics", ()):
        yield from _all(inner)
    for environment in getattr(rubric, "env_map", {}).values():
        yield from _all(environment.rubric)


def _raising(rubric: Any) -> Callable[..., Any]:
    """Return the rubric's method that calls a function, without its catch of all exceptions."""

    async def call(func: Callable[..., Any], state: Any) -> float:
        objects = rubric.score_objects(state)
        parameters = inspect.signature(func).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            objects = {name: value for name, value in objects.items() if name in parameters}
        returned = func(**objects)
        value = await returned if inspect.isawaitable(returned) else returned
        number = to_number(value)
        if number is None or not math.isfinite(number):
            raise TypeError(f"'{func.__name__}' returned {brief(value)}, which is not a finite number")
        return float(number)

    return call


def _info(info: Any) -> Any:
    """Return the row's further data, which the library also keeps as JSON."""
    if isinstance(info, str) and info.startswith("{"):
        return json.loads(info)
    return info or {}
