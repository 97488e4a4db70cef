"""Evaluation: what any models make of the same prompts, judged by a rubric, in one table."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import fsum
from pathlib import Path
from typing import Any

import torch

from guerdon import Judgement, Model, Rollout, Row, StageContext, StageResult
from guerdon.errors import DataError, UsageError
from guerdon.grpo.records import record
from guerdon.models import load_model, load_tokenizer
from guerdon_plugins.stages.generation import Completion, Sampling, generate

SELF_CORRECTION = re.compile(
    r"\b(?:wait|hold on|on second thought|let me (?:see again|verify|reconsider|try again)"
    r"|(?:re-?|double-?)check(?:ing|ed)?|check again)\b"
    r"|等等|等一下|且慢|不对|重新|再(?:想|算|检查|看)|检查一下",
    re.IGNORECASE,
)
"""The words of somebody who goes back over a step."""


class Evaluate:
    """Lets each model of ``init`` answer every prompt: once greedily, and in several samples.

    The table has one row per model. For each verifier of the rubric it says the value of the greedy answer
    (``_greedy``: pass@1), the mean over the k samples (``_mean@k``: pass@1 too, with less noise) and, where the
    verifier tells what the answer is, the value of the answer that most of a prompt's samples give (``_maj@k``); then
    the samples' length in tokens, and how many words of self-correction each has.

    Args:
        num_generations: Samples per prompt.
        max_completion_length: Where completions are cut, in tokens.
        temperature: Of the samples.
        top_p: Of the samples.
        top_k: Of the samples; 0 for no limit.
        per_device_eval_batch_size: Prompts that are completed side by side.
        chat_template: A Jinja template, or a file that holds one, instead of the tokenizers' own.

    Raises:
        ValueError: A param is out of range.
    """

    needs = ("model", "data", "rewards")

    def __init__(
        self,
        num_generations: int = 4,
        max_completion_length: int = 256,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        per_device_eval_batch_size: int = 64,
        chat_template: str | None = None,
    ) -> None:
        for name, value in (
            ("num_generations", num_generations),
            ("max_completion_length", max_completion_length),
            ("per_device_eval_batch_size", per_device_eval_batch_size),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}: give 1 or more.")
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: samples need more than 0.")
        greedy = Sampling(max_completion_length, temperature=0)
        sampled = Sampling(max_completion_length, temperature, top_p, top_k)
        self._rounds = [greedy] + [sampled] * num_generations
        self._batch_size = per_device_eval_batch_size
        self._chat_template = chat_template

    def run(self, context: StageContext) -> StageResult:
        """Evaluate ``context.models`` on ``context.rows()`` with ``context``'s rubric."""
        if not context.models:
            raise UsageError(
                f"stage '{context.stage_id}' has no model to evaluate. Name them in init: [base, stage:<id>]."
            )
        rows = list(context.rows())
        for number, row in enumerate(rows):
            if "prompt" not in row:
                raise DataError(
                    f"row {number} of the evaluation data has no 'prompt', only {', '.join(row) or 'nothing'}. "
                    "Map the column that holds it to 'prompt' in the source's params."
                )
        table = []
        with context.open_rubric() as rubric:
            for number, model in enumerate(context.models):
                rounds = list(self._completions(context, rows, number))
                rollouts = [
                    _rollout(row, completion)
                    for done in rounds
                    for row, completion in zip(rows, done, strict=True)
                ]
                judgements = rubric.score(rollouts)
                context.log_rollouts(number, list(_records(model, rollouts, judgements, len(rows))))
                table.append({"model": model.name, **_measure(rubric.names, rollouts, judgements, len(rows))})
        return StageResult(metrics={"tables": {"evaluation": table}})

    def _completions(
        self, context: StageContext, rows: Sequence[Row], number: int
    ) -> Iterator[list[Completion]]:
        """One model's completions of all prompts, round by round. Rounds that a killed try has finished are read."""
        total = len(rows) * len(self._rounds) * len(context.models)
        done = len(rows) * len(self._rounds) * number
        loaded = None
        for index, sampling in enumerate(self._rounds):
            file = context.work / f"{number}-{index}.json"
            completions = _read(file)
            if completions is None:
                loaded = loaded or self._load(context.models[number])
                completions = []
                prompts = [row["prompt"] for row in rows]
                for batch in generate(
                    *loaded, prompts, sampling, self._batch_size, context.seed * 10_007 + index
                ):
                    completions += batch
                    context.progress(done + len(completions), total, {})
                _write(file, completions)
            done += len(rows)
            yield completions

    def _load(self, model: Model) -> tuple[Any, Any]:
        loaded: Any = load_model(model)
        device = torch.accelerator.current_accelerator() or torch.device("cpu")
        return loaded.to(device), load_tokenizer(model, chat_template=self._chat_template)


