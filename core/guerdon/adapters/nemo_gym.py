"""Adapter for NeMo Gym: a rubric as a resources server, which ``guerdon serve`` is.

```python
# resources_servers/guerdon/app.py, the entrypoint that NeMo Gym starts
from guerdon.adapters.nemo_gym import serve

serve("--manifest", "/data/zero.yaml", "--column", "reference=expected_answer")
```

The requests are converted to rollouts here, and the judgements to answers. ``guerdon.serve`` has the addresses.
"""

from __future__ import annotations

import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.adapters.named_rubric import renamed, reward_of
from guerdon.errors import DataError, UsageError, one_line
from guerdon.types import Judgement, Messages, Outcome, Rollout

__all__ = [
    "aggregate",
    "answer",
    "rollout",
    "serve",
]

CONFIG_VARIABLE, NAME_VARIABLE = "NEMO_GYM_CONFIG_DICT", "NEMO_GYM_CONFIG_PATH"
"""The environment variables from which a server of NeMo Gym reads the whole configuration and its own name in it."""

Turns: TypeAlias = list[dict[str, Any]]

_SIZES = ("--max-body", "1024", "--max-pending", "65536")
"""NeMo Gym sends all results of a collection to ``/aggregate_metrics`` in one body. It does not repeat a request that
is refused because too many wait."""

_LARGEST = 1e100
"""Numbers beyond this are left out of the statistics, because their squares would overflow."""

_FAILURE_CLASS = "_ng_failure_class"
"""NeMo Gym writes a result with this key to its file of failures, and samples it again when it resumes."""

_ADVICE = (
    "NeMo Gym raises this error, and no reward is used. Fix the cause and resume, give the entry 'on_failure: "
    "{retry: 2, then: skip}' or 'on_failure: zero' in the manifest, or serve with --unscored, which marks such "
    "rollouts."
)


def serve(*options: str) -> NoReturn:
    """Become ``guerdon serve`` at the address that NeMo Gym chose for this resources server.

    Args:
        options: Options of ``guerdon serve``, such as ``--manifest`` and ``--column``.

    Raises:
        UsageError: NeMo Gym did not start this process, or its configuration names no address.
    """
    host, port = _address(os.environ)
    command = ["-m", "guerdon", "serve", "--host", host, "--port", str(port), *_SIZES, *options]
    os.execv(sys.executable, [sys.executable, *command])


