"""State filters as conditions of the index's queries."""

from __future__ import annotations

from typing import Any

from guerdon.index.filters import Filters
from guerdon.index.records import OUTCOMES, searchable
from guerdon.index.rows import Names
from guerdon.index.store import LINES

Condition = tuple[str, list[Any]]
"""A part of a query, with its parameters."""

ALL = "true"
"""The condition of all rollouts."""


def conditions(names: Names, filters: Filters, schema: str = "main") -> Condition:
    """Return the filters as an SQL condition with its parameters."""
    parts: list[str] = []
    given: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        parts.append(condition)
        given.extend(values)

    if filters.stage:
        first = names.stages.get(filters.stage, -1) * LINES
        # "+" leaves the index of steps or prompts to SQLite, which finds fewer rollouts there than in the stage
        one = filters.prompt or (filters.step_min is not None and filters.step_min == filters.step_max)
        add(f"{'+' if one else ''}id between ? and ?", first, first + LINES - 1)
    for column, number in (("model", filters.model), ("task", filters.task)):
        if number:
            known = names.models if column == "model" else names.tasks
            add(f"{column} = ?", known.get(number, -1))
    ranges = {
        "step": (filters.step_min, filters.step_max),
        "grp": (filters.group, filters.group),
        "reward": (filters.reward_min, filters.reward_max),
        "length": (filters.length_min, filters.length_max),
    }
    for column, (least, most) in ranges.items():
        if least is not None and least == most:
            add(f"{column} = ?", least)
            continue
        if least is not None:
            add(f"{column} >= ?", least)
        if most is not None:
            add(f"{column} <= ?", most)
    if filters.unscored:
        add("reward is null")
    if filters.prompt:
        add(f"prompt = (select prompt from {schema}.prompts where digest = ?)", bytes.fromhex(filters.prompt))
    if filters.prompt_text:
        matching = f"select rowid from {schema}.prompt_texts where prompt_texts match ?"
        add(f"prompt in ({matching})", phrase(filters.prompt_text))
    if filters.text:
        words, phrases = with_words(names, filters, schema)
        add(words, *phrases)
    _add_verdicts(names, filters, add)
    return " and ".join(parts) or ALL, given


def with_words(names: Names, filters: Filters, schema: str = "main") -> Condition:
    """Return the condition that a completion has the words of the filters."""
    each = [
        f"select rowid from {schema}.texts_{stage} where texts_{stage} match ?"
        for stage in stages_of(names, filters)
    ]
    return f"id in ({' union all '.join(each) or 'select null'})", [phrase(filters.text)] * len(each)


def stages_of(names: Names, filters: Filters) -> list[int]:
    """Return the numbers of the stages that the filters let through."""
    return [number for name, number in names.stages.items() if filters.stage in ("", name)]


def _add_verdicts(names: Names, filters: Filters, add: Any) -> None:
    codes = [
        code
        for code, name in enumerate(OUTCOMES)
        if (not filters.failure or name == f"failed: {filters.failure}")
        and (not filters.outcome or name.partition(":")[0] == filters.outcome)
    ]
    entry = names.entries.get(filters.entry)
    if filters.entry and entry is None:
        add("false")
    elif entry is not None:
        if filters.outcome or filters.failure:
            add(f"outcome_{entry} in ({', '.join(map(str, codes)) or 'null'})")
        if filters.value_min is not None:
            add(f"value_{entry} >= ?", filters.value_min)
        if filters.value_max is not None:
            add(f"value_{entry} <= ?", filters.value_max)
    elif filters.outcome or filters.failure:
        add("outcomes & ? != 0", sum(1 << code for code in codes))


def phrase(text: str) -> str:
    """Return words as a phrase of the full-text search, whose last word may be unfinished."""
    plain = "".join(letter for letter in searchable(text) if letter.isprintable())
    return '"' + plain.replace('"', '""') + '"*'
