"""An OpenAI-compatible endpoint: where it is, how to ask it, and what its failures mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guerdon import completion_text
from guerdon.data.messages import REASONING_KEYS
from guerdon.errors import GuerdonError, InfrastructureError, MissingDependencyError, UsageError, one_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_CONNECTIONS = 1000
"""That the client opens at most; more requests would wait for one of them, and count as slow."""

_REFUSALS = frozenset({400, 413, 422, 451})
"""Statuses that speak of one request: its content, its length, its options."""


class NoChoiceError(Exception):
    """An answer without choices: gateways report errors so, and pages that are no API answer so."""

    def __init__(self, answer: object) -> None:
        super().__init__(str(answer))
        self.body = getattr(answer, "error", None)


def choice_of(answer: Any) -> Any:
    """The one choice in an endpoint's answer.

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
    """What the endpoint says if it refuses this one request and may well answer others; ``None`` for other errors."""
    if isinstance(error, NoChoiceError):
        return f"an answer without choices: {_said(error)}"
    return _said(error) if _status(error) in _REFUSALS else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible HTTP endpoint: vLLM, ``transformers serve``, a vendor's."""

    base_url: str
    """Up to and with the version: ``http://localhost:8000/v1``."""
    model: str
    """The model's name there."""
    api_key_env: str | None = None
    """The environment variable that holds the key, which is never in a manifest; ``None`` for no key."""
    concurrency: int = 16
    """Requests under way at a time, 1,000 at most."""
    max_retries: int = 5
    """Of a request that met a full, slow or failing server, each after a longer wait, or after what ``Retry-After``
    says; an answer that says more than two minutes is not waited for."""
    timeout_s: float = 600.0
    """Seconds for one try of one request."""

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url is {self.base_url!r}: give one like http://localhost:8000/v1.")
        if not 1 <= self.concurrency <= _CONNECTIONS:
            raise ValueError(f"concurrency is {self.concurrency}: give 1 to {_CONNECTIONS}.")

    def __str__(self) -> str:
        return f"the endpoint {self.base_url} (model '{self.model}')"

    @classmethod
    def from_params(cls, params: Mapping[str, Any], **defaults: Any) -> Endpoint:
        """The endpoint that a plugin's params describe, over the plugin's own defaults.

        Raises:
            ValueError: They describe none.
        """
        try:
            return cls(**{**defaults, **params})
        except TypeError as error:
            raise ValueError(
                f"endpoint has {', '.join(params) or 'nothing'}: it takes base_url, model, api_key_env, concurrency, "
                "max_retries and timeout_s, the first two always."
            ) from error

    def client(self) -> OpenAI:
        """A client for threads to share."""
        client: OpenAI = _openai().OpenAI(**self._options())
        return client

    def async_client(self) -> AsyncOpenAI:
        """A client for one event loop."""
        client: AsyncOpenAI = _openai().AsyncOpenAI(**self._options())
        return client

    def failure(self, error: Exception) -> GuerdonError:
        """An error of the client in guerdon's terms: the endpoint's trouble, or the request's."""
        what, fix, kind = self._trouble(error)
        status = "" if _status(error) is None else f"{_status(error)} "
        again = ", and run the same command again" if kind is InfrastructureError else ""
        return kind(f"{self} {what}: {status}{_said(error)}. {fix}{again}.")

    def _trouble(self, error: Exception) -> tuple[str, str, type[GuerdonError]]:
        """What is wrong, the fix, and whose it is."""
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

    def _options(self) -> dict[str, Any]:
        key = "none" if self.api_key_env is None else os.environ.get(self.api_key_env)
        if not key:
            raise UsageError(
                f"the environment variable {self.api_key_env}, which api_key_env names, is not set. Export it."
            )
        return {
            "base_url": self.base_url,
            "api_key": key,
            "max_retries": self.max_retries,
            "timeout": self.timeout_s,
        }


def _status(error: Exception) -> int | None:
    status: int | None = getattr(error, "status_code", None)
    return status


def _said(error: Exception) -> str:
    """The server's own words where it has any, else the client's, or those of what it met underneath."""
    body = getattr(error, "body", None)
    own = body.get("message") if isinstance(body, Mapping) else None
    return one_line(own or str(error.__cause__ or "") or error)[:300].rstrip(".")


def _openai() -> Any:
    try:
        import openai
    except ImportError:
        raise MissingDependencyError("an OpenAI-compatible endpoint", "openai", "openai") from None
    return openai
