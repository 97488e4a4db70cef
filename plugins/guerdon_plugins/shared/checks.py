"""Shared by the preflights of the stages: checks of rows, batches and models that load nothing."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon import Model, Row
from guerdon.errors import (
    DataError,
    GuerdonError,
    InfrastructureError,
    MissingDependencyError,
    ParamsError,
    UsageError,
)
from guerdon.options.conflicts import installed
from guerdon.options.trl import GRPO, STAGE_DEFAULTS, generation_batch, tool_templates
from guerdon.types import message_text

_LONGEST = 64
"""The number of rows whose prompts are tokenized: those with the most characters."""

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len")


def check_all(*checks: Callable[[], object]) -> None:
    """Run all checks, and raise their errors together.

    Raises:
        GuerdonError: The error of the only check that failed.
        UsageError: Several failed; one line each.
        InfrastructureError: Several failed, all because something external is missing.
    """
    found: list[GuerdonError] = []
    for check in checks:
        try:
            check()
        except GuerdonError as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        outside = all(isinstance(error, InfrastructureError) for error in found)
        raise (InfrastructureError if outside else UsageError)("\n".join(map(str, found)))


def check_prompts(rows: Sequence[Row]) -> None:
    """Check that each row has a prompt, and that all are texts or all conversations.

    Raises:
        DataError: A row has none, an empty one, or one of another form.
    """
    for number, row in enumerate(rows):
        if "prompt" not in row:
            raise DataError(
                f"row {number} of the data has no 'prompt', only {', '.join(row) or 'nothing'}. "
                "Map its column to 'prompt' in the source's params."
            )
        prompt = row["prompt"]
        if not _is_prompt(prompt):
            raise DataError(
                f"the prompt of row {number} of the data is {prompt!r:.60}. Give text that is not empty, or a list of "
                "messages with 'role' and 'content'."
            )
        if isinstance(prompt, str) != isinstance(rows[0]["prompt"], str):
            raise DataError(
                f"the prompt of row {number} of the data has another form (text or conversation) than row 0's. "
                "Use sources of one form in a stage."
            )


MAX_GROUPS = 50
"""The most values of a column that metrics are broken down by."""


def check_columns_of_few_values(param: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Check that each column that a param names is there, and has few values.

    Raises:
        DataError: A column is not there, or has too many values.
    """
    for column in columns:
        if rows and not any(column in row for row in rows):
            known = {name for row in rows for name in row}
            raise DataError(
                f"{param} names the column '{column}', which no row has. Columns: {', '.join(sorted(known))}."
            )
        values = {str(row.get(column)) for row in rows}
        if len(values) > MAX_GROUPS:
            raise DataError(
                f"{param} names the column '{column}', which has {len(values)} values in {len(rows)} rows; at most "
                f"{MAX_GROUPS} are useful. Name a column of few values, such as the task."
            )


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return bool(prompt.strip())
    return (
        isinstance(prompt, list | tuple)
        and len(prompt) > 0
        and all(isinstance(message, Mapping) and {"role", "content"} <= message.keys() for message in prompt)
    )


def check_batch(count: int | None, options: Mapping[str, Any], *, fresh: bool = False) -> None:
    """Check that the rows fill one batch of generations.

    Args:
        count: The number of rows; ``None`` if unknown.
        options: GRPO's options that the manifest sets.
        fresh: Whether dynamic sampling needs rows in addition to those of a batch.

    Raises:
        DataError: The rows do not fill a batch, so TRL would train for no step at all, or leave no fresh prompts.
    """
    values = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_generations": 8}
    values |= {**STAGE_DEFAULTS[GRPO], **options}
    completions, group = generation_batch(values), values["num_generations"]
    needed = completions // group
    if count is not None and 0 < count < needed:
        raise DataError(
            f"there are {count} prompts, and one batch of generations takes {needed} ({completions} completions / "
            f"num_generations {group}). Give more rows, or lower per_device_train_batch_size or steps_per_generation."
        )
    if fresh and count == needed:
        raise DataError(
            f"dynamic_sampling has no fresh prompts: there are {count}, and one batch of generations takes all of "
            "them. Give more rows, or leave it out."
        )


def check_init(init: Sequence[str], count: int, roles: str = "the model to start from") -> None:
    """Check that ``init`` names as many models as the stage takes.

    Args:
        init: The names of the models.
        count: The number of models.
        roles: What the models are for, in their order.

    Raises:
        UsageError: It names more or fewer.
    """
    if init and len(init) != count:
        models = "1 model" if len(init) == 1 else f"{len(init)} models"
        raise UsageError(f"init names {models} ({', '.join(init)}), and the stage takes {count}: {roles}.")


def check_template(
    rows: Sequence[Row], models: Sequence[Model], chat_template: str | None, *, column: str = "prompt"
) -> None:
    """Check that a model for conversations has a chat template.

    Raises:
        UsageError: It has no chat template.
    """
    if chat_template is not None or not any(
        isinstance(row.get(column, row.get("messages")), list) for row in rows
    ):
        return
    for model in models:
        folder = Path(model.path)
        if _is_checkpoint(model) and not _has_template(folder):
            raise UsageError(
                f"the {column}s are conversations, and model '{model.name}' has no chat template. "
                "Set the param 'chat_template' to a Jinja template."
            )


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists() or (folder / "chat_template.json").exists():
        return True
    return "chat_template" in _json(folder / "tokenizer_config.json")


