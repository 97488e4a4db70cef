"""Check and read what the stages that sample complete: rows with prompts, for models that they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Model, Row, StageContext
from guerdon.errors import DataError
from guerdon_plugins.shared.checks import (
    check_all,
    check_lengths,
    check_prompts,
    check_template,
    check_tool_engine,
    check_tool_prompts,
    check_tool_template,
    check_vllm,
)

__all__ = ["check_inputs", "prompt_rows"]


def check_inputs(
    rows: Sequence[Row],
    models: Sequence[Model],
    *,
    chat_template: str | None,
    vllm: Mapping[str, Any] | None,
    endpoint: object = None,
    tools: Sequence[str] = (),
    max_completion_length: int,
) -> None:
    """Check the engine, the prompts and whether these fit the models, before a model is loaded.

    Args:
        rows: The rows whose prompts are completed.
        models: The models that complete here; none if an endpoint does.
        chat_template: The Jinja template of the stage's params.
        vllm: The options of vLLM, if it completes.
        endpoint: The endpoint, if one completes.
        tools: The names of the tools and environments.
        max_completion_length: The most tokens of a completion.

    Raises:
        GuerdonError: A check failed; the message has one line for each.
    """
    check_all(
        lambda: check_vllm(vllm),
        lambda: check_prompts(rows),
        lambda: check_tool_prompts(rows, tools),
        lambda: check_tool_engine(tools, vllm, endpoint),
        lambda: check_tool_template(models, chat_template, tools),
        lambda: check_template(rows, models, chat_template),
        lambda: check_lengths(rows, models, max_completion_length),
    )


def prompt_rows(context: StageContext) -> list[Row]:
    """Return the stage's rows.

    Raises:
        DataError: A row has no prompt.
    """
    rows = list(context.rows())
    for number, row in enumerate(rows):
        if "prompt" not in row:
            raise DataError(
                f"row {number} of the data of stage '{context.stage_id}' has no 'prompt', only "
                f"{', '.join(row) or 'nothing'}. Map its column to 'prompt' in the source's params."
            )
    return rows
