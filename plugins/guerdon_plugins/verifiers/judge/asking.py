"""Ask a judge at an endpoint: one question, an answer of a known form, and another try after an invalid one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from guerdon.errors import one_line
from guerdon_plugins.shared.endpoint import Endpoint, NoChoiceError, choice_of
from guerdon_plugins.verifiers.judge.questions import Chat, correction

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PATIENCE: Mapping[str, Any] = {"timeout_s": 120.0, "max_retries": 3}
"""Defaults of the endpoint's params, so that an endpoint that hangs fails before the verdict's deadline."""

SAMPLING: Mapping[str, Any] = {"temperature": 0.0, "max_tokens": 512}


class AnswerForm(Protocol):
    """The form of a judge's answer."""

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema."""
        ...

    def read(self, text: str) -> dict[str, Any]:
        """Return the object in a judge's answer, or raise a ``ValueError`` that says what is wrong."""
        ...


class NoVerdictError(Exception):
    """The judge's answers cannot be read."""


class Asker:
    """A judge's endpoint with the conversation that precedes each question.

    Args:
        endpoint: The endpoint's params.
        tries: The most attempts to get a valid answer.
        sampling: Options of the request, by OpenAI's names.

    Raises:
        ValueError: A param is out of range.
    """

    def __init__(self, endpoint: Mapping[str, Any], tries: int, sampling: Mapping[str, Any] | None) -> None:
        if tries < 1:
            raise ValueError(f"tries is {tries}; it must be at least 1")
        self._endpoint = Endpoint.from_params(endpoint, **PATIENCE)
        self._endpoint.key()  # a variable that is not set is an error before the first completion
        self._tries = tries
        self._sampling = SAMPLING if sampling is None else sampling
        self._slots = asyncio.Semaphore(self._endpoint.concurrency)
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
                    **self._sampling,
                )
                choice_of(answer)
            except (openai.OpenAIError, NoChoiceError) as error:
                raise self._endpoint.failure(error) from error

    async def close(self) -> None:
        """Close the connections; another question opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ask(self, chat: Chat, form: AnswerForm) -> dict[str, Any]:
        """Return the judge's verdict.

        Raises:
            NoVerdictError: It gives none.
            InfrastructureError: It cannot be reached.
            UsageError: It refuses the request.
        """
        problem = ""
        retry: Chat = []
        for _ in range(self._tries):
            answer, cut_off = await self._complete([*chat, *retry], form)
            try:
                return form.read(answer)
            except ValueError as error:
                problem = "it was cut off at the longest length" if cut_off else one_line(error)
            retry = correction(answer, problem)
        raise NoVerdictError(
            f"the judge gave no verdict, asked {self._tries} times; of the last answer, {problem}: {answer[:200]!r}"
        )

    async def _complete(self, chat: Chat, form: AnswerForm) -> tuple[str, bool]:
        """Return the answer, and whether it was truncated."""
        client = self._client = self._client or self._endpoint.async_client()
        import openai  # the endpoint has checked that it is installed

        async with self._slots:
            structured = self._structured
            try:
                try:
                    return await self._request(client, chat, form if structured else None)
                except (openai.BadRequestError, openai.UnprocessableEntityError):
                    if not structured:
                        raise
                # The server may not support JSON Schema; the answer is checked in any case.
                answer = await self._request(client, chat, None)
            except (openai.OpenAIError, NoChoiceError) as error:
                raise self._endpoint.failure(error) from error
            self._structured = False
            return answer

    async def _request(self, client: AsyncOpenAI, chat: Chat, form: AnswerForm | None) -> tuple[str, bool]:
        options: dict[str, Any] = {"model": self._endpoint.model, "messages": chat, **self._sampling}
        if form is not None:
            options["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": form.schema()},
            }
        answer: Any = await client.chat.completions.create(**options)
        choice = choice_of(answer)
        return choice.message.content or "", choice.finish_reason == "length"
