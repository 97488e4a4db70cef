"""What completes prompts: a model in this process, in vLLM's engine, or behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from guerdon import Model
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.models import load_model, load_tokenizer, local_device, resolve_folder
from guerdon_plugins.endpoint import Endpoint, NoChoiceError, choice_of, refusal, whole_text
from guerdon_plugins.stages.generation import Answers, Completion, Draw, Engine, Prompt, Sampling

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
        loaded: Any = load_model(model)
        self._model = loaded.eval().to(local_device())
        self._tokenizer = load_tokenizer(model, chat_template=chat_template)

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        import torch

        from guerdon.grpo.rollouts import obstacle

        prompt_ids = _all_prompt_ids(self._tokenizer, draws)
        ends = _end_ids(self._model, self._tokenizer)
        torch.manual_seed(draws[0].seed)
        with torch.inference_mode():
            draw = self._generate if obstacle(self._model) else self._sample
            ids = draw(prompt_ids, sampling, ends)
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        for position, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
            yield position, Completion(text, tokens, len(tokens), bool(tokens) and tokens[-1] in ends)

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

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        prompt_ids = _all_prompt_ids(self._tokenizer, draws)
        core = self._engine.llm_engine
        # Not LLM.generate, which gives nothing before it has everything. Samples of a prompt are requests of their own,
        # as vLLM makes them of n, too; its prefix cache reads the prompt once.
        requests: list[str] = self._engine.enqueue(
            [{"prompt_token_ids": ids} for ids in prompt_ids],
            [self._params(sampling, draw.seed) for draw in draws],
            use_tqdm=False,
        )
        # An output has the number that its request's name begins with.
        positions = {request.split("-")[0]: position for position, request in enumerate(requests)}
        try:
            while core.has_unfinished_requests():
                for output in core.step():
                    if output.finished:
                        (done,) = output.outputs
                        ids = list(done.token_ids)
                        finished = done.finish_reason == "stop"
                        yield positions[output.request_id], Completion(done.text, ids, len(ids), finished)
        finally:
            core.abort_request(requests, internal=True)  # those that are left when nobody asks for more

    def _params(self, sampling: Sampling, seed: int) -> Any:
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_completion_length,
            seed=seed,
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

    def __str__(self) -> str:
        return str(self._endpoint)

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        if sampling.top_k:
            raise UsageError("an endpoint has no top_k: OpenAI's protocol does not know it. Set top_k to 0.")
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
                        # Nothing new is asked, but what is under way is paid for: it is waited for and passed on.
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

        options: dict[str, Any] = {
            "model": self._endpoint.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_completion_length,
            "seed": draw.seed,
        }
        try:
            answer: Any
            if isinstance(draw.prompt, str):
                answer = self._client.completions.create(prompt=draw.prompt, **options)
            else:
                messages: Any = list(draw.prompt)
                answer = self._client.chat.completions.create(messages=messages, **options)
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


def _all_prompt_ids(tokenizer: PreTrainedTokenizerBase, draws: Sequence[Draw]) -> list[list[int]]:
    """Of each draw; the samples of a prompt stand one after another, and it is read once for all."""
    ids: list[list[int]] = []
    for number, draw in enumerate(draws):
        again = number > 0 and draw.prompt is draws[number - 1].prompt
        ids.append(ids[-1] if again else _prompt_ids(tokenizer, draw.prompt))
    return ids


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
