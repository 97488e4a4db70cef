"""Ask a judge at an endpoint: one question, an answer of a known form, and another try after an invalid one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from guerdon import Failure, Score
from guerdon.deadline import current_deadline
from guerdon.errors import GuerdonError, InfrastructureError, one_line
from guerdon.types import total_usage
from guerdon_plugins.shared.endpoint import NoChoiceError, choice_of
from guerdon_plugins.verifiers.judge.limits import Admitted, JudgeEndpoint, Limiter
from guerdon_plugins.verifiers.judge.questions import Chat, correction

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_Result = TypeVar("_Result")

Spent = list[Mapping[str, float]]
"""What each answer consumed, in the order of arrival."""


class AnswerForm(Protocol):
    """The form of a judge's answer."""

    @property
    def max_tokens(self) -> int:
        """Return the most tokens that an answer of the form may have, by default."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema."""
        ...

    def read(self, text: str, asked: str = "") -> dict[str, Any]:
        """Return the object in a judge's answer to a question, or raise a ``ValueError`` that says what is wrong."""
        ...


class NoVerdictError(Exception):
    """The judge's answers cannot be read."""


class Asker:
    """A judge's endpoint with the conversation that precedes each question.

    Args:
        endpoint: The endpoint's params.
        tries: The most attempts to get a valid answer.
        sampling: Options of the request, by OpenAI's names.
        temperature: The temperature without ``sampling``.

    Raises:
        ValueError: A param is out of range.
    """

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        tries: int,
        sampling: Mapping[str, Any] | None,
        temperature: float = 0.0,
    ) -> None:
        if tries < 1:
            raise ValueError(f"tries is {tries}; it must be at least 1")
        self._endpoint = JudgeEndpoint.from_params(endpoint)
        self._endpoint.key()  # a variable that is not set is an error before the first completion
        self._tries = tries
        self._sampling = sampling
        self._temperature = temperature
        self._slots = asyncio.Semaphore(self._endpoint.concurrency)
        self._limiter = Limiter(self._endpoint.requests_per_minute, self._endpoint.tokens_per_minute)
        self._client: AsyncOpenAI | None = None
        self._structured = True

    async def preflight(self) -> None:
        """Raise if the endpoint does not respond, or refuses the model, the key or the options."""
        async with self._endpoint.async_client().with_options(max_retries=0) as client:
            import openai  # the endpoint has checked that it is installed

            try:
                answer = await client.chat.completions.create(
                    model=self._endpoint.model,
                    messages=[{"role": "user", "content": "Say yes."}],
                    **self._options(512),
                )
                choice_of(answer)
            except (openai.OpenAIError, NoChoiceError) as error:
                raise self._endpoint.failure(error) from error

    async def close(self) -> None:
        """Close the connections; another question opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ask(self, chat: Chat, form: AnswerForm, spent: Spent) -> dict[str, Any]:
        """Return the judge's verdict, and append what each answer consumed to ``spent``.

        Raises:
            NoVerdictError: It gives none.
            InfrastructureError: It cannot be reached.
            UsageError: It refuses the request.
        """
        problem = ""
        retry: Chat = []
        for _ in range(self._tries):
            answer, cut_off = await self._complete([*chat, *retry], form, spent)
            try:
                if cut_off:  # what it ends with may be a quote of the judged text
                    raise ValueError("it was cut off at the longest length")
                return form.read(answer, chat[-1]["content"])
            except ValueError as error:
                problem = one_line(error)
            retry = correction(answer, problem)
        raise NoVerdictError(
            f"the judge gave no verdict, asked {self._tries} times; of the last answer, {problem}: {answer[:200]!r}"
        )

    async def _complete(self, chat: Chat, form: AnswerForm, spent: Spent) -> tuple[str, bool]:
        """Return the answer, and whether it was truncated."""
        client = self._client = self._client or self._endpoint.async_client()
        import openai  # the endpoint has checked that it is installed

        options = {"model": self._endpoint.model, "messages": chat, **self._options(form.max_tokens)}
        async with self._admitted(options) as admitted:
            structured = self._structured
            try:
                try:
                    answer = await _request(client, options, form if structured else None)
                except (openai.BadRequestError, openai.UnprocessableEntityError):
                    if not structured:
                        raise
                    # The server may not support JSON Schema; the answer is checked in any case.
                    answer = await _request(client, options, None)
                    self._structured = False
                usage = self._endpoint.usage(answer)
                spent.append(usage)
                self._limiter.correct(admitted, usage)
                choice = choice_of(answer)
            except (openai.OpenAIError, NoChoiceError) as error:
                raise self._endpoint.failure(error) from error
        return choice.message.content or "", choice.finish_reason == "length"

    def _options(self, max_tokens: int) -> dict[str, Any]:
        if self._sampling is not None:
            return dict(self._sampling)
        return {"temperature": self._temperature, "max_tokens": max_tokens}

    @asynccontextmanager
    async def _admitted(self, options: Mapping[str, Any]) -> AsyncIterator[Admitted]:
        """Hold one of the endpoint's slots. The wait for it does not count against the verdict's deadline."""
        deadline = current_deadline()
        deadline.pause()
        try:
            await self._slots.acquire()
            try:
                length = sum(len(message["content"]) for message in options["messages"])
                longest = options.get("max_completion_tokens", options.get("max_tokens"))
                admitted = await self._limiter.admit(length, longest or 0)
            except BaseException:
                self._slots.release()
                raise
        finally:
            deadline.resume()
        try:
            yield admitted
        finally:
            self._slots.release()


async def _request(client: AsyncOpenAI, options: Mapping[str, Any], form: AnswerForm | None) -> Any:
    schema: dict[str, Any] = {}
    if form is not None:
        schema["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": form.schema()},
        }
    return await client.chat.completions.create(**options, **schema)


def failed(error: NoVerdictError | GuerdonError, spent: Spent) -> Score:
    """Return the failed score for an error of ``ask``, with what the answers before it consumed."""
    said = str(error) if isinstance(error, NoVerdictError) else f"{type(error).__name__}: {error}"
    kind = Failure.INFRASTRUCTURE if isinstance(error, InfrastructureError) else Failure.VERIFIER
    return replace(Score.failed(kind, said), usage=total_usage(spent))


async def together(calls: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Return the results of calls that run at once. The first error ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
