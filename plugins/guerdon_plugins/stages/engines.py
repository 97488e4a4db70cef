"""What completes prompts: a model in this process, in vLLM's engine, or behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from guerdon import Model
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.models import load_model, load_tokenizer, resolve_folder
from guerdon_plugins.endpoint import Endpoint
from guerdon_plugins.stages.generation import Completion, Engine, Prompt, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@contextmanager
def lazy_engine(
    model: Model | None,
    endpoint: Endpoint | None,
    vllm: Mapping[str, Any] | None,
    chat_template: str | None,
) -> Iterator[Callable[[], Engine]]:
    """The engine that a stage's params ask for, opened when it is first called for and closed at the block's end.

    Args:
        model: The model that the stage starts from; an endpoint has its own.
        endpoint: If given, the endpoint to ask.
        vllm: If given, the options of vLLM's engine.
        chat_template: Instead of the tokenizer's own.
    """

    @cache
    def engine() -> Engine:
        if endpoint is not None:
            return EndpointEngine(endpoint)
        assert model is not None
        if vllm is not None:
            return VllmEngine(model, vllm, chat_template)
        return TransformersEngine(model, chat_template)

    try:
        yield engine
    finally:
        if engine.cache_info().currsize:
            engine().close()


class TransformersEngine:
    """A model in this process. Small ones on CPU are sampled by guerdon's own loop, all others by ``generate``."""

    joint = True

    def __init__(self, model: Model, chat_template: str | None = None) -> None:
        import torch

        loaded: Any = load_model(model)
        self._model = loaded.eval().to(torch.accelerator.current_accelerator() or "cpu")
        self._tokenizer = load_tokenizer(model, chat_template=chat_template)

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, count: int, seeds: Sequence[int]
    ) -> Iterator[tuple[int, list[Completion]]]:
        import torch

        from guerdon.grpo.rollouts import obstacle

        prompt_ids = [_prompt_ids(self._tokenizer, prompt) for prompt in prompts for _ in range(count)]
        ends = _end_ids(self._model, self._tokenizer)
        torch.manual_seed(seeds[0])
        with torch.inference_mode():
            draw = self._generate if obstacle(self._model) else self._sample
            ids = draw(prompt_ids, sampling, ends)
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        done = [
            Completion(text, tokens, len(tokens), bool(tokens) and tokens[-1] in ends)
            for text, tokens in zip(texts, ids, strict=True)
        ]
        for position in range(len(prompts)):
            yield position, done[position * count : (position + 1) * count]

    def close(self) -> None:
        """Let go of the model."""
        del self._model

    def _sample(
        self, prompt_ids: Sequence[list[int]], sampling: Sampling, ends: Collection[int]
    ) -> list[list[int]]:
        from guerdon.grpo import rollouts

        options = rollouts.Sampling(
            max_new_tokens=sampling.max_completion_length,
            eos_token_ids=sorted(ends),
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
        )
        return rollouts.sample(self._model, prompt_ids, options)

    def _generate(
        self, prompt_ids: Sequence[list[int]], sampling: Sampling, ends: Collection[int]
    ) -> list[list[int]]:
        from transformers import GenerationConfig

        options: Any = GenerationConfig  # its constructor carries no types
        config = options(
            max_new_tokens=sampling.max_completion_length,
            eos_token_id=sorted(ends),
            pad_token_id=self._tokenizer.pad_token_id,
            **(
                {
                    "do_sample": True,
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    "top_k": sampling.top_k,
                }
                if sampling.temperature > 0
                else {"do_sample": False}
            ),
        )
        inputs = self._tokenizer.pad({"input_ids": list(prompt_ids)}, return_tensors="pt")
        inputs = inputs.to(self._model.device)
        output = self._model.generate(**inputs, generation_config=config)
        return [_until_end(row, ends) for row in output[:, inputs["input_ids"].shape[1] :].tolist()]


class VllmEngine:
    """A model in vLLM's offline engine.

    Raises:
        MissingDependencyError: vLLM is not installed.
    """

    joint = False

    def __init__(self, model: Model, options: Mapping[str, Any], chat_template: str | None = None) -> None:
        try:
            import vllm
        except ImportError:
            raise MissingDependencyError("the param 'vllm'", "vllm", "vllm") from None
        self._vllm: Any = vllm
        self._tokenizer = load_tokenizer(model, chat_template=chat_template)
        self._engine = vllm.LLM(
            **{"model": resolve_folder(model), "revision": model.revision, "dtype": model.dtype, **options}
        )

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, count: int, seeds: Sequence[int]
    ) -> Iterator[tuple[int, list[Completion]]]:
        params = [
            self._vllm.SamplingParams(
                n=count,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_completion_length,
                seed=seed,
            )
            for seed in seeds
        ]
        inputs = [{"prompt_token_ids": _prompt_ids(self._tokenizer, prompt)} for prompt in prompts]
        for position, output in enumerate(self._engine.generate(inputs, params, use_tqdm=False)):
            yield (
                position,
                [
                    Completion(
                        done.text, list(done.token_ids), len(done.token_ids), done.finish_reason == "stop"
                    )
                    for done in output.outputs
                ],
            )

    def close(self) -> None:
        """End vLLM's processes, which would keep the accelerator's memory from the next model."""
        self._engine.llm_engine.engine_core.shutdown()


class EndpointEngine:
    """A model behind an OpenAI-compatible endpoint: chat completions for conversations, completions for texts."""

    joint = False

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = endpoint.client()

    def complete(
        self, prompts: Sequence[Prompt], sampling: Sampling, count: int, seeds: Sequence[int]
    ) -> Iterator[tuple[int, list[Completion]]]:
        if sampling.top_k:
            raise UsageError("an endpoint has no top_k: OpenAI's protocol does not know it. Set top_k to 0.")
        with ThreadPoolExecutor(self._endpoint.concurrency) as threads:
            asked = {
                threads.submit(self._complete, prompt, sampling, count, seed): position
                for position, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
            }
            try:
                for answered in as_completed(asked):
                    yield asked[answered], answered.result()
            finally:
                threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _complete(self, prompt: Prompt, sampling: Sampling, count: int, seed: int) -> list[Completion]:
        return [self._complete_once(prompt, sampling, seed + number) for number in range(count)]

    def _complete_once(self, prompt: Prompt, sampling: Sampling, seed: int) -> Completion:
        import openai

        options: dict[str, Any] = {
            "model": self._endpoint.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_completion_length,
            "seed": seed,
        }
        try:
            answer: Any
            if isinstance(prompt, str):
                answer = self._client.completions.create(prompt=prompt, **options)
            else:
                messages: Any = list(prompt)
                answer = self._client.chat.completions.create(messages=messages, **options)
        except openai.OpenAIError as error:
            raise self._endpoint.failure(error) from error
        (choice,) = answer.choices
        text = choice.text if isinstance(prompt, str) else choice.message.content or ""
        tokens = answer.usage.completion_tokens if answer.usage else 0
        return Completion(text, (), tokens, choice.finish_reason == "stop")


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    template: Any = tokenizer.apply_chat_template
    ids: list[int] = (
        tokenizer(prompt)["input_ids"]
        if isinstance(prompt, str)
        else template(list(prompt), add_generation_prompt=True, return_dict=False)
    )
    return ids


def _end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    own = model.generation_config.eos_token_id
    ends = own if isinstance(own, list) else [own, tokenizer.eos_token_id]
    return {token for token in ends if token is not None}


def _until_end(ids: list[int], ends: Collection[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
