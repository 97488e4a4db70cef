"""Evaluation: let models answer the same prompts, judge the answers by a rubric, and report tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from guerdon import Judgement, Model, Rollout, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import UsageError
from guerdon.rubric import Rubric, groups_for
from guerdon.sampling.own import FILE
from guerdon.sampling.sampling import Sampling
from guerdon.stage import Launch
from guerdon.text import self_corrections
from guerdon_plugins.shared.checks import check_all, check_columns_of_few_values
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.drawing import Drawing, Drawn, check_own, drawn
from guerdon_plugins.stages.sampling.engines import ChatFormat, Tools, lazy_engine
from guerdon_plugins.stages.sampling.generation import (
    check_counts,
    complete_all,
    rollout_of,
    warn_of_refused,
)
from guerdon_plugins.stages.sampling.inputs import check_inputs, prompt_rows
from guerdon_plugins.stages.sampling.judging import judging_beside
from guerdon_plugins.stages.sampling.measures import REWARD, Answered, Entries, Measures, measure
from guerdon_plugins.stages.sampling.tables import differences, evaluation, grouped
from guerdon_plugins.stages.sampling.thinking import Thinking, check_marks

_Arrived = Callable[[int, int, int, Completion], None]
"""Takes the numbers of the pass, 0 for the greedy one, of the prompt and of the sample, and the completion."""


class Evaluate:
    """Lets each model of ``init`` answer every prompt once greedily and in several samples.

    A prompt that is too long for a model is left out of its numbers, and counted as ``refused_prompts``.

    The table ``evaluation`` has one row per model. For each entry of the rubric it has the value of the greedy answer
    (``_greedy``) and the mean over the n samples (``_mean@n``: pass@1 with less noise). For verifiers it has the
    unbiased ``_pass@k``. If a verifier implements ``same_answer``, it has the value of the most frequent answer of a
    prompt's samples (``_maj@n``). It also has the samples' length in tokens, and the number of self-corrections in
    each; with tools, the number of calls in each, and of calls that failed. ``_low`` and ``_high`` are each number's
    95% interval, by a bootstrap over prompts.

    The table ``differences`` compares each model with one of them on the same prompts: the mean difference of each
    measure, its interval, and the p-value of a sign-flip test (``_p``).

    Args:
        num_generations: Samples per prompt.
        k: The numbers of samples k for which pass@k and best@k are estimated; by default ``num_generations``.
        best_by: An entry of the rubric, or several, or ``reward``: the values of the sample that it scores highest
            among k (``_best@k_by_<entry>``).
        vote_by: An entry of the rubric, or several, or ``reward``: majorities with its values as the votes' weights
            (``_maj@n_by_<entry>``).
        against: The model that the others are compared with; by default the first of ``init``.
        metrics_by: A column of the data, or several: a table ``by_<column>`` has the measures for each of its values.
        max_completion_length: The most tokens of a completion.
        temperature: The temperature of the samples. By default it is the model's own, from its
            ``generation_config.json``, and 1 if that sets none. The same holds for the next three, with no limit if it
            sets none.
        top_p: The top-p limit of the samples.
        top_k: The top-k limit of the samples; 0 for no limit.
        min_p: The min-p limit of the samples.
        per_device_eval_batch_size: Completions that transformers generates together; vLLM decides this itself.
        chat_template: A Jinja template, instead of the tokenizers' own.
        chat_template_kwargs: Other arguments of the chat template, such as ``enable_thinking``.
        vllm: Options of ``vllm.LLM``, ``{}`` for none: completes with vLLM's engine instead of transformers.
        max_tool_calling_iterations: The most turns of a completion that call tools.
        thinking: A budget of thinking (s1, arXiv:2501.19393), or several, which makes a sweep: ``max_tokens``,
            ``waits``, ``wait``, ``end``. Each model is evaluated with each budget. ``max_completion_length`` limits
            the answer after the thinking.

    Raises:
        ValueError: A param is out of range.
    """

    needs = ("model", "data", "rewards")
    distributed = True
    any_process_count = True
    uses_tools = True

    def __init__(
        self,
        num_generations: int = 4,
        k: int | Sequence[int] | None = None,
        best_by: str | Sequence[str] = (),
        vote_by: str | Sequence[str] = (),
        against: str | None = None,
        metrics_by: str | Sequence[str] = (),
        max_completion_length: int = 256,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        per_device_eval_batch_size: int = 64,
        chat_template: ChatTemplate | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        vllm: Mapping[str, Any] | None = None,
        max_tool_calling_iterations: int = 8,
        thinking: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        check_counts(
            num_generations=num_generations,
            max_completion_length=max_completion_length,
            per_device_eval_batch_size=per_device_eval_batch_size,
            max_tool_calling_iterations=max_tool_calling_iterations,
        )
        self._max_iterations = max_tool_calling_iterations
        if temperature == 0:
            raise ValueError(f"temperature is {temperature}: samples need more than 0.")
        self._longest = max_completion_length
        self._drawing = Drawing(temperature, top_p, top_k, min_p)
        self._count = num_generations
        self._ks = _ks(k, num_generations)
        self._best_by = _names(best_by)
        self._vote_by = _names(vote_by)
        self._against = against
        self._metrics_by = _names(metrics_by)
        self._batch_size = per_device_eval_batch_size
        self._chat_format = ChatFormat(chat_template, chat_template_kwargs or {})
        self._vllm = vllm
        budgets = [thinking] if isinstance(thinking, Mapping) else thinking
        self._budgets = [None] if budgets is None else [Thinking.from_params(one) for one in budgets]
        if not self._budgets:
            raise ValueError("thinking is an empty list: give a budget, or leave it out.")

    def preflight(
        self,
        rows: Sequence[Row],
        models: Sequence[Model],
        rewards: Sequence[str],
        tools: Sequence[str] = (),
    ) -> None:
        """Check the names, the prompts, the models and the engine, before a model is loaded."""
        longest = self._longest + max(budget.max_tokens if budget else 0 for budget in self._budgets)
        check_all(
            lambda: self._check_names(rewards, models),
            lambda: self._check_thinking(tools),
            lambda: check_marks(self._budgets, models),
            lambda: check_own(self._drawing, models, several=True),
            lambda: check_columns_of_few_values("metrics_by", self._metrics_by, rows),
            lambda: check_inputs(
                rows,
                models,
                chat_template=self._chat_format.template,
                vllm=self._vllm,
                tools=tools,
                max_completion_length=longest,
            ),
        )

    def _check_names(self, rewards: Sequence[str], models: Sequence[Model]) -> None:
        for param, names in (("best_by", self._best_by), ("vote_by", self._vote_by)):
            for name in names:
                if name not in (*rewards, REWARD):
                    raise UsageError(
                        f"{param} names '{name}', and the stage's rewards are {', '.join(rewards)}. Add it to the "
                        f"rewards, with weight 0 if it must not count, or give '{REWARD}' for the rubric's reward."
                    )
        labels = self._labels(models)
        if self._against is not None and labels and self._against not in labels:
            raise UsageError(
                f"against names '{self._against}', and the stage's models are {', '.join(labels)}. Give one of them."
            )

    def _check_thinking(self, tools: Sequence[str]) -> None:
        if tools and self._budgets != [None]:
            raise UsageError(
                f"thinking is set, and the stage has the tools {', '.join(tools)}: a budget covers one turn. Leave out "
                "one of the two."
            )

    def run(self, context: StageContext) -> StageResult:
        """Evaluate ``context.models`` on ``context.rows()`` with ``context``'s rubric."""
        if not context.models:
            raise UsageError(
                f"stage '{context.stage_id}' has no model to evaluate. Name them in init: [base, stage:<id>]."
            )
        rows = prompt_rows(context)
        samplings = self._drawn(context)
        with context.open_tools() as toolbox, context.open_rubric() as rubric:
            tools = None if toolbox is None else Tools(toolbox, self._max_iterations)
            if context.launch.first:
                return self._evaluate(context, rows, samplings, tools, rubric)
            for number, one in enumerate(samplings):
                self._rounds(context, rows, number, one.sampling, tools, rubric)
        return StageResult()

    def _drawn(self, context: StageContext) -> list[Drawn]:
        """Return how each model with each budget draws its samples."""
        budgets = len(self._budgets)
        return [
            drawn(
                self._drawing,
                self._longest,
                model,
                context.work / f"{number // budgets}-{FILE}",
                context.launch,
                several=True,
            )
            for number, (model, _) in enumerate(self._variants(context.models))
        ]

    def _evaluate(
        self,
        context: StageContext,
        rows: Sequence[Row],
        samplings: Sequence[Drawn],
        tools: Tools | None,
        rubric: Rubric,
    ) -> StageResult:
        labels = self._labels(context.models)
        measured: dict[str, Measures] = {}
        refused: dict[str, int] = {}
        entries = Entries(rubric)
        for number, label in enumerate(labels):
            rounds = self._rounds(context, rows, number, samplings[number].sampling, tools, rubric)
            warn_of_refused(rounds[:1] and [[done] for done in rounds[0]], 0)
            answers = _answers(context, rubric, rows, number, label, rounds)
            measured[label] = measure(answers, entries, self._count, self._ks, self._best_by, self._vote_by)
            refused[label] = sum(done.refused is not None for done in rounds[0])
        tables = {"evaluation": evaluation(measured, refused, context.seed)}
        if len(measured) > 1:
            against = self._against or labels[0]
            tables["differences"] = differences(measured, against, context.seed)
        for column in self._metrics_by:
            tables[f"by_{column}"] = grouped(measured, rows, column, context.seed)
        tables["sampling"] = [one.row(label) for label, one in zip(labels, samplings, strict=True)]
        return StageResult(metrics={"prompts": len(rows), "tables": tables})

    def _variants(self, models: Sequence[Model]) -> list[tuple[Model, Thinking | None]]:
        """Return each model with each budget."""
        return [(model, budget) for model in models for budget in self._budgets]

    def _labels(self, models: Sequence[Model]) -> list[str]:
        """Return the names of the models and budgets in the tables."""
        return _numbered(
            [f"{model.name}, {budget}" if budget else model.name for model, budget in self._variants(models)]
        )

    @contextmanager
    def _early(
        self, rows: Sequence[Row], rubric: Rubric, launch: Launch, answers: Path
    ) -> Iterator[_Arrived]:
        """Yield what takes one model's completions while others are generated, to judge them early."""

        def judge(judged: Sequence[tuple[int, Rollout]]) -> None:
            groups = groups_for(rubric, [prompt for prompt, _ in judged])
            rubric.score([rollout for _, rollout in judged], **groups, early=True)

        group_size = 1 + self._count  # the greedy answer belongs to it
        with judging_beside(rubric, launch, answers, judge, group_size) as judging:

            def arrived(index: int, prompt: int, sample: int, completion: Completion) -> None:
                if judging is not None:
                    refused = completion.refused is not None
                    item = None if refused else (prompt, rollout_of(rows[prompt], completion))
                    judging.submit(prompt, index + sample, item)

            yield arrived

    def _rounds(
        self,
        context: StageContext,
        rows: Sequence[Row],
        number: int,
        sampling: Sampling,
        tools: Tools | None,
        rubric: Rubric,
    ) -> list[list[Completion]]:
        """Return one model's completions of all prompts, greedy ones first, while the rubric judges them early.

        The log of a killed attempt is reused.
        """
        variants = self._variants(context.models)
        model, thinking = variants[number]
        prompts = [row["prompt"] for row in rows]
        passes = [(Sampling(self._longest, temperature=0), 1), (sampling, self._count)]
        total = len(rows) * len(passes) * len(variants)
        rounds: list[list[Completion]] = []
        answers = context.work / f"{number}-answers.json"
        with (
            self._early(rows, rubric, context.launch, answers) as arrived,
            lazy_engine(model, None, self._vllm, self._chat_format, tools, thinking) as engine,
        ):
            for index, (drawing, count) in enumerate(passes):
                before = len(rows) * (len(passes) * number + index)

                def report(done: int, before: int = before) -> None:
                    context.progress(before + done, total, {})

                groups = complete_all(
                    engine,
                    prompts,
                    drawing,
                    count,
                    batch_size=max(1, self._batch_size // count),
                    seed=context.seed * 10_007 + index,
                    log=context.work / f"{number}-{index}.jsonl",
                    progress=report,
                    rows=rows,
                    launch=context.launch,
                    arrived=partial(arrived, index),
                )
                rounds += map(list, zip(*groups, strict=True))
        return rounds


def _answers(
    context: StageContext,
    rubric: Rubric,
    rows: Sequence[Row],
    number: int,
    label: str,
    rounds: Sequence[Sequence[Completion]],
) -> list[Answered]:
    """Judge and log one model's completions, greedy ones first, and return them by prompt."""
    prompts = len(rows)
    completions = [completion for done in rounds for completion in done]
    rollouts = [rollout_of(rows[place % prompts], completion) for place, completion in enumerate(completions)]
    judgements = _judge(rubric, rollouts, completions, prompts)
    context.log_rollouts(
        number + 1,
        rollouts,
        judgements,
        model=[label] * len(rollouts),
        group=[place % prompts for place in range(len(rollouts))],
        greedy=[place < prompts for place in range(len(rollouts))],
    )
    answers = []
    for prompt in range(prompts):
        places = range(prompt + prompts, len(rollouts), prompts)
        there = [place for place in places if completions[place].refused is None]
        answers.append(
            Answered(
                judgements[prompt],
                [judgements[place] for place in there],
                [len(rollouts[place].completion_ids) for place in there],
                [self_corrections(rollouts[place].text) for place in there],
                [rollouts[place].calls for place in there],
            )
        )
    return answers


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


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the names of a table. A second model of one name, such as in another dtype, gets a number."""
    labels: list[str] = []
    for number, name in enumerate(names):
        before = names[:number].count(name)
        labels.append(f"{name} #{before + 1}" if before else name)
    return labels


def _names(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(dict.fromkeys(value))


def _ks(k: int | Sequence[int] | None, count: int) -> list[int]:
    """Return the wanted numbers of samples, in order.

    Raises:
        ValueError: One is not between 1 and the number of samples.
    """
    ks = [count] if k is None else [k] if isinstance(k, int) else sorted(set(k))
    for one in ks:
        if not 1 <= one <= count:
            raise ValueError(f"k is {one}: give 1 to num_generations, which is {count}.")
    return ks
