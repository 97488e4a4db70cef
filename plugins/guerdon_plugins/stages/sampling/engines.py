"""Engines that complete prompts: a model in this process, vLLM's engine, or an endpoint."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from guerdon import Model
from guerdon.errors import MissingDependencyError, StageFailedError, UsageError
from guerdon.models import load_model, load_tokenizer, local_device, resolve_folder
from guerdon.sampling.sampling import Sampling, end_ids, left_out, plain_generation, positions_of
from guerdon.tools import Conversation, Limits, Toolbox
from guerdon.types import completion_text
from guerdon_plugins.shared.endpoint import Endpoint, NoChoiceError, choice_of, refusal, whole_text
from guerdon_plugins.stages.sampling import vllm_seam
from guerdon_plugins.stages.sampling.generation import Answers, Completion, Draw, Engine, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How conversations become a model's text."""

    template: str | None = None
    """A Jinja template, instead of the tokenizer's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of the template, besides the messages."""


@contextmanager
def lazy_engine(
    model: Model | None,
    endpoint: Endpoint | None,
    vllm: Mapping[str, Any] | None,
    chat_format: ChatFormat = ChatFormat(),
    tools: Tools | None = None,
) -> Iterator[Callable[[], Engine]]:
    """Yield the engine that a stage's params select, opened at its first use and closed at the block's end.

    Args:
        model: The model that the stage starts from; an endpoint has its own.
        endpoint: If given, the endpoint to use.
        vllm: If given, the options of vLLM's engine.
        chat_format: How conversations become text.
        tools: If given, the tools that the model may call; only a model in this process may.
    """

    @cache
    def engine() -> Engine:
        if endpoint is not None:
            return EndpointEngine(endpoint, chat_format)
        assert model is not None
        if vllm is not None:
            return VllmEngine(model, vllm, chat_format)
        if tools is not None:
            return ToolEngine(model, tools, chat_format)
        return TransformersEngine(model, chat_format)

    try:
        yield engine
    finally:
        if engine.cache_info().currsize:
            engine().close()


class TransformersEngine:
    """A model in this process. guerdon's own loop samples small ones on CPU, ``generate`` all others."""

    joint = True

    def __init__(self, model: Model, chat_format: ChatFormat = ChatFormat()) -> None:

        loaded: Any = load_model(model)
        self._name = model.name
        self._model = loaded.eval().to(local_device())
        self._tokenizer = load_tokenizer(model, chat_template=chat_format.template)
        self._chat_format = chat_format
        if names := left_out(self._model.generation_config):
            logger.warning(
                "model '%s': of its generation_config only the end tokens count, and not %s",
                model.name, ", ".join(names),
            )  # fmt: skip

    def __str__(self) -> str:
        return f"model '{self._name}'"

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        import torch

        from guerdon.sampling.cpu_sampler import obstacle

        prompt_ids = _all_prompt_ids(self._tokenizer, draws, self._chat_format)
        ends = end_ids(self._model, self._tokenizer)
        fitting = yield from _refuse_too_long(prompt_ids, positions_of(self._model.config))
        if not fitting:
            return
        torch.manual_seed(draws[0].seed)
        draw = self._generate if obstacle(self._model) else self._sample
        with torch.inference_mode(), self._finite():
            ids = draw([prompt_ids[place] for place in fitting], replace(sampling, eos_token_ids=ends))
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        for place, text, tokens in zip(fitting, texts, ids, strict=True):
            yield place, Completion(text, tokens, len(tokens), bool(tokens) and tokens[-1] in ends)

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
            _until_end(row, sampling.eos_token_ids)[: None if positions is None else positions - len(ids)]
            for row, ids in zip(rows, prompt_ids, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a stage."""

    toolbox: Toolbox
    max_iterations: int
    """The most turns of a completion that call tools."""


class ToolEngine(TransformersEngine):
    """A model in this process that calls tools. A completion's length limit counts the tokens of all its turns."""

    def __init__(self, model: Model, tools: Tools, chat_format: ChatFormat = ChatFormat()) -> None:
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
        fitting = yield from _refuse_too_long(prompt_ids, positions)
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
        ends = end_ids(self._model, self._tokenizer)
        for place, one in zip(fitting, conversations if fitting else (), strict=True):
            yield place, _completion_of(one, ends)

    def _generated(
        self, prompts: Sequence[list[int]], sampling: Sampling
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        import torch

        from guerdon.sampling.cpu_sampler import obstacle

        draw = self._generate if obstacle(self._model) else self._sample
        ends = end_ids(self._model, self._tokenizer)
        with torch.inference_mode(), self._finite():
            return draw(list(prompts), replace(sampling, eos_token_ids=ends)), None


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
        chat_format: ChatFormat = ChatFormat(),
    ) -> None:
        try:
            import vllm
        except ImportError as error:
            raise MissingDependencyError("the param 'vllm'", "vllm", "vllm") from error
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
        prompt_ids = _all_prompt_ids(self._tokenizer, draws, self._chat_format)
        fitting = yield from _refuse_too_long(prompt_ids, vllm_seam.longest(self._engine))
        if not fitting:
            return
        # Each sample of a prompt is a separate request, as vLLM makes them of n too. Its prefix cache reads the prompt
        # once.
        outputs = vllm_seam.outputs_as_they_finish(
            self._engine,
            [prompt_ids[place] for place in fitting],
            [self._params(sampling, draws[place].seed) for place in fitting],
        )
        with closing(outputs):
            for number, done in outputs:
                ids = list(done.token_ids)
                finished = done.finish_reason == "stop"
                yield fitting[number], Completion(done.text, ids, len(ids), finished)

    def _params(self, sampling: Sampling, seed: int) -> Any:
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p or 0.0,
            max_tokens=sampling.max_completion_length,
            seed=seed,
        )

    def close(self) -> None:
        """Stop vLLM's processes, which would keep the accelerator's memory from the next model."""
        self._engine.llm_engine.engine_core.shutdown()


