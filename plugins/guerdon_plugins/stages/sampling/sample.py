"""Rejection sampling: build a data set of the completions that pass a rubric and a second filter."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from guerdon import Model, Row, StageContext, StageResult
from guerdon.chat_template import ChatTemplate
from guerdon.errors import DataError, UsageError
from guerdon.files import replaced
from guerdon.rubric import Rubric, groups_for
from guerdon.rubric.early import early_names
from guerdon.sampling.own import FILE
from guerdon.stage import Launch
from guerdon_plugins.shared.checks import check_all
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.drawing import Drawing, Drawn, check_own, drawn
from guerdon_plugins.stages.sampling.engines import ChatFormat, Tools, lazy_engine
from guerdon_plugins.stages.sampling.generation import (
    Arrived,
    check_counts,
    complete_all,
    warn_of_refused,
)
from guerdon_plugins.stages.sampling.inputs import check_inputs, prompt_rows
from guerdon_plugins.stages.sampling.judging import judging_beside
from guerdon_plugins.stages.sampling.prompting import Prompting
from guerdon_plugins.stages.sampling.sampled import (
    Sampled,
    Text,
    drop_repeated,
    keep_best,
    sampled,
    samples_of,
)

SHARD_PROMPTS = 1000
"""The number of prompts whose completions are judged and written together."""

_Shard: TypeAlias = tuple[int, Sequence[Row], list[list[Completion]]]
"""The number of the first row, the rows, and the completions of each row's prompt."""