def check_lengths(rows: Sequence[Row], models: Sequence[Model], max_completion_length: int) -> None:
    """Check that prompts and completions fit into the models.

    Raises:
        UsageError: A prompt with its completion is longer than a model's positions.
    """
    for model in models:
        limit = _positions(model)
        if limit is None:
            continue
        if max_completion_length >= limit:
            raise UsageError(
                f"max_completion_length is {max_completion_length}, and model '{model.name}' has {limit} positions for "
                "the prompt and the completion. Lower it."
            )
        for number, tokens in _longest(rows, model):
            if tokens + max_completion_length > limit:
                raise UsageError(
                    f"the prompt of row {number} has {tokens} tokens; with a max_completion_length of "
                    f"{max_completion_length} that is more than the {limit} positions of model '{model.name}'. Lower "
                    "max_completion_length, or leave such rows out."
                )


def _positions(model: Model) -> int | None:
    if not _is_checkpoint(model):
        return None
    config = _json(Path(model.path) / "config.json")
    found = [config.get(name) or config.get("text_config", {}).get(name) for name in _LIMITS]
    return next((limit for limit in found if isinstance(limit, int)), None)


def _longest(rows: Sequence[Row], model: Model) -> Sequence[tuple[int, int]]:
    """Return the indices of the rows with the longest prompts, with each token count without a chat template."""
    file = Path(model.path) / "tokenizer.json"
    if not file.exists():
        return []
    from tokenizers import Tokenizer

    prompts = [
        (number, message_text(row["prompt"]))
        for number, row in enumerate(rows)
        if _is_prompt(row.get("prompt"))
    ]
    texts = ((len(text), number, text) for number, text in prompts)
    longest = heapq.nlargest(_LONGEST, texts)
    encoded = Tokenizer.from_file(str(file)).encode_batch([text for _, _, text in longest])
    lengths = [(number, len(one.ids)) for (_, number, _), one in zip(longest, encoded, strict=True)]
    return sorted(lengths, key=lambda pair: -pair[1])


def check_evaluation(rows: Sequence[Row], models: Sequence[Model], max_completion_length: int) -> None:
    """Check the prompts of the evaluation while a stage trains.

    Raises:
        DataError: A row has no prompt, or prompts have two forms.
        UsageError: A prompt with its completion is longer than a model's positions.
    """
    if not rows:  # the stage has no evaluation, or its data is not there yet
        return
    try:
        check_prompts(rows)
        check_lengths(rows, models, max_completion_length)
    except (DataError, UsageError) as error:
        raise type(error)(f"of the evaluation: {error}") from None


def check_vllm(vllm: Mapping[str, Any] | None) -> None:
    """Check that vLLM is installed if a stage requires it.

    Raises:
        MissingDependencyError: vLLM is not installed.
    """
    if vllm is not None and not installed("vllm"):
        raise MissingDependencyError("the param 'vllm'", "vllm", "vllm")


def _is_checkpoint(model: Model) -> bool:
    return model.gguf_file is None and (Path(model.path) / "config.json").is_file()


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_tool_prompts(rows: Sequence[Row], tools: Sequence[str]) -> None:
    """Check that prompts are conversations where the model may call tools.

    Raises:
        DataError: One is a text.
    """
    text = next((number for number, row in enumerate(rows) if isinstance(row.get("prompt"), str)), None)
    if tools and text is not None:
        raise DataError(
            f"row {text} has a text as its prompt, and a model that calls tools needs conversations. "
            "Set 'chat: true' in the source's params, if it has this param, or give prompts as "
            "[{role: user, content: text}]."
        )


def check_tool_template(models: Sequence[Model], chat_template: str | None, tools: Sequence[str]) -> None:
    """Check that the calls of tools in a model's text can be read, by its chat template or its tokenizer.

    Raises:
        UsageError: TRL does not know the template, and the tokenizer does not say how to read calls.
    """
    for model in models if tools and tool_templates() else ():
        folder = Path(model.path)
        if not _is_checkpoint(model):
            continue
        config = _json(folder / "tokenizer_config.json")
        template = chat_template or _template(folder, config)
        if template is None or template.strip() in tool_templates():
            continue
        if not {"response_template", "response_schema"} & set(config):
            raise UsageError(
                f"the stage has the tools {', '.join(tools)}, and TRL does not know the chat template of model "
                f"'{model.name}', so it cannot read calls. Set 'chat_template' to a template that TRL knows, such as "
                "Qwen3's, or give the tokenizer a 'response_template'."
            )


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Return a checkpoint's chat template, if it has just one."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    return template if isinstance(template, str) else None


def check_tool_engine(tools: Sequence[str], *engines: object) -> None:
    """Check that a stage with tools completes by a model in its own process.

    Raises:
        ParamsError: Another engine is set.
    """
    if tools and any(engine is not None for engine in engines):
        raise ParamsError(
            f"the stage has the tools {', '.join(tools)}, and vllm or endpoint is set, which call no tools here. "
            "Remove one of the two."
        )
