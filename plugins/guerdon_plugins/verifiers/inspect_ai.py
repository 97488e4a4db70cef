"""``inspect_ai``: a scorer of Inspect, by its import string."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from guerdon import Failure, Messages, Score
from guerdon.errors import library_of
from guerdon.plugins.objects import load_object
from guerdon.text import Part, checked_tags, select_part
from guerdon.types import message_text

_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's CORRECT, PARTIAL, INCORRECT and NOANSWER."""

_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""What Inspect's metrics also read, in any case of letters."""

_OF_THE_MODEL = frozenset({"invalid_response_format", "refusal", "no_response"})
"""The reasons of a score without a value that are the completion's, and not the scorer's."""

_ROLES = frozenset({"system", "user", "assistant", "tool"})


class InspectAI:
    """Scores a completion with a scorer of Inspect (inspect_ai).

    The scorer gets a state with the prompt, the completion's turns and the row's columns as metadata, and the column
    ``reference`` as target. Its value is read as Inspect's metrics read it: ``C`` is 1, ``P`` is 0.5, ``I`` and ``N``
    are 0. A score without a value is skipped if the reason is the completion's, and otherwise a failure.

    Args:
        scorer: The scorer's import string ``inspect_ai.scorer:match``, or a file ``./scorers.py:name``.
        args: The scorer's arguments: ``{location: end}``.
        part: The part of the completion that the scorer reads as the model's output: the answer, the reasoning, or the
            whole.
        component: For a scorer whose value is a mapping, the key that is the value. All keys are parts.
        values: For a scorer with texts of its own as values, their numbers: ``{good: 1, bad: 0}``.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
        base_dir: The folder that a scorer's file is relative to; given by the engine.

    Raises:
        MissingDependencyError: Inspect is not installed.
        PluginLoadError: The scorer does not import.
        ValueError: The object is not a scorer, or the scorer needs what only a solver of Inspect makes.
    """

    timeout_s = 300.0
    """The deadline of one verdict: a scorer may ask a model."""

    def __init__(
        self,
        scorer: str,
        args: Mapping[str, Any] | None = None,
        part: Part = "answer",
        component: str | None = None,
        values: Mapping[str, float] | None = None,
        reasoning_tags: Sequence[str] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        with library_of("verifier 'inspect_ai'", package="inspect_ai"):
            import inspect_ai.scorer  # noqa: F401
        self._made = partial(type(self), scorer, args, part, component, values, reasoning_tags, base_dir)
        self._score = _scorer(scorer, args or {}, base_dir)
        self._component = component
        self._values = dict(values or {})
        self._part: Part = part
        self._tags = checked_tags(reasoning_tags)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process makes it: a scorer is a local function, which does not pickle."""
        return self._made, ()

    async def __call__(
        self, completion: str, prompt: str | Messages, messages: Messages, **columns: Any
    ) -> Score:
        from inspect_ai.scorer import Target

        if columns.get("reference") in (None, []) or not str(columns["reference"]).strip():
            return Score.failed(
                Failure.REFERENCE,
                "the row has no reference, and an empty target pays any answer; for a scorer that reads none, give "
                "each row a text",
            )
        target = Target(_target(columns.get("reference")))
        state = task_state(select_part(completion, self._part, self._tags), prompt, messages, columns, target)
        return to_score(await self._score(state, target), self._component, self._values)


def _scorer(name: str, args: Mapping[str, Any], base_dir: Path | None) -> Any:
    """Return the scorer that a name means: the object itself, or what the object makes with the arguments."""
    from inspect_ai.scorer import choice

    found = load_object(name, base_dir)
    if found is choice:
        raise ValueError(
            f"scorer is '{name}', which reads marks that Inspect's solver multiple_choice makes; use the verifier "
            "'choice'"
        )
    if _is_scorer(found):
        if args:
            raise ValueError(f"args is {dict(args)}, but '{name}' is a scorer and takes none")
        return found
    made = found(**args) if callable(found) else None
    if not _is_scorer(made):
        raise ValueError(
            f"scorer is '{name}', which gives a {type(made).__name__}; name a function with @scorer, or an async "
            "function of a state and a target"
        )
    return made


def _is_scorer(found: Any) -> bool:
    called = found if inspect.isroutine(found) else getattr(found, "__call__", None)  # noqa: B004
    return not inspect.isclass(found) and inspect.iscoroutinefunction(called)


def task_state(
    output: str, prompt: str | Messages, messages: Messages, columns: Mapping[str, Any], target: Any
) -> Any:
    """Return Inspect's state of a sample after its solvers.

    Args:
        output: The model's final output.
        prompt: The row's prompt.
        messages: All turns of the completion. The last turn of the model has the output as its content.
        columns: The row's other columns.
        target: Inspect's target.
    """
    from inspect_ai.model import ChatMessage, ModelName, ModelOutput
    from inspect_ai.solver import TaskState
    from pydantic import TypeAdapter

    read = TypeAdapter(list[ChatMessage]).validate_python
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    said = list(messages)
    if said and said[-1]["role"] == "assistant":
        said[-1] = {**said[-1], "content": output}
    given = read([_turn(message) for message in asked])
    name = "guerdon/policy"
    return TaskState(
        model=ModelName(name),
        sample_id=str(columns.get("id", 0)),
        epoch=1,
        input=prompt if isinstance(prompt, str) else given,
        messages=given + read([_turn(message) for message in said]),
        target=target,
        output=ModelOutput.from_content(name, output),
        completed=True,
        metadata=dict(columns),
    )


def _turn(message: Mapping[str, Any]) -> dict[str, Any]:
    role = message["role"] if message["role"] in _ROLES else "user"
    turn = {"role": role, "content": message_text([message])}
    if role == "tool":
        turn |= {"tool_call_id": message.get("tool_call_id"), "function": message.get("name")}
    if calls := message.get("tool_calls"):
        turn["tool_calls"] = [_call(call, place) for place, call in enumerate(calls)]
    return turn


def _call(call: Mapping[str, Any], place: int) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments")
    known = isinstance(arguments, Mapping)
    return {
        "id": str(call.get("id", place)),
        "function": str(function.get("name", "")),
        "arguments": dict(arguments) if known else {},
        "parse_error": None if known else f"the arguments are {arguments!r}",
    }


def _target(reference: Any) -> str | list[str]:
    if isinstance(reference, list | tuple):
        return [str(one) for one in reference]
    return "" if reference is None else str(reference)


def to_score(given: Any, component: str | None = None, values: Mapping[str, float] | None = None) -> Score:
    """Return a score of Inspect as a score of guerdon.

    Args:
        given: What the scorer returned.
        component: The key of the value, where the scorer's value is a mapping.
        values: The numbers of texts.
    """
    if given is None:
        return Score.skipped("the scorer gives no score")
    if not hasattr(given, "value"):
        return _broken(f"the scorer returned a {type(given).__name__}; it must return a Score of Inspect")
    why = given.explanation or given.reason or ""
    if isinstance(given.value, float) and math.isnan(given.value):
        why = f"the scorer gives no value: {given.reason or 'without a reason'}. {given.explanation or ''}".strip()
        return Score.skipped(why) if given.reason in _OF_THE_MODEL else _broken(why)
    parts: dict[str, float] = {}
    value = given.value
    try:
        if isinstance(value, Mapping):
            parts = {name: _number(one, values) for name, one in value.items() if one is not None}
            if component is None or component not in value:
                keys = ", ".join(map(str, value))
                return _broken(
                    f"the scorer's value has the keys {keys}; name the one that counts in the param 'component'"
                )
            if value[component] is None:
                return Score.skipped(f"the scorer gives '{component}' no value")
            value = parts[component]
        elif component is not None:
            return _broken(f"the scorer's value has no keys, and the param 'component' is '{component}'")
        return Score(
            _number(value, values),
            answer=given.answer,
            explanation=why,
            metadata=given.metadata or {},
            parts=parts,
        )
    except ValueError as error:
        return _broken(f"the scorer's value cannot be a score: {error}")


def _number(value: Any, values: Mapping[str, float] | None) -> float:
    """Return the number of a value.

    Raises:
        ValueError: It has none. Inspect's own metrics would read it as 0.
    """
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str):
        known = {**_VALUES, **(values or {})}
        if value in known or value.lower() in _WORDS:
            return float(known.get(value, _WORDS.get(value.lower(), math.nan)))
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"the text {value!r} has no number; give it one in the param 'values'") from None
    raise ValueError(f"a {type(value).__name__} is not a number")


def _broken(why: str) -> Score:
    return Score.failed(Failure.VERIFIER, why)
