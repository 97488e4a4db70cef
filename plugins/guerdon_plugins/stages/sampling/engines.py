"""Engines that complete prompts: a model in this process, vLLM's engine, or an endpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from guerdon import Model
from guerdon.errors import StageFailedError
from guerdon.models import load_model, load_tokenizer, local_device
from guerdon.sampling.sampling import Sampling, end_ids, plain_generation, positions_of
from guerdon.tools import Conversation, Limits, Toolbox
from guerdon.types import completion_text
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.stages.sampling.chat_prompts import (
    MODELS_OWN,
    ChatFormat,
    all_prompt_ids,
    refuse_too_long,
    until_end,
)
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.generation import Answers, Draw, Engine
from guerdon_plugins.stages.sampling.outside_engines import EndpointEngine, VllmEngine, VllmThinkingEngine
from guerdon_plugins.stages.sampling.thinking import Forcing, Marks, Thinking, think

__all__ = [
    "ChatFormat",
    "EndpointEngine",
    "ThinkingEngine",
    "ToolEngine",
    "Tools",
    "TransformersEngine",
    "VllmEngine",
    "VllmThinkingEngine",
    "lazy_engine",
]


@contextmanager
def lazy_engine(
    model: Model | None,
    endpoint: Endpoint | None,
    vllm: Mapping[str, Any] | None,
    chat_format: ChatFormat = MODELS_OWN,
    tools: Tools | None = None,
    thinking: Thinking | None = None,
) -> Iterator[Callable[[], Engine]]:
    """Yield the engine that a stage's params select, opened at its first use and closed at the block's end.

    Args:
        model: The model that the stage starts from; an endpoint has its own.
        endpoint: If given, the endpoint to use.
        vllm: If given, the options of vLLM's engine.
        chat_format: How conversations become text.
        tools: If given, the tools that the model may call; only a model in this process may.
        thinking: If given, the budget of its thinking; not at an endpoint, and not with tools.
    """

    @cache
    def engine() -> Engine:
        if endpoint is not None:
            return EndpointEngine(endpoint, chat_format)
        assert model is not None
        if vllm is not None:
            if thinking is not None:
                return VllmThinkingEngine(model, vllm, thinking, chat_format)
            return VllmEngine(model, vllm, chat_format)
        if tools is not None:
            return ToolEngine(model, tools, chat_format)
        if thinking is not None:
            return ThinkingEngine(model, thinking, chat_format)
        return TransformersEngine(model, chat_format)

    try:
        yield engine
    finally:
        if engine.cache_info().currsize:
            engine().close()


class TransformersEngine:
    """A model in this process. guerdon's own loop samples small ones on CPU, ``generate`` all others."""

    joint = True

    def __init__(self, model: Model, chat_format: ChatFormat = MODELS_OWN) -> None:

        loaded: Any = load_model(model)
        self._name = model.name
        self._model = loaded.eval().to(local_device())
        self._tokenizer = load_tokenizer(model, chat_template=chat_format.template)
        self._chat_format = chat_format

    def __str__(self) -> str:
        return f"model '{self._name}'"

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        import torch

        prompt_ids = all_prompt_ids(self._tokenizer, draws, self._chat_format)
        ends = end_ids(self._model.generation_config.eos_token_id, self._tokenizer)
        fitting = yield from refuse_too_long(prompt_ids, positions_of(self._model.config))
        if not fitting:
            return
        torch.manual_seed(draws[0].seed)
        with torch.inference_mode(), self._finite():
            ids = self._completed(
                [prompt_ids[place] for place in fitting], replace(sampling, eos_token_ids=ends)
            )
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        for place, text, tokens in zip(fitting, texts, ids, strict=True):
            yield place, Completion(text, tokens, len(tokens), bool(tokens) and tokens[-1] in ends)

    def _completed(self, prompt_ids: Sequence[list[int]], sampling: Sampling) -> list[list[int]]:
        """Return the tokens of the completions of prompts that fit."""
        from guerdon.sampling.cpu_sampler import obstacle

        draw = self._generate if obstacle(self._model) else self._sample
        return draw(prompt_ids, sampling)

    @contextmanager
    def _finite(self) -> Iterator[None]:
        from guerdon.sampling.cpu_sampler import LogitsNotFiniteError

        try:
            yield
        except LogitsNotFiniteError as error:
            raise StageFailedError(
                f"the logits of {self} are NaN or infinite. Its weights are broken, or its dtype is too narrow."
            ) from error

    def close(self) -> None:
        """Release the model."""
        del self._model

    def _sample(self, prompt_ids: Sequence[list[int]], sampling: Sampling) -> list[list[int]]:
        from guerdon.sampling import cpu_sampler as rollouts

        return rollouts.sample(self._model, prompt_ids, sampling)

    def _generate(self, prompt_ids: Sequence[list[int]], sampling: Sampling) -> list[list[int]]:
        from transformers import GenerationConfig, LogitsProcessorList

        from guerdon.sampling.cpu_sampler import FiniteLogits

        options: Any = GenerationConfig  # its constructor carries no types
        drawn = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
        }
        config = options(
            max_new_tokens=sampling.max_completion_length,
            eos_token_id=list(sampling.eos_token_ids),
            pad_token_id=self._tokenizer.pad_token_id,
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
        )
        inputs = self._tokenizer.pad({"input_ids": list(prompt_ids)}, return_tensors="pt")
        inputs = inputs.to(self._model.device)
        finite = FiniteLogits()
        with plain_generation(self._model):
            output = self._model.generate(
                **inputs, generation_config=config, logits_processor=LogitsProcessorList([finite])
            )
        finite.check()
        positions = positions_of(self._model.config)
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            until_end(row, sampling.eos_token_ids)[: None if positions is None else positions - len(ids)]
            for row, ids in zip(rows, prompt_ids, strict=True)
        ]


