"""The vLLM server of TRL's asynchronous trainer: what it must offer, and completions for evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
from trl.experimental.async_grpo.vllm_client import VLLMClient

from guerdon.errors import InfrastructureError, UsageError, one_line

_AT_ONCE = 64
"""The most requests of an evaluation at a time."""


@dataclass(frozen=True)
class Served:
    """What a server says of its model."""

    name: str
    """The name that requests give."""
    positions: int
    """The most tokens of a prompt and its completion."""
    on_cpu: bool
    """Whether it samples on a CPU."""


def served(client: VLLMClient, temperature: float) -> Served:
    """Wait for the server, and check that it can take weights and give log-probabilities as the trainer needs them.

    Args:
        client: TRL's client.
        temperature: The temperature of the rollouts.

    Raises:
        InfrastructureError: It does not answer in time.
        UsageError: It was started without what the trainer needs.
    """
    url = client.server_url
    with answered(url):
        client.wait_for_server_ready()
        models = requests.get(f"{url}/v1/models", timeout=60)
        models.raise_for_status()
        info = requests.get(f"{url}/server_info", params={"config_format": "json"}, timeout=60)
        if info.status_code == 404:
            raise UsageError(
                f"the vLLM server at {url} does not take weights. Start it with VLLM_SERVER_DEV_MODE=1 in its "
                "environment."
            )
        info.raise_for_status()
    model = models.json()["data"][0]
    config = info.json()["vllm_config"]
    mode = config["model_config"].get("logprobs_mode", "")
    if temperature != 1.0 and not str(mode).startswith("processed"):
        raise UsageError(
            f"temperature is {temperature:g}, and the vLLM server at {url} gives log-probabilities of temperature 1 "
            f"(logprobs_mode {mode}). Start it with --logprobs-mode processed_logprobs, or leave temperature out."
        )
    device = config.get("device_config", {}).get("device")
    return Served(model["id"], model["max_model_len"], on_cpu=device == "cpu")


@contextmanager
def answered(url: str) -> Iterator[None]:
    """Raise the failures of requests to a server as those of something external.

    Raises:
        InfrastructureError: The server does not answer, or answers with an error.
    """
    try:
        yield
    except (requests.RequestException, TimeoutError) as error:
        raise InfrastructureError(
            f"the vLLM server at {url} does not answer: {one_line(error)}. Start it, and run the same command again."
        ) from error


def complete(
    url: str,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    options: Mapping[str, Any],
    timeout_s: float,
) -> list[list[int]]:
    """Return the tokens of one completion for each prompt.

    Args:
        url: The server's.
        prompts: The tokens of the prompts.
        seeds: The seed of each completion.
        options: The other options of a request, ``model`` among them.
        timeout_s: Seconds for one request.

    Raises:
        requests.RequestException: The server does not answer.
    """
    ask = partial(_completion, url, options, timeout_s)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(ask, prompts, seeds))


def _completion(
    url: str, options: Mapping[str, Any], timeout_s: float, prompt: Sequence[int], seed: int
) -> list[int]:
    body = {**options, "prompt": list(prompt), "seed": seed, "return_token_ids": True}
    answer = requests.post(f"{url}/v1/completions", json=body, timeout=timeout_s)
    answer.raise_for_status()
    ids: list[int] = answer.json()["choices"][0]["token_ids"]
    return ids
