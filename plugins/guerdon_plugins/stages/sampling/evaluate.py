"""Evaluation: let models answer the same prompts, judge the answers by a rubric, and report one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any

from guerdon import Judgement, Model, Rollout, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import UsageError
from guerdon.rubric import Rubric, groups_for
from guerdon.sampling.sampling import Sampling
from guerdon.text import self_corrections
from guerdon_plugins.stages.sampling.engines import ChatFormat, Tools, lazy_engine
from guerdon_plugins.stages.sampling.generation import (
    Completion,
    check_counts,
    complete_all,
    rollout_of,
    tell_refused,
)
from guerdon_plugins.stages.sampling.inputs import check_inputs, prompt_rows

SameAnswer = Callable[[str, str], bool]
"""Whether two answers in a verifier's scores mean the same."""


class Evaluate:
    """Lets each model of ``init`` answer every prompt once greedily and in several samples.

    A prompt that is too long for a model is left out of its numbers, and counted as ``refused_prompts``.

    The table has one row per model. For each verifier of the rubric it has the value of the greedy answer (``_greedy``:
    pass@1) and the mean over the k samples (``_mean@k``: pass@1 with less noise). If the verifier implements
    ``same_answer``, it has the value of the most frequent answer of a prompt's samples (``_maj@k``). It also has the
    samples' length in tokens, and the number of self-corrections in each; with tools, the number of calls in each, and
    of calls that failed.

    Args:
        num_generations: Samples per prompt.
        max_completion_length: The most tokens of a completion.
        temperature: The temperature of the samples.
        top_p: The top-p limit of the samples.
        top_k: The top-k limit of the samples; 0 for no limit.
        per_device_eval_batch_size: Completions that transformers generates together; vLLM decides this itself.
        chat_template: A Jinja template, instead of the tokenizers' own.
        chat_template_kwargs: Other arguments of the chat template, such as ``enable_thinking``.
        vllm: Options of ``vllm.LLM``, ``{}`` for none: completes with vLLM's engine instead of transformers.
        max_tool_calling_iterations: The most turns of a completion that call tools.

    Raises:
        ValueError: A param is out of range.
    """

    needs = ("model", "data", "rewards")
    uses_tools = True

    def __init__(
        self,
        num_generations: int = 4,
        max_completion_length: int = 256,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        per_device_eval_batch_size: int = 64,
        chat_template: ChatTemplate | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        vllm: Mapping[str, Any] | None = None,
        max_tool_calling_iterations: int = 8,
    ) -> None:
        check_counts(
            num_generations=num_generations,
            max_completion_length=max_completion_length,
            per_device_eval_batch_size=per_device_eval_batch_size,
            max_tool_calling_iterations=max_tool_calling_iterations,
        )
        self._max_iterations = max_tool_calling_iterations
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: samples need more than 0.")
        greedy = Sampling(max_completion_length, temperature=0)
        sampled = Sampling(max_completion_length, temperature=temperature, top_p=top_p, top_k=top_k)
        self._passes = [(greedy, 1), (sampled, num_generations)]
        self._batch_size = per_device_eval_batch_size
        self._chat_format = ChatFormat(chat_template, chat_template_kwargs or {})
        self._vllm = vllm

    def preflight(self, rows: Sequence[Row], models: Sequence[Model], tools: Sequence[str] = ()) -> None:
        """Check the prompts, the models and the engine, before a model is loaded."""
        longest = max(sampling.max_completion_length for sampling, _ in self._passes)
        check_inputs(
            rows,
            models,
            chat_template=self._chat_format.template,
            vllm=self._vllm,
            tools=tools,
            max_completion_length=longest,
        )

    def run(self, context: StageContext) -> StageResult:
        """Evaluate ``context.models`` on ``context.rows()`` with ``context``'s rubric."""
        if not context.models:
            raise UsageError(
                f"stage '{context.stage_id}' has no model to evaluate. Name them in init: [base, stage:<id>]."
            )
        rows = prompt_rows(context)
        table = []
        with context.open_rubric() as rubric, context.open_tools() as toolbox:
            tools = None if toolbox is None else Tools(toolbox, self._max_iterations)
            same = _same_answer(rubric)
            for number, model in enumerate(context.models):
                rounds = self._rounds(context, rows, number, tools)
                tell_refused(rounds[:1] and [[done] for done in rounds[0]], 0)
                completions = [completion for done in rounds for completion in done]
                rollouts = [
                    rollout_of(rows[place % len(rows)], completion)
                    for place, completion in enumerate(completions)
                ]
                judgements = _judge(rubric, rollouts, completions, len(rows))
                context.log_rollouts(
                    number + 1,
                    rollouts,
                    judgements,
                    model=[model.name] * len(rollouts),
                    group=[place % len(rows) for place in range(len(rollouts))],
                    greedy=[place < len(rows) for place in range(len(rollouts))],
                )
                measured = _measure(rubric.names, same, rollouts, judgements, len(rows))
                refused = sum(done.refused is not None for done in rounds[0])
                table.append(
                    {"model": model.name, **measured, **({"refused_prompts": refused} if refused else {})}
                )
        return StageResult(metrics={"tables": {"evaluation": table}})

    def _rounds(
        self, context: StageContext, rows: Sequence[Row], number: int, tools: Tools | None
    ) -> list[list[Completion]]:
        """Return one model's completions of all prompts, greedy ones first. The log of a killed attempt is reused."""
        model = context.models[number]
        prompts = [row["prompt"] for row in rows]
        total = len(rows) * len(self._passes) * len(context.models)
        rounds: list[list[Completion]] = []
        with lazy_engine(model, None, self._vllm, self._chat_format, tools) as engine:
            for index, (sampling, count) in enumerate(self._passes):
                before = len(rows) * (len(self._passes) * number + index)

                def report(done: int, before: int = before) -> None:
                    context.progress(before + done, total, {})

                groups = complete_all(
                    engine,
                    prompts,
                    sampling,
                    count,
                    batch_size=max(1, self._batch_size // count),
                    seed=context.seed * 10_007 + index,
                    log=context.work / f"{number}-{index}.jsonl",
                    progress=report,
                    rows=rows,
                )
                rounds += map(list, zip(*groups, strict=True))
        return rounds


def _judge(
    rubric: Rubric, rollouts: Sequence[Rollout], completions: Sequence[Completion], prompts: int
) -> list[Judgement]:
    """Judge the completions. A prompt that is too long for the model has none, which does not count as wrong.

    The greedy answer and the samples of a prompt are one group.
    """
    there = [place for place, completion in enumerate(completions) if completion.refused is None]
    judgements = [Judgement(None, {}) for _ in rollouts]
    groups = groups_for(rubric, [place % prompts for place in there])
    scored = rubric.score([rollouts[place] for place in there], **groups)
    for place, judgement in zip(there, scored, strict=True):
        judgements[place] = judgement
    return judgements


def _same_answer(rubric: Rubric) -> dict[str, SameAnswer]:
    """Return the ``same_answer`` of each verifier that has one, by name."""
    components = {
        entry.name: entry.component for entry in rubric.entries if entry.component.kind == "verifier"
    }
    found = {name: one.member("same_answer", of=one.build()) for name, one in components.items()}
    same = {name: own for name, own in found.items() if own is not None}
    for entry in rubric.entries:  # the first member that can compare answers does it for its `first_of`
        within = getattr(entry, "within", None)
        if within is not None and entry.name in same:
            same.setdefault(within.name, same[entry.name])
    return same


def _measure(
    names: Sequence[str],
    same: Mapping[str, SameAnswer],
    rollouts: Sequence[Rollout],
    judgements: Sequence[Judgement],
    prompts: int,
) -> dict[str, float]:
    """Return the table's numbers for one model, whose first ``prompts`` rollouts are the greedy ones."""
    samples = len(rollouts) // prompts - 1
    metrics: dict[str, float] = {}
    for name in names:
        values = [_value(judgement, name) for judgement in judgements]
        groups = [judgements[prompts + i :: prompts] for i in range(prompts)]
        metrics |= _mean(f"{name}_greedy", values[:prompts])
        metrics |= _mean(f"{name}_mean@{samples}", values[prompts:])
        if name in same:
            votes = [_majority_value(group, name, same[name]) for group in groups]
            metrics |= _mean(f"{name}_maj@{samples}", votes)
    sampled = rollouts[prompts:]
    metrics["completion_tokens"] = fsum(len(rollout.completion_ids) for rollout in sampled) / len(sampled)
    calls = [call for rollout in sampled for call in rollout.calls or ()]
    if any(rollout.calls is not None for rollout in sampled):
        metrics["tool_calls"] = len(calls) / len(sampled)
        metrics["failed_tool_calls"] = sum(call.failure is not None for call in calls) / len(sampled)
    corrections = sum(self_corrections(rollout.text) for rollout in sampled)
    metrics["self_corrections"] = corrections / len(sampled)
    return metrics


def _value(judgement: Judgement, name: str) -> float | None:
    verdict = judgement.verdicts.get(name)
    return None if verdict is None else verdict.score.value


def _answer(judgement: Judgement, name: str) -> str | None:
    verdict = judgement.verdicts.get(name)
    return None if verdict is None else verdict.score.answer


def _majority_value(group: Sequence[Judgement], name: str, same: SameAnswer) -> float | None:
    """Return the value of a group's most frequent answer, or that of a missing answer if there is none."""
    given = [
        (answer, _value(judgement, name))
        for judgement in group
        if (answer := _answer(judgement, name)) is not None
    ]
    camps: list[list[tuple[str, float | None]]] = []
    for answer, value in given:
        for camp in camps:
            first, its_value = camp[0]
            # Answers with different values are different, even if a verifier without the reference takes them for the
            # same.
            if value == its_value and (answer == first or same(first, answer)):
                camp.append((answer, value))
                break
        else:
            camps.append([(answer, value)])
    return max(camps, key=len)[0][1] if camps else _value(group[0], name)


def _mean(name: str, values: Sequence[float | None]) -> dict[str, float]:
    """Return the mean of the judged values under a name, or nothing if there are none."""
    judged = [value for value in values if value is not None]
    return {name: fsum(judged) / len(judged)} if judged else {}
