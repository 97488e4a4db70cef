"""The rewards of a ``Task``, as verifiers has them from 0.4."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Messages
from guerdon.text import split_reasoning
from guerdon.types import message_text


class TaskRewards:
    """The rewards and metrics of a class of tasks.

    Raises:
        ValueError: The task has no rewards, or its rewards need a container.
    """

    def __init__(self, task: Any, args: Mapping[str, Any], tags: Sequence[str]) -> None:
        self._task = task
        self._config = task.config_type()(**args)
        self._tags = tags
        probe = task(task.data_type().model_construct(), self._config)
        rewards = probe.hooks("reward")
        if not rewards and not probe.plugged_judges():
            raise ValueError(f"the task '{task.__name__}' has no rewards; name a class with methods @reward")
        boxed = [one.__name__ for one in (*rewards, *probe.hooks("metric")) if _needs_runtime(one)]
        if boxed or task.NEEDS_CONTAINER:
            raise ValueError(
                f"the task '{task.__name__}' needs a container{f' for {boxed[0]}' if boxed else ''}, and a verifier "
                "has only the completion; train on it with verifiers and guerdon's adapter for it"
            )

    async def score(
        self, prompt: str | Messages, messages: Messages, row: Mapping[str, Any]
    ) -> tuple[float, dict[str, float]]:
        """Return the weighted sum, and each reward's and metric's value."""
        data_type = self._task.data_type()
        fields = {name: row[name] for name in data_type.model_fields if name in row}
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        task = self._task(data_type(**{**fields, "prompt": prompt}), self._config)
        trace = self._trace(task, asked, messages)
        try:
            await task.score(trace)
        except Exception as error:
            if isinstance(error.__cause__, Exception):
                raise error.__cause__ from None  # the library wraps what a reward raises
            raise
        missing = [name for name, reward in trace.rewards.items() if reward is None]
        if missing:
            raise RuntimeError(f"the reward '{missing[0]}' gave no value")
        scores = {name: reward.score for name, reward in trace.rewards.items()}
        metrics = {name: value for name, value in trace.metrics.items() if value is not None}
        return math.fsum(reward.value for reward in trace.rewards.values()), {**metrics, **scores}

    def _trace(self, task: Any, asked: Messages, said: Messages) -> Any:
        """Return the trace of a rollout: the prompt's turns, then those of the completion, one after the other."""
        from verifiers.v1.configs.agent import AgentConfig
        from verifiers.v1.graph import MessageNode
        from verifiers.v1.trace import AgentInfo, Trace, TraceTask

        turns = [(turn, False) for turn in asked] + [(turn, turn["role"] == "assistant") for turn in said]
        nodes = [
            MessageNode(parent=place - 1 if place else None, message=self._message(turn), sampled=sampled)
            for place, (turn, sampled) in enumerate(turns)
        ]
        return Trace(
            task=TraceTask(type=type(task).__name__, data=task.data),
            agent=AgentInfo(config=AgentConfig()),
            nodes=nodes,
            is_completed=True,
            ok=True,
        )

    def _message(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        text = message_text([turn])
        if turn["role"] == "tool":
            return {"role": "tool", "tool_call_id": str(turn.get("tool_call_id", "")), "content": text}
        if turn["role"] != "assistant":
            return {"role": turn["role"], "content": text}
        reasoning, answer = split_reasoning(text, self._tags)
        thought = turn.get("reasoning_content") or reasoning
        calls = [_call(call, place) for place, call in enumerate(turn.get("tool_calls") or ())]
        return {
            "role": "assistant",
            "content": answer,
            "reasoning_content": thought or None,
            "tool_calls": calls or None,
        }


def _call(call: Mapping[str, Any], place: int) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": str(call.get("id", place)), "name": str(function.get("name", "")), "arguments": text}


def _needs_runtime(function: Any) -> bool:
    needed = inspect.signature(function).parameters.get("runtime")
    return needed is not None and needed.default is inspect.Parameter.empty
