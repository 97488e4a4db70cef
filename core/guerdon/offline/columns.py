"""Convert rows to rollouts and back: columns by other names, scores as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.data.columns import column
from guerdon.errors import DataError, UsageError, one_line
from guerdon.rubric import Rubric
from guerdon.types import Judgement, Rollout, ToolCall


def read_renames(columns: Sequence[str]) -> dict[str, str]:
    """Return the columns to read under other names, from ``NAME=COLUMN``, where COLUMN may be a path.

    Raises:
        UsageError: One is not of that form.
    """
    pairs = [text.partition("=") for text in columns]
    for name, equals, source in pairs:
        if not (name and equals and source):
            raise UsageError(f"--column {name} is not of the form NAME=COLUMN, such as reference=answer.")
    return {name: source for name, _, source in pairs}


def to_rollout(where: str, row: Mapping[str, Any], renames: Mapping[str, str]) -> Rollout:
    """Return the rollout of a row.

    A run's ``rollouts.jsonl`` has the data row's columns under ``columns``; they count as the row's columns.

    Raises:
        DataError: A column is missing or has an invalid value.
    """
    recorded = row.get("columns")
    columns = {**recorded, **row} if isinstance(recorded, dict) else dict(row)
    recorded = isinstance(recorded, dict)
    row = dict(columns)
    for name, source in renames.items():
        try:
            columns[name] = column(row, source)
        except LookupError as error:
            fix = (
                f"The names are swapped: write --column {source}={name}."
                if name in row
                else f"Name one of these with --column {name}=COLUMN."
            )
            raise DataError(f"{where}: {error}. {fix}") from None
    if "completion" not in columns:
        raise DataError(
            f"{where}: has no column 'completion'. Columns: {', '.join(row) or 'none'}. "
            "Name the one that holds completions with --column completion=NAME."
        )
    prompt, completion = columns.pop("prompt", ""), columns.pop("completion")
    if not (isinstance(completion, str) or _is_messages(completion)):
        raise DataError(
            f"{where}: completion is {completion!r:.200}; it must be text or a list of messages, "
            'such as [{"role": "assistant", "content": "text"}].'
        )
    if not isinstance(completion, str) and not any(turn.get("role") == "assistant" for turn in completion):
        roles = ", ".join(dict.fromkeys(str(turn.get("role")) for turn in completion)) or "no turns"
        raise DataError(
            f"{where}: completion has no turn of the role 'assistant', and only those are the model's own words. "
            f"Roles: {roles}."
        )
    tokens = columns.pop("completion_ids", None) or []
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise DataError(f"{where}: completion_ids is {tokens!r:.80}; it must be a list of token ids.")
    return Rollout(prompt, completion, columns, tokens, **(_recorded(where, columns) if recorded else {}))


def _recorded(where: str, columns: dict[str, Any]) -> dict[str, Any]:
    """Take what a run's record says about tools and the environment out of the columns.

    Raises:
        DataError: It is not as a run writes it.
    """
    calls, environment = columns.pop("tool_calls", None), columns.pop("environment", None)
    try:
        return {
            "calls": None if calls is None else [ToolCall.from_dict(call) for call in calls],
            "environment": None if environment is None else dict(environment),
            "environment_reward": columns.pop("environment_reward", None),
            "broken": columns.pop("broken", None),
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: tool_calls or environment is not as a run records it: {one_line(error)}. "
            "Remove these columns, or take the row from a run's rollouts.jsonl."
        ) from None


def checked_rollout(
    where: str, row: Mapping[str, Any], renames: Mapping[str, str], *rubrics: Rubric
) -> Rollout:
    """Return the rollout of a row, after checking the columns that the rubrics need.

    Raises:
        DataError: A column is missing or has an invalid value.
    """
    rollout = to_rollout(where, row, renames)
    try:
        for rubric in rubrics:
            rubric.check(rollout)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return rollout


def _is_messages(value: Any) -> bool:
    """Return whether these are messages, each with text, typed blocks or nothing as its content."""
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        return False
    contents = [message.get("content") for message in value]
    return all(
        content is None
        or isinstance(content, str)
        or (isinstance(content, list) and all(isinstance(block, dict) for block in content))
        for content in contents
    )


def score_columns(judgement: Judgement) -> dict[str, Any]:
    """Return the columns that scoring adds to a row: ``reward``, and ``scores`` by verifier."""
    return judgement.to_dict()


def read_judgement(where: str, row: Mapping[str, Any]) -> Judgement:
    """Return the judgement that :func:`score_columns` wrote.

    Raises:
        DataError: The row has not been scored.
    """
    try:
        scores, reward = row["scores"], row["reward"]
        if isinstance(scores, str):  # from Parquet and CSV
            scores = json.loads(scores)
        if isinstance(reward, str):  # from CSV
            reward = float(reward) if reward else None
        return Judgement.from_dict({"reward": reward, "scores": scores})
    except (KeyError, ValueError, TypeError, AttributeError):
        raise DataError(
            f"{where}: has no columns 'reward' and 'scores' as 'guerdon score -o' writes them. Score the file first."
        ) from None
