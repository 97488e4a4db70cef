"""An OpenAI-compatible endpoint: where it is, how to ask it, and what its failures mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guerdon.errors import GuerdonError, InfrastructureError, MissingDependencyError, UsageError, one_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible HTTP endpoint: vLLM, ``transformers serve``, a vendor's."""

    base_url: str
    """Up to and with the version: ``http://localhost:8000/v1``."""
    model: str
    """The model's name there."""
    api_key_env: str | None = None
    """The environment variable that holds the key, which never stands in a manifest; ``None`` for no key."""
    concurrency: int = 16
    """Requests under way at a time."""
    max_retries: int = 5
    """Of a request that met a full, slow or failing server, each after a longer wait."""
    timeout_s: float = 600.0
    """Seconds for one try of one request."""

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url is {self.base_url!r}: give one like http://localhost:8000/v1.")
        if self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}: give 1 or more.")

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
        openai = _openai()
        what = f"the endpoint {self.base_url} (model '{self.model}')"
        reason = one_line(error).rstrip(".")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            key = f"the key in {self.api_key_env}" if self.api_key_env else "a request without a key"
            return UsageError(
                f"{what} refuses {key}: {reason}. Name the variable of a valid key as api_key_env."
            )
        if isinstance(error, openai.NotFoundError | openai.BadRequestError | openai.UnprocessableEntityError):
            return UsageError(
                f"{what} refuses the request: {reason}. Check the model's name and the options."
            )
        return InfrastructureError(
            f"{what} does not answer: {type(error).__name__}: {reason}. Start it or correct base_url, "
            "and run the same command again."
        )

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


def _openai() -> Any:
    try:
        import openai
    except ImportError:
        raise MissingDependencyError("an OpenAI-compatible endpoint", "openai", "openai") from None
    return openai