def _rollout(row: Row, completion: Completion) -> Rollout:
    columns = {name: value for name, value in row.items() if name != "prompt"}
    text: Any = completion.text
    if not isinstance(row["prompt"], str):
        text = [{"role": "assistant", "content": text}]
    return Rollout(row["prompt"], text, columns, completion.ids)


def _records(
    model: Model, rollouts: Sequence[Rollout], judgements: Sequence[Judgement], prompts: int
) -> Iterator[dict[str, Any]]:
    for index, (rollout, judgement) in enumerate(zip(rollouts, judgements, strict=True)):
        place = {"model": model.name, "group": index % prompts, "greedy": index < prompts}
        yield place | record(rollout, judgement)


def _measure(
    names: Sequence[str], rollouts: Sequence[Rollout], judgements: Sequence[Judgement], prompts: int
) -> dict[str, float]:
    """The table's numbers for one model, whose first ``prompts`` rollouts are the greedy ones."""
    samples = len(rollouts) // prompts - 1
    metrics: dict[str, float] = {}
    for name in names:
        values = [_value(judgement, name) for judgement in judgements]
        groups = [judgements[prompts + i :: prompts] for i in range(prompts)]
        metrics |= _mean(f"{name}_greedy", values[:prompts])
        metrics |= _mean(f"{name}_mean@{samples}", values[prompts:])
        if any(_answer(judgement, name) is not None for judgement in judgements):
            metrics |= _mean(f"{name}_maj@{samples}", [_majority_value(group, name) for group in groups])
    sampled = rollouts[prompts:]
    metrics["completion_tokens"] = fsum(len(rollout.completion_ids) for rollout in sampled) / len(sampled)
    corrections = sum(len(SELF_CORRECTION.findall(rollout.text)) for rollout in sampled)
    metrics["self_corrections"] = corrections / len(sampled)
    return metrics


def _value(judgement: Judgement, name: str) -> float | None:
    verdict = judgement.verdicts.get(name)
    return None if verdict is None else verdict.score.value


def _answer(judgement: Judgement, name: str) -> str | None:
    verdict = judgement.verdicts.get(name)
    return None if verdict is None else verdict.score.answer


def _majority_value(group: Sequence[Judgement], name: str) -> float | None:
    """The value of the answer that most of a group's rollouts give: that of a missing one where none gives any."""
    answers = [answer for judgement in group if (answer := _answer(judgement, name)) is not None]
    winner = Counter(answers).most_common(1)[0][0] if answers else None
    return next(_value(judgement, name) for judgement in group if _answer(judgement, name) == winner)


def _mean(name: str, values: Sequence[float | None]) -> dict[str, float]:
    """The mean of what was judged, under a name; nothing where nothing was."""
    judged = [value for value in values if value is not None]
    return {name: fsum(judged) / len(judged)} if judged else {}


def _write(file: Path, completions: Sequence[Completion]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps([[c.text, list(c.ids)] for c in completions]), encoding="utf-8")
    partial.replace(file)


def _read(file: Path) -> list[Completion] | None:
    if not file.exists():
        return None
    return [Completion(text, ids) for text, ids in json.loads(file.read_text(encoding="utf-8"))]
