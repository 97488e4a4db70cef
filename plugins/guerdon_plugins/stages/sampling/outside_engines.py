"""The engines outside transformers: vLLM in this process, and an endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from guerdon import Model
from guerdon.errors import library_of
from guerdon.models import load_tokenizer, resolve_folder
from guerdon.sampling.own import own_ends
from guerdon.sampling.sampling import Sampling, end_ids
from guerdon_plugins.shared.endpoint import Endpoint, NoChoiceError, choice_of, refusal, whole_text
from guerdon_plugins.stages.sampling import vllm_seam
from guerdon_plugins.stages.sampling.chat_prompts import (
    MODELS_OWN,
    ChatFormat,
    all_prompt_ids,
    refuse_too_long,
)
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.generation import Answers, Draw, seed_of
from guerdon_plugins.stages.sampling.thinking import Forcing, Marks, Part, Thinking
from guerdon_plugins.stages.sampling.vllm_seam import Request

__all__ = ["EndpointEngine", "VllmEngine", "VllmThinkingEngine"]


class VllmEngine:
    """A model in vLLM's offline engine.

    Raises:
        MissingDependencyError: vLLM is not installed.
    """

    joint = False

    def __init__(
        self,
        model: Model,
        options: Mapping[str, Any],
        chat_format: ChatFormat = MODELS_OWN,
    ) -> None:
        with library_of("the param 'vllm'", extra="vllm"):
            import vllm
        self._vllm: Any = vllm
        self._name = model.name
        self._tokenizer = load_tokenizer(model, chat_template=chat_format.template)
        self._chat_format = chat_format
        given = {"model": resolve_folder(model), "revision": model.revision, "dtype": model.dtype, **options}
        with vllm_seam.own_devices(options):
            self._engine = vllm.LLM(**given)

    def __str__(self) -> str:
        return f"model '{self._name}' in vLLM"

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        prompt_ids = all_prompt_ids(self._tokenizer, draws, self._chat_format)
        fitting = yield from refuse_too_long(prompt_ids, vllm_seam.longest(self._engine))
        # Each sample of a prompt is a separate request, as vLLM makes them of n too. Its prefix cache reads the prompt
        # once.
        requests = [
            Request(place, prompt_ids[place], self._params(sampling, draws[place].seed)) for place in fitting
        ]
        with closing(vllm_seam.outputs_as_they_finish(self._engine, requests)) as outputs:
            for place, done in outputs:
                ids = list(done.token_ids)
                yield place, Completion(done.text, ids, len(ids), done.finish_reason == "stop")

    def _params(self, sampling: Sampling, seed: int) -> Any:
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p or 0.0,
            max_tokens=sampling.max_completion_length,
            stop_token_ids=list(sampling.eos_token_ids),
            seed=seed,
        )

    def close(self) -> None:
        """Stop vLLM's processes, which would keep the accelerator's memory from the next model."""
        self._engine.llm_engine.engine_core.shutdown()


class VllmThinkingEngine(VllmEngine):
    """A model in vLLM's offline engine with a budget of thinking. ``max_completion_length`` limits the answer after it.

    Raises:
        MissingDependencyError: vLLM is not installed.
        UsageError: The budget's ``end`` is not one token.
    """

    def __init__(
        self,
        model: Model,
        options: Mapping[str, Any],
        thinking: Thinking,
        chat_format: ChatFormat = MODELS_OWN,
    ) -> None:
        # Before the engine, which takes long to start.
        tokenizer = load_tokenizer(model)
        self._thinking = thinking
        self._marks = Marks.of(thinking, model.name, partial(tokenizer.encode, add_special_tokens=False))
        self._ends = end_ids(own_ends(model), tokenizer)
        super().__init__(model, options, chat_format)

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        prompt_ids = all_prompt_ids(self._tokenizer, draws, self._chat_format)
        positions = vllm_seam.longest(self._engine)
        fitting = yield from refuse_too_long(prompt_ids, positions)
        forcing = Forcing(self._thinking, self._marks, sampling.max_completion_length, self._ends, positions)
        thoughts = {place: forcing.of(prompt_ids[place]) for place in fitting}
        begun: Counter[int] = Counter()

        def request(place: int, part: Part) -> Request:
            seed = draws[place].seed
            if begun[place]:  # with the first part's seed, its random numbers would repeat
                seed = seed_of(seed, begun[place])
            begun[place] += 1
            limits = replace(sampling, max_completion_length=part.tokens, eos_token_ids=sorted(part.ends))
            return Request(place, part.text, self._params(limits, seed))

        requests = [request(place, next(thought)) for place, thought in thoughts.items()]
        with closing(vllm_seam.outputs_as_they_finish(self._engine, requests)) as outputs:
            for place, done in outputs:
                try:
                    requests.append(request(place, thoughts[place].send(list(done.token_ids))))
                except StopIteration as end:
                    ids = end.value
                    (text,) = self._tokenizer.batch_decode([ids], skip_special_tokens=True)
                    yield place, Completion(text, ids, len(ids), ids[-1] in self._ends)


class EndpointEngine:
    """A model behind an OpenAI-compatible endpoint: chat completions for conversations, completions for texts."""

    joint = False

    def __init__(self, endpoint: Endpoint, chat_format: ChatFormat = MODELS_OWN) -> None:
        self._endpoint = endpoint
        # The servers of vLLM and SGLang take the template's options in the request; others report an error.
        self._extra = {"chat_template_kwargs": dict(chat_format.options)} if chat_format.options else None
        self._client = endpoint.client()

    def __str__(self) -> str:
        return str(self._endpoint)

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        failure: BaseException | None = None
        with ThreadPoolExecutor(self._endpoint.concurrency) as threads:
            asked = {
                threads.submit(self._complete, draw, sampling): position
                for position, draw in enumerate(draws)
            }
            try:
                for answered in as_completed(asked):
                    if answered.cancelled():
                        continue
                    if (error := answered.exception()) is None:
                        yield asked[answered], answered.result()
                    elif failure is None:
                        # No new requests are sent, but active ones cost money: they are awaited and their results are
                        # used.
                        failure = error
                        for request in asked:
                            request.cancel()
            finally:
                threads.shutdown(cancel_futures=True)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _complete(self, draw: Draw, sampling: Sampling) -> Completion:
        import openai

        drawing = {
            name: getattr(sampling, name) for name in ("temperature", "top_p") if name not in sampling.unset
        }
        options: dict[str, Any] = {
            "model": self._endpoint.model,
            **drawing,
            "max_tokens": sampling.max_completion_length,
            "seed": draw.seed,
        }
        try:
            answer: Any
            if isinstance(draw.prompt, str):
                answer = self._client.completions.create(prompt=draw.prompt, **options)
            else:
                messages: Any = list(draw.prompt)
                answer = self._client.chat.completions.create(
                    messages=messages, extra_body=self._extra, **options
                )
            choice = choice_of(answer)
        except (openai.OpenAIError, NoChoiceError) as error:
            if (reason := refusal(error)) is None:
                raise self._endpoint.failure(error) from error
            return Completion("", [], 0, finished=False, refused=reason)
        if choice.finish_reason == "content_filter":
            return Completion("", [], 0, finished=False, refused="content_filter")
        text = choice.text if isinstance(draw.prompt, str) else whole_text(choice.message)
        tokens = answer.usage.completion_tokens if answer.usage else 0
        return Completion(text, [], tokens, choice.finish_reason == "stop")