def _address(environment: Mapping[str, str]) -> tuple[str, int]:
    name, text = environment.get(NAME_VARIABLE), environment.get(CONFIG_VARIABLE)
    if name is None or text is None:
        raise UsageError(
            f"the environment has no {CONFIG_VARIABLE} and {NAME_VARIABLE}, so NeMo Gym did not start this process. "
            "Start it with 'gym env start', or start 'guerdon serve' yourself."
        )
    try:
        servers = YAML(typ="safe").load(text)[name]["resources_servers"]
        (server,) = servers.values()
        return str(server["host"]), int(server["port"])
    except (YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{CONFIG_VARIABLE} has no host and port of the resources server '{name}' ({type(error).__name__}: "
            f"{one_line(error)}). Give 'port' a number, or leave host and port to NeMo Gym."
        ) from None


def rollout(body: Mapping[str, Any], columns: Mapping[str, str]) -> Rollout:
    """Return the rollout in a request to ``/verify``.

    The columns are the row's fields other than ``responses_create_params``, and those in its ``verifier_metadata``.

    Args:
        body: The row, with the ``response`` of the model and of the agent's tools.
        columns: For each name that a verifier reads, the row's name: ``{"reference": "expected_answer"}``.

    Raises:
        DataError: The body has not the form of NeMo Gym's requests, or the row has no such column.
    """
    asked, response = body["responses_create_params"], body["response"]
    given = asked.get("input")
    prompt = given if isinstance(given, str) else _messages("responses_create_params.input", given)
    if asked.get("instructions"):
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        prompt = [{"role": "system", "content": str(asked["instructions"])}, *turns]
    completion = _messages("response.output", response.get("output"))
    if all(turn["role"] != "assistant" for turn in completion):  # the model said nothing, which is judged
        completion = [*completion, {"role": "assistant", "content": ""}]
    try:
        row = renamed(_columns(body), columns)
    except UsageError as error:
        raise DataError(str(error)) from None
    return Rollout(prompt, completion, row, broken=_broken(response))


def _columns(body: Mapping[str, Any]) -> dict[str, Any]:
    inner = body.get("verifier_metadata") or {}
    if not isinstance(inner, Mapping):
        raise DataError(f"verifier_metadata is {_kind(inner)}. Give it a mapping, or leave it out.")
    sent = {**body, **inner}
    apart = ("responses_create_params", "response")
    return {key: value for key, value in sent.items() if key not in apart and not key.startswith("_ng_")}


def _broken(response: Mapping[str, Any]) -> str | None:
    """Return why the model's server gave no full response, if it failed."""
    if not response.get("error") and response.get("status") not in ("failed", "cancelled"):
        return None
    return f"the model server's response has the status {response.get('status')}: {response.get('error')}"


def _messages(place: str, items: Any) -> Messages:
    """Return the items of OpenAI's Responses API as messages.

    Raises:
        DataError: They are not a list of items of known types.
    """
    if not isinstance(items, list):
        raise DataError(f"{place} is {_kind(items)}. Send the list of items of OpenAI's Responses API.")
    conversation = _Conversation()
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise DataError(f"{place}[{number}] is {_kind(item)}. Send an item of OpenAI's Responses API.")
        if not conversation.add(item):
            raise DataError(
                f"{place}[{number}] has the type '{item.get('type')}', so it is unknown which of its words are the "
                "model's. Known are message, reasoning, function_call and function_call_output."
            )
    return conversation.messages


class _Conversation:
    """Messages made of items. The reasoning, words and calls that follow each other are one turn of the assistant."""

    def __init__(self) -> None:
        self._turns: list[tuple[dict[str, Any], Turns]] = []
        self._results: dict[str, Turns] = {}

    @property
    def messages(self) -> Messages:
        """Return the turns, each with the results of its calls, in order."""
        return [message for turn, results in self._turns for message in (turn, *results)]

    def add(self, item: Mapping[str, Any]) -> bool:
        """Add an item, and return whether its type is known."""
        match item.get("type", "message"), item.get("role"):
            case "message", "assistant":
                self._extend("content", _text(item.get("content")))
            case "message", role:
                self._turns.append(({"role": str(role), "content": _text(item.get("content"))}, []))
            case "reasoning", _:
                self._extend("reasoning_content", _text(item.get("content")) or _text(item.get("summary")))
            case "function_call", _:
                turn, results = self._assistant(new=False)
                function = {"name": str(item.get("name")), "arguments": item.get("arguments")}
                called = str(item.get("call_id"))
                turn.setdefault("tool_calls", []).append(
                    {"id": called, "type": "function", "function": function}
                )
                self._results[called] = results
            case "function_call_output", _:
                called = str(item.get("call_id"))
                result = {"role": "tool", "tool_call_id": called, "content": _text(item.get("output"))}
                if called in self._results:  # a result follows the turn that made its call
                    self._results[called].append(result)
                else:
                    self._turns.append((result, []))
            case _:
                return False
        return True

    def _extend(self, key: str, text: str) -> None:
        last = self._turns[-1][0] if self._turns else {}
        spoke = bool(last.get("content") or last.get("tool_calls"))
        turn, _ = self._assistant(new=key == "reasoning_content" and spoke)
        turn[key] = f"{turn[key]}\n{text}" if turn.get(key) else text

    def _assistant(self, new: bool) -> tuple[dict[str, Any], Turns]:
        """Return the assistant's turn that the next item belongs to."""
        if new or not self._turns or self._turns[-1][0]["role"] != "assistant" or self._turns[-1][1]:
            self._turns.append(({"role": "assistant", "content": ""}, []))
        return self._turns[-1]


def _text(content: Any) -> str:
    """Return the text of a content: a string, or parts of which the texts and refusals count."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text", part.get("refusal")) for part in parts if isinstance(part, Mapping))
    return "".join(text for text in texts if isinstance(text, str))


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a value of type {type(value).__name__}"


def answer(
    body: Mapping[str, Any], judgement: Judgement, names: Sequence[str], unscored: float | None = None
) -> dict[str, Any]:
    """Return the answer to ``/verify``: the request, the reward, and the entries' values and scores.

    NeMo Gym and NeMo RL log each number of the answer by its key. So each entry has the keys ``guerdon/NAME``, null if
    it has no value, and ``guerdon/NAME/failed``. The key ``guerdon`` has the entries' scores as ``/score`` has them.

    A rollout without a reward that gets ``unscored`` is marked: NeMo Gym writes it to its file of failures, and NeMo RL
    leaves it out of the loss.

    Raises:
        InfrastructureError: There is no reward, because an external service is down, and ``unscored`` is not set.
        CheckFailedError: There is no reward for another reason, and ``unscored`` is not set.
    """
    reward = reward_of(judgement, unscored, _ADVICE)
    result = {**body, "reward": reward, "guerdon/unscored": int(judgement.reward is None)}
    for name in names:
        score = judgement.verdicts[name].score if name in judgement.verdicts else None
        result[f"guerdon/{name}"] = None if score is None else score.value
        result[f"guerdon/{name}/failed"] = None if score is None else int(score.outcome is Outcome.FAILED)
    result["guerdon"] = judgement.to_dict()["scores"]
    if judgement.reward is None:
        told = body.get("instance_config")
        result[_FAILURE_CLASS] = "unscored"
        result["failure_reason"] = judgement.why_unscored()
        result["instance_config"] = {**(told if isinstance(told, Mapping) else {}), "mask_sample": True}
    return result


def aggregate(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answer to ``/aggregate_metrics``: statistics of each number, over all results and for each task.

    The keys are those of NeMo Gym's own servers: ``mean/reward``, ``max/…``, ``min/…``, ``median/…``, ``std/…``. The
    reward of a result that is marked as a failure does not count.
    """
    tasks: dict[int, list[dict[str, float]]] = defaultdict(list)
    for result in results:
        tasks[result.get("_ng_task_index", 0)].append(_numbers(result))
    overall = _statistics(numbers for task in tasks.values() for numbers in task)
    return {
        "group_level_metrics": [
            {"_ng_task_index": task, "num_rollouts": len(tasks[task]), **_statistics(tasks[task])}
            for task in sorted(tasks)
        ],
        "agent_metrics": overall,
        "key_metrics": {
            key: value
            for key, value in overall.items()
            if key == "mean/reward" or key.startswith("mean/guerdon/")
        },
    }


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a result by name, and those of its usage of tokens."""
    response = result.get("response")
    usage = response.get("usage") if isinstance(response, Mapping) else None
    fields = {**result, **(usage if isinstance(usage, Mapping) else {})}
    if result.get(_FAILURE_CLASS) is not None:
        fields.pop("reward", None)
    return {
        key: float(value)
        for key, value in fields.items()
        if isinstance(value, int | float) and not key.startswith("_ng_") and abs(value) < _LARGEST
    }


def _statistics(rollouts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for numbers in rollouts:
        for key, value in numbers.items():
            values[key].append(value)
    found: dict[str, float] = {}
    for key, column in values.items():
        column.sort()
        middle = (column[(len(column) - 1) // 2] + column[len(column) // 2]) / 2
        mean = math.fsum(column) / len(column)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / max(len(column) - 1, 1))
        stats = {"mean": mean, "max": column[-1], "min": column[0], "median": middle, "std": spread}
        found |= {f"{name}/{key}": value for name, value in stats.items()}
    return found