class EndpointEngine:
    """A model behind an OpenAI-compatible endpoint: chat completions for conversations, completions for texts."""

    joint = False

    def __init__(self, endpoint: Endpoint, chat_format: ChatFormat = ChatFormat()) -> None:
        self._endpoint = endpoint
        # The servers of vLLM and SGLang take the template's options in the request; others report an error.
        self._extra = {"chat_template_kwargs": dict(chat_format.options)} if chat_format.options else None
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


def _refuse_too_long(
    prompt_ids: Sequence[Sequence[int]], positions: int | None
) -> Generator[tuple[int, Completion], None, list[int]]:
    """Yield refusals of prompts that leave no position for a completion, and return the numbers of the other draws."""
    fitting = []
    for place, ids in enumerate(prompt_ids):
        if ids and (positions is None or len(ids) < positions):
            fitting.append(place)
            continue
        reason = f"the prompt has {len(ids)} tokens, and the model takes 1 to {(positions or 0) - 1}"
        yield (
            place,
            Completion("", [], 0, finished=False, refused=reason if ids else "the prompt has no tokens"),
        )
    return fitting


def _all_prompt_ids(
    tokenizer: PreTrainedTokenizerBase, draws: Sequence[Draw], chat_format: ChatFormat
) -> list[list[int]]:
    """Return the prompt ids of each draw. Samples of one prompt are adjacent, so it is tokenized once."""
    ids: list[list[int]] = []
    for number, draw in enumerate(draws):
        again = number > 0 and draw.prompt is draws[number - 1].prompt
        ids.append(ids[-1] if again else _prompt_ids(tokenizer, draw.prompt, chat_format))
    return ids


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, chat_format: ChatFormat) -> list[int]:
    template: Any = tokenizer.apply_chat_template
    ids: list[int] = (
        tokenizer(prompt)["input_ids"]
        if isinstance(prompt, str)
        else template(list(prompt), add_generation_prompt=True, return_dict=False, **chat_format.options)
    )
    return ids


def _until_end(ids: list[int], ends: Collection[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
