"""An OpenAI-compatible endpoint: its address, its client, and the meaning of its failures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import TYPE_CHECKING, Any, Self

from guerdon import completion_text
from guerdon.data.messages import REASONING_KEYS
from guerdon.errors import GuerdonError, InfrastructureError, UsageError, library_of, one_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_CONNECTIONS = 1000
"""The most connections that the client opens. Further requests would wait and count as slow."""

_REFUSALS = frozenset({400, 413, 422, 451})
"""Statuses that concern one request: its content, its length, its options."""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class NoChoiceError(Exception):
    """An answer without choices. Gateways report errors this way, and so does a page that is not an API answer."""

    def __init__(self, answer: object) -> None:
        super().__init__(str(answer))
        self.body = getattr(answer, "error", None)


def choice_of(answer: Any) -> Any:
    """Return the one choice in an endpoint's answer.

    Raises:
        NoChoiceError: It has none.
    """
    choices = getattr(answer, "choices", None)
    if not choices:
        raise NoChoiceError(answer)
    return choices[0]


def whole_text(message: Any) -> str:
    """Return the text of a client's message, with the model's reasoning in tags before the rest."""
    turn = {key: getattr(message, key, None) for key in ("content", *REASONING_KEYS)}
    return completion_text([{"role": "assistant", **turn}])


def refusal(error: Exception) -> str | None:
    """Return the endpoint's message if it refuses only this request, or ``None`` for other errors."""
    if isinstance(error, NoChoiceError):
        return f"an answer without choices: {_said(error)}"
    return _said(error) if _status(error) in _REFUSALS else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible HTTP endpoint: vLLM, ``transformers serve``, a vendor's."""

    base_url: str
    """The URL up to and including the version: ``http://localhost:8000/v1``."""
    model: str
    """The model's name there."""
    api_key_env: str | None = None
    """The environment variable that holds the key, which must not be in a manifest; ``None`` for no key."""
    concurrency: int = 16
    """The most concurrent requests, up to 1,000."""
    max_retries: int = 5
    """The most retries of a request that met a full, slow or failing server.

    Each waits longer than the last, or as long as ``Retry-After`` says. A wait of more than two minutes is not made.
    """
    timeout_s: float = 600.0
    """Seconds for one attempt of one request."""

    def __post_init__(self) -> None:
        url, key, seconds = self.base_url, self.api_key_env, self.timeout_s
        for name, fits, what in (
            (
                "base_url",
                isinstance(url, str) and re.match(r"https?://[^/\s]", url),
                "one like http://localhost:8000/v1",
            ),
            ("model", isinstance(self.model, str) and self.model, "the model's name there"),
            ("api_key_env", key is None or (isinstance(key, str) and key), "an environment variable's name"),
            (
                "concurrency",
                _is_whole(self.concurrency) and 1 <= self.concurrency <= _CONNECTIONS,
                f"1 to {_CONNECTIONS}",
            ),
            ("max_retries", _is_whole(self.max_retries) and self.max_retries >= 0, "a whole number from 0"),
            (
                "timeout_s",
                isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < inf,
                "a number of seconds above 0",
            ),
        ):
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}: give {what}.")

    def __str__(self) -> str:
        return f"the endpoint {self.base_url} (model '{self.model}')"

    @classmethod
    def from_params(cls, params: Mapping[str, Any], **defaults: Any) -> Self:
        """Return the endpoint that a plugin's params describe, over the plugin's own defaults.

        Raises:
            ValueError: The params do not describe an endpoint.
        """
        try:
            return cls(**{**defaults, **params})
        except TypeError as error:
            raise ValueError(
                f"endpoint has {', '.join(params) or 'nothing'}: it takes "
                f"{', '.join(one.name for one in fields(cls))}, the first two always."
            ) from error

    def client(self) -> OpenAI:
        """Return a client for threads to share."""
        client: OpenAI = _openai().OpenAI(**self._options())
        return client

    def async_client(self) -> AsyncOpenAI:
        """Return a client for one event loop."""
        client: AsyncOpenAI = _openai().AsyncOpenAI(**self._options())
        return client

    def failure(self, error: Exception) -> GuerdonError:
        """Return an error of the client as an error of guerdon: of the endpoint, or of the request."""
        what, fix, kind = self._trouble(error)
        status = "" if _status(error) is None else f"{_status(error)} "
        again = ", and run the same command again" if kind is InfrastructureError else ""
        return kind(f"{self} {what}: {status}{_said(error)}. {fix}{again}.")

    def _trouble(self, error: Exception) -> tuple[str, str, type[GuerdonError]]:
        """Return the problem, the fix, and the error's class."""
        key = f"the key in {self.api_key_env}" if self.api_key_env else "a request without a key"
        match _status(error):
            case 401 | 403:
                fix = "Name the variable of a key that may use the model as api_key_env"
                return f"refuses {key}", fix, UsageError
            case 402:
                return f"has no credit left for {key}", "Pay for more", InfrastructureError
            case 404:
                fix = "Correct its name, which base_url with /models lists, or base_url, which ends with the version"
                return "does not know the model or the path", fix, UsageError
            case 429:
                fix = f"Lower concurrency ({self.concurrency}) or raise max_retries ({self.max_retries})"
                return "limits requests", fix, InfrastructureError
            case status if status in _REFUSALS:
                return "refuses the request", "Check the model's name, the options and the prompt", UsageError
            case int():
                return "fails", "Read its log, or wait", InfrastructureError
        if isinstance(error, NoChoiceError):
            fix = "Check that an OpenAI-compatible API is at base_url"
            return "answers without choices", fix, InfrastructureError
        if isinstance(error, _openai().APITimeoutError):
            fix = f"Raise timeout_s or lower concurrency ({self.concurrency})"
            return f"does not answer in {self.timeout_s:g} s", fix, InfrastructureError
        return "does not answer", "Start it or correct base_url", InfrastructureError

    def key(self) -> str:
        """Return the key; ``none`` without a variable, because the client requires one.

        Raises:
            UsageError: The variable is not set.
        """
        key = "none" if self.api_key_env is None else os.environ.get(self.api_key_env)
        if not key:
            raise UsageError(
                f"the environment variable {self.api_key_env}, which api_key_env names, is not set. Export it."
            )
        return key

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "api_key": self.key(),
            "max_retries": self.max_retries,
            "timeout": self.timeout_s,
        }


def _status(error: Exception) -> int | None:
    status: int | None = getattr(error, "status_code", None)
    return status


def _said(error: Exception) -> str:
    """Return the server's own message if there is one, else the client's, or its cause's."""
    body = getattr(error, "body", None)
    own = body.get("message") if isinstance(body, Mapping) else None
    return one_line(own or str(error.__cause__ or "") or error)[:300].rstrip(".")


def _openai() -> Any:
    with library_of("an OpenAI-compatible endpoint", extra="openai"):
        import openai
    return openai
