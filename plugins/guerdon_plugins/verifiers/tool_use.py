"""Whether the model called the right tools: names, arguments, order, and what was called in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Failure, Score
from guerdon.errors import library_of


class ToolUse:
    """Scores the calls of tools against the calls that a row expects.

    The score is the share of the expected calls that were made, in F1 with the calls that were not expected; 1 for
    exactly the expected calls. A call that failed counts as not made.

    The column ``expected_calls`` is a list of calls, each with ``name`` and, if they matter, ``arguments``. A value of
    an argument is the value itself, or ``{schema: {…}}`` with a JSON Schema that it must satisfy. Where an item of the
    list is itself a list, its calls belong into one turn, in any order (BFCL's parallel calls).

    Args:
        order: Whether the calls must be made in the order of the list.
        extra: Whether calls that are not expected are free.
    """

    audit_kind = "tool_use"

    def __init__(self, order: bool = True, extra: bool = False) -> None:
        self._order = order
        self._extra = extra

    def __call__(
        self, completion: str, tool_calls: Sequence[Mapping[str, Any]], expected_calls: Any
    ) -> Score:
        """Return the score of a rollout's calls."""
        try:
            steps = _steps(expected_calls)
        except (ValueError, TypeError) as error:
            return Score.failed(Failure.REFERENCE, f"expected_calls cannot be read: {error}")
        made = list(tool_calls)
        matched = _in_order(steps, made) if self._order else _in_any_order(steps, made)
        expected = sum(map(len, steps))
        surplus = 0 if self._extra else len(made) - matched
        value = 1.0 if expected + surplus == 0 else 2 * matched / (2 * matched + surplus + expected - matched)
        shown = ", ".join(f"{call['name']}({call['arguments']})" for call in made)
        return Score(
            value,
            answer=shown[:500],
            explanation=f"{matched} of {expected} expected calls, {len(made) - matched} others",
        )


def _steps(expected: Any) -> list[list[Mapping[str, Any]]]:
    """Return the expected calls by turn.

    Raises:
        ValueError: They are not as they should be.
    """
    if not isinstance(expected, list | tuple):
        raise ValueError(f"it is {expected!r:.60}, not a list of calls")
    steps = [list(step) if isinstance(step, list | tuple) else [step] for step in expected]
    for step in steps:
        for call in step:
            if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
                raise ValueError(f"{call!r:.60} is not a call with a 'name'")
            arguments = call.get("arguments")
            if arguments is not None and not isinstance(arguments, Mapping):
                raise ValueError(
                    f"the arguments of '{call['name']}' are {arguments!r:.60}, not names and values"
                )
            for value in (arguments or {}).values():
                if _is_schema(value):
                    _check_schema(value["schema"])
    return steps


def _in_order(steps: Sequence[Sequence[Mapping[str, Any]]], made: Sequence[Mapping[str, Any]]) -> int:
    """Return how many expected calls were made in order. Calls of one step share a turn."""
    turns: dict[int, list[Mapping[str, Any]]] = {}
    for call in made:
        turns.setdefault(call["turn"], []).append(call)
    left = [list(calls) for _, calls in sorted(turns.items())]
    matched = 0
    place = 0
    for step in steps:
        best, where = 0, place
        for number in range(place, len(left)):
            count = _pairs(step, left[number])
            if count > best:
                best, where = count, number
            if best == len(step):
                break
        if not best:
            continue
        matched += best
        left[where] = _after(step, left[where])
        place = where
    return matched


def _after(step: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the calls of a turn that come after those that a step needed."""
    open_calls = list(step)
    last = -1
    for number, call in enumerate(calls):
        found = next((one for one in open_calls if _fits(one, call)), None)
        if found is not None:
            open_calls.remove(found)
            last = number
    return list(calls[last + 1 :])


def _in_any_order(steps: Sequence[Sequence[Mapping[str, Any]]], made: Sequence[Mapping[str, Any]]) -> int:
    return _pairs([call for step in steps for call in step], made)


def _pairs(expected: Sequence[Mapping[str, Any]], made: Sequence[Mapping[str, Any]]) -> int:
    """Return the size of the largest matching of expected and made calls (Kuhn's algorithm)."""
    partner: dict[int, int] = {}

    def place(number: int, tried: set[int]) -> bool:
        for other, call in enumerate(made):
            if other in tried or not _fits(expected[number], call):
                continue
            tried.add(other)
            if other not in partner or place(partner[other], tried):
                partner[other] = number
                return True
        return False

    return sum(place(number, set()) for number in range(len(expected)))


def _fits(expected: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    if made["name"] != expected["name"] or made.get("failure") is not None:
        return False
    wanted = expected.get("arguments")
    if wanted is None:
        return True
    given = made["arguments"]
    if not isinstance(given, Mapping) or given.keys() != wanted.keys():
        return False
    return all(_same(value, given[name]) for name, value in wanted.items())


def _same(wanted: Any, given: Any) -> bool:
    return _satisfies(given, wanted["schema"]) if _is_schema(wanted) else _equal(wanted, given)


def _equal(wanted: Any, given: Any) -> bool:
    """Return whether two values of JSON are equal. Python takes ``true`` for 1, at any depth."""
    if isinstance(wanted, bool) or isinstance(given, bool):
        return wanted is given
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        return wanted.keys() == given.keys() and all(
            _equal(item, given[name]) for name, item in wanted.items()
        )
    if isinstance(wanted, list | tuple) and isinstance(given, list | tuple):
        return len(wanted) == len(given) and all(map(_equal, wanted, given))
    return bool(wanted == given)


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"schema"}


def _check_schema(schema: Any) -> None:
    validator = _validator()
    try:
        validator.check_schema(schema)
    except Exception as error:
        raise ValueError(f"{schema!r:.60} is not a JSON Schema: {str(error).splitlines()[0]}") from None


def _satisfies(value: Any, schema: Any) -> bool:
    try:
        return bool(_validator()(schema).is_valid(value))
    except (OverflowError, RecursionError):  # a huge number, or too many levels
        return False


def _validator() -> Any:
    with library_of("a JSON Schema in expected_calls", extra="tools"):
        from jsonschema import Draft202012Validator
    return Draft202012Validator