class Sample:
    r"""Lets a model complete every prompt several times and keeps the passing completions as data for SFT.

    A completion is dropped if it is refused (by an endpoint, or because its prompt is too long for the model), does not
    end, or repeats another one of its prompt. It is also dropped if a score is below ``keep``, or if it could not be
    judged. The remaining ones go through ``second_filter``, whose verifiers judge only these, which suits a judge
    model. Each prompt then keeps its best completions, by the rubric's reward.

    The data set's rows are the prompts' own rows (the prompt as it was, without ``template``, ``system`` or
    ``examples``) with a ``completion`` instead of ``messages`` or ``text``, and under ``provenance`` the model, the
    stage, the reward and the scores. The same manifest gives the same rows, however often it is killed and resumed.

    Args:
        keep: The least value of each verifier of the rubric, by its name there. A verifier that is not named only
            judges. A skipped score drops nothing.
        second_filter: The least value of each verifier that judges only the completions that pass ``keep``.
        max_per_prompt: The most completions of a prompt to keep, the best by reward: 1 is best-of-n.
        num_generations: Samples per prompt.
        max_completion_length: The most tokens of a completion.
        temperature: The temperature of the samples. By default it is the model's own, from its
            ``generation_config.json``, and 1 if that sets none; an endpoint's server decides it. The same holds for the
            next three, with no limit if it sets none.
        top_p: The top-p limit of the samples.
        top_k: The top-k limit of the samples; 0 for no limit.
        min_p: The min-p limit of the samples.
        per_device_eval_batch_size: Prompts that transformers completes together, each with all of its samples; vLLM and
            endpoints decide this themselves.
        template: The prompt's text for the model, with columns in braces: ``"Think step by step.\n{prompt}"``.
        system: A system message for the model.
        examples: Earlier turns for the model, few-shot: a ``prompt`` and a ``completion`` each.
        chat_template: A Jinja template, instead of the tokenizer's own.
        chat_template_kwargs: Other arguments of the chat template, such as ``enable_thinking``.
        vllm: Options of ``vllm.LLM``, ``{}`` for none: completes with vLLM's engine instead of transformers.
        endpoint: An OpenAI-compatible endpoint to complete with, instead of the model of ``init``: ``base_url``,
            ``model``, ``api_key_env`` (the environment variable with the key), ``concurrency``, ``max_retries``,
            ``timeout_s``.
        max_tool_calling_iterations: The most turns of a completion that call tools.

    Raises:
        ValueError: A param is out of range, or two contradict each other.
    """

    needs = ("data", "rewards")
    distributed = True
    any_process_count = True
    uses_tools = True

    def __init__(
        self,
        keep: Mapping[str, float],
        second_filter: Mapping[str, float] | None = None,
        max_per_prompt: int | None = None,
        num_generations: int = 4,
        max_completion_length: int = 256,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        per_device_eval_batch_size: int = 64,
        template: str | None = None,
        system: str | None = None,
        examples: Sequence[Mapping[str, str]] = (),
        chat_template: ChatTemplate | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        vllm: Mapping[str, Any] | None = None,
        endpoint: Mapping[str, Any] | None = None,
        max_tool_calling_iterations: int = 8,
    ) -> None:
        check_counts(
            num_generations=num_generations,
            max_completion_length=max_completion_length,
            per_device_eval_batch_size=per_device_eval_batch_size,
            max_per_prompt=max_per_prompt,
            max_tool_calling_iterations=max_tool_calling_iterations,
        )
        self._max_iterations = max_tool_calling_iterations
        if temperature == 0 and num_generations > 1:
            raise ValueError(f"temperature is {temperature}: several samples need more than 0.")
        if both := set(keep) & set(second_filter or ()):
            raise ValueError(f"{', '.join(sorted(both))} is in keep and in second_filter: name it once.")
        if vllm is not None and endpoint is not None:
            raise ValueError("vllm and endpoint are both given: one of them completes.")
        if endpoint is not None and (top_k is not None or min_p is not None):
            raise ValueError(
                "endpoint and top_k or min_p are given: OpenAI's protocol has neither. Leave top_k and min_p out."
            )
        self._keep = dict(keep)
        self._second_filter = dict(second_filter or {})
        self._max_per_prompt = max_per_prompt
        self._count = num_generations
        self._longest = max_completion_length
        self._drawing = Drawing(temperature, top_p, top_k, min_p)
        self._batch_size = per_device_eval_batch_size
        self._prompting = Prompting(template, system, examples)
        self._chat_format = ChatFormat(chat_template, chat_template_kwargs or {})
        self._vllm = vllm
        self._endpoint = None if endpoint is None else Endpoint.from_params(endpoint)

    def preflight(
        self,
        rewards: Sequence[str],
        rows: Sequence[Row],
        models: Sequence[Model],
        tools: Sequence[str] = (),
    ) -> None:
        """Check the filters, the prompts, the model and the engine, before a model is loaded.

        Raises:
            UsageError: A filter names no reward of the stage, or a prompt does not fit.
        """
        check_all(
            lambda: self._check_filters(rewards),
            lambda: check_inputs(
                rows,
                () if self._endpoint else models,
                chat_template=self._chat_format.template,
                vllm=self._vllm,
                endpoint=self._endpoint,
                tools=tools,
                max_completion_length=self._longest,
            ),
            lambda: check_own(self._drawing, () if self._endpoint else models, several=self._count > 1),
        )

    def _check_filters(self, rewards: Sequence[str]) -> None:
        unknown = sorted({*self._keep, *self._second_filter} - set(rewards))
        if unknown:
            raise UsageError(
                f"keep or second_filter names {', '.join(unknown)}, and the stage's rewards are {', '.join(rewards)}. "
                "Give a reward this 'name', or correct the param."
            )

    def run(self, context: StageContext) -> StageResult:
        """Sample for ``context.rows()`` and keep the completions that pass ``context``'s rubric."""
        rows = prompt_rows(context)
        if self._endpoint is not None and not context.launch.first:
            # The first process asks it alone, so that `concurrency` limits the whole stage.
            return StageResult()
        with context.open_rubric() as rubric, closing(self._shards(context, rows, rubric)) as shards:
            if context.launch.first:
                return self._keep_passing(context, rows, rubric, shards)
            for _ in shards:
                pass
        return StageResult()

    def _keep_passing(
        self, context: StageContext, rows: Sequence[Row], rubric: Rubric, shards: Iterable[_Shard]
    ) -> StageResult:
        """Write the samples that pass the rubric, and return what was counted."""
        self._check_filters(rubric.names)
        name = self._endpoint.model if self._endpoint else context.model.name
        counts: Counter[str] = Counter()
        prompts_kept = 0
        for shard, (start, part, groups) in enumerate(shards):
            warn_of_refused(groups, start)
            samples = list(samples_of(part, groups))
            self._judge(samples, rubric)
            _log(context, shard + 1, samples)
            kept = [sample for sample in samples if sample.dropped is None]
            _write(
                context.output / f"rows-{shard:05d}.jsonl",
                [sample.row(context.stage_id, name) for sample in kept],
            )
            counts.update(sample.dropped or "kept" for sample in samples)
            prompts_kept += len({sample.prompt for sample in kept})
        total = counts.total()
        table = [
            {"outcome": outcome, "samples": count, "share": count / total}
            for outcome, count in [("kept", counts.pop("kept", 0)), *counts.most_common()]
        ]
        if prompts_kept == 0:
            reasons = ", ".join(f"{line['outcome']}: {line['samples']}" for line in table[1:])
            raise DataError(
                f"stage '{context.stage_id}' keeps none of its samples ({reasons}). Ask for less in keep, sample more, "
                "or start from a better model; the rollouts' log says what each sample scored."
            )
        return StageResult(
            dataset=context.output,
            metrics={
                "rows": table[0]["samples"],
                "prompts": len(rows),
                "prompts_kept": prompts_kept,
                "tables": {"samples": table, "sampling": [self._drawn(context).row(name)]},
            },
        )

    def _shards(
        self, context: StageContext, rows: Sequence[Row], rubric: Rubric
    ) -> Generator[_Shard, None, None]:
        """Yield the rows in shards. Completions are judged early while others are generated."""
        model = None if self._endpoint else context.model
        launch = Launch() if self._endpoint else context.launch
        sampling = self._drawn(context).sampling
        answered = False
        with ExitStack() as stack:
            toolbox = stack.enter_context(context.open_tools())
            tools = None if toolbox is None else Tools(toolbox, self._max_iterations)
            engine = stack.enter_context(
                lazy_engine(model, self._endpoint, self._vllm, self._chat_format, tools)
            )
            for shard, start in enumerate(range(0, len(rows), SHARD_PROMPTS)):
                part = rows[start : start + SHARD_PROMPTS]

                def report(done: int, start: int = start) -> None:
                    context.progress(start + done, len(rows), {})

                answers = context.work / f"answers-{shard:05d}.json"
                with self._early(part, rubric, launch, answers) as arrived:
                    groups = complete_all(
                        engine,
                        [self._prompting(row, start + number) for number, row in enumerate(part)],
                        sampling,
                        self._count,
                        batch_size=self._batch_size,
                        seed=context.seed * 1_000_003 + shard,
                        log=context.work / f"completions-{shard:05d}.jsonl",
                        progress=report,
                        answered=answered,
                        rows=part,
                        launch=launch,
                        arrived=arrived,
                    )
                answered = answered or any(done.refused is None for group in groups for done in group)
                yield start, part, groups

    def _drawn(self, context: StageContext) -> Drawn:
        """Return how the samples are drawn."""
        if self._endpoint:
            return self._drawing.by_server(self._longest)
        file = context.work / FILE
        several = self._count > 1
        return drawn(self._drawing, self._longest, context.model, file, context.launch, several=several)

    @contextmanager
    def _early(self, rows: Sequence[Row], rubric: Rubric, launch: Launch, answers: Path) -> Iterator[Arrived]:
        """Yield what takes completions while others are generated, to judge them early."""
        seen: set[Text] = set()

        def judge(samples: Sequence[Sampled]) -> None:
            drop_repeated(samples, seen)
            self._filter(samples, rubric, early=True)

        with judging_beside(rubric, launch, answers, judge, self._count) as judging:

            def arrived(prompt: int, number: int, completion: Completion) -> None:
                if judging is not None:
                    sample = sampled(prompt, number, rows[prompt], completion)
                    judging.submit(prompt, number, sample if sample.dropped is None else None)

            yield arrived

    def _judge(self, samples: Sequence[Sampled], rubric: Rubric) -> None:
        """Give each sample its scores, and each dropped one its reason."""
        drop_repeated([sample for sample in samples if sample.dropped is None], set())
        self._filter(samples, rubric)
        if self._max_per_prompt is not None:
            keep_best([sample for sample in samples if sample.dropped is None], self._max_per_prompt)

    def _filter(self, samples: Sequence[Sampled], rubric: Rubric, *, early: bool = False) -> None:
        later = {*self._second_filter}
        later |= {e.name for e in rubric.entries if e.within is not None and e.within.name in later}
        rules = [name for name in rubric.names if name not in later]
        passes = [(rules, self._keep), (list(self._second_filter), self._second_filter)]
        if early and not early_names(rubric).issuperset(self._keep):
            passes.pop()  # which samples it gets is not known yet
        for names, least in passes:
            left = [sample for sample in samples if sample.dropped is None]
            if not names or not left:
                continue
            options = groups_for(rubric, [sample.prompt for sample in left])
            options |= {"early": True} if early else {}
            rollouts = [sample.rollout for sample in left]
            judgements = rubric.score(rollouts, names=names, **options)
            for sample, judgement in zip(left, judgements, strict=True):
                sample.judge(judgement, least)


def _log(context: StageContext, step: int, samples: Sequence[Sampled]) -> None:
    context.log_rollouts(
        step,
        [sample.rollout for sample in samples],
        [sample.judgement for sample in samples],
        group=[sample.prompt for sample in samples],
        sample=[sample.number for sample in samples],
        dropped=[sample.dropped for sample in samples],
        completion_tokens=[sample.tokens for sample in samples],
    )


def _write(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with (
        replaced(file) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace") as lines,
    ):
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