class ThinkingEngine(TransformersEngine):
    """A model in this process with a budget of thinking. ``max_completion_length`` limits the answer after it."""

    def __init__(self, model: Model, thinking: Thinking, chat_format: ChatFormat = MODELS_OWN) -> None:
        super().__init__(model, chat_format)
        self._thinking = thinking
        self._marks = Marks.of(
            thinking, model.name, partial(self._tokenizer.encode, add_special_tokens=False)
        )

    def _completed(self, prompt_ids: Sequence[list[int]], sampling: Sampling) -> list[list[int]]:
        def generate(prompts: Sequence[list[int]], tokens: int, ends: Collection[int]) -> list[list[int]]:
            limits = replace(sampling, max_completion_length=tokens, eos_token_ids=sorted(ends))
            return super(ThinkingEngine, self)._completed(prompts, limits)

        forcing = Forcing(
            self._thinking,
            self._marks,
            sampling.max_completion_length,
            sampling.eos_token_ids,
            positions_of(self._model.config),
        )
        return think(generate, prompt_ids, forcing)


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a stage."""

    toolbox: Toolbox
    max_iterations: int
    """The most turns of a completion that call tools."""


class ToolEngine(TransformersEngine):
    """A model in this process that calls tools. A completion's length limit counts the tokens of all its turns."""

    def __init__(self, model: Model, tools: Tools, chat_format: ChatFormat = MODELS_OWN) -> None:
        from guerdon.training.tool_dialect import ToolDialect, prepare_tokenizer

        super().__init__(model, chat_format)
        self._tools = tools
        self._dialect = ToolDialect(
            self._tokenizer,
            tools.toolbox.stubs_of,
            prepare_tokenizer(self._tokenizer, model.name),
            chat_format.options,
        )

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        import torch

        from guerdon.tools import take_turns, with_observation

        toolbox = self._tools.toolbox
        sessions = toolbox.open([draw.row for draw in draws], [draw.seed for draw in draws])
        prompt_ids = [
            self._dialect.prompt_ids(with_observation(draw.prompt, session.observation), session)
            for draw, session in zip(draws, sessions, strict=True)
        ]
        positions = positions_of(self._model.config)
        fitting = yield from refuse_too_long(prompt_ids, positions)
        if fitting:
            torch.manual_seed(draws[0].seed)
            generate = partial(self._generated, sampling=sampling)
            first, _ = generate([prompt_ids[place] for place in fitting])
            conversations = [
                Conversation(
                    sessions[place],
                    prompt_ids[place],
                    list(ids),
                    [1] * len(ids),
                    [self._dialect.parse(ids, prompt_ids[place], sessions[place])],
                )
                for place, ids in zip(fitting, first, strict=True)
            ]
            limits = Limits(
                self._tools.max_iterations,
                sampling.max_completion_length,
                sys.maxsize if positions is None else positions,
            )
            take_turns(toolbox, conversations, generate, self._dialect, limits)
        toolbox.finish(sessions)
        ends = end_ids(self._model.generation_config.eos_token_id, self._tokenizer)
        for place, one in zip(fitting, conversations if fitting else (), strict=True):
            yield place, _completion_of(one, ends)

    def _generated(
        self, prompts: Sequence[list[int]], sampling: Sampling
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        import torch

        ends = end_ids(self._model.generation_config.eos_token_id, self._tokenizer)
        with torch.inference_mode(), self._finite():
            return self._completed(prompts, replace(sampling, eos_token_ids=ends)), None


def _completion_of(one: Conversation, ends: Collection[int]) -> Completion:
    session, ids = one.session, one.completion_ids
    return Completion(
        completion_text(one.messages),
        ids,
        sum(one.written),
        finished=bool(ids) and ids[-1] in ends and not one.messages[-1].get("tool_calls"),
        messages=one.messages,
        calls=[call.to_dict() for call in session.calls],
        environment=session.state,
        environment_reward=session.reward,
        broken=session.broken,
    )
