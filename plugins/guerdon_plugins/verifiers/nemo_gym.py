"""``nemo_gym``: the reward of a NeMo Gym resources server, by its route ``/verify``."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from guerdon import Failure, Messages, Score
from guerdon.errors import InfrastructureError
from guerdon.types import message_text

_KEYS = frozenset({"prompt", "messages", "tool_calls", "environment", "environment_reward"})


class NemoGym:
    """Asks a resources server of NeMo Gym, which verifies one completion.

    The request has the prompt and the completion as OpenAI's Responses API has them, and the row's columns. The
    ``reward`` of the answer is the value, and ``reward_components`` are the parts. A sample that the server masks is a
    failed score, because its reward measures nothing. Sessions with tools are not opened.

    Args:
        server: The resources server's address, ``http://localhost:8000``.
        concurrency: The most concurrent requests.
        limit_s: Seconds for one request.

    Raises:
        ValueError: A param is out of range.
    """

    timeout_s = 300.0
    """The deadline of one verdict."""

    def __init__(self, server: str, concurrency: int = 16, limit_s: float = 120.0) -> None:
        if not server.startswith(("http://", "https://")):
            raise ValueError(f"server is {server!r}; give an address such as http://localhost:8000")
        if concurrency < 1 or not 0 < limit_s < math.inf:
            raise ValueError(
                f"concurrency is {concurrency} and limit_s {limit_s}; give at least 1, and seconds above 0"
            )
        self._url = f"{server.rstrip('/')}/verify"
        self._limit_s = limit_s
        self._slots = asyncio.Semaphore(concurrency)

    async def preflight(self) -> None:
        """Raise if no server responds at the address."""
        await asyncio.to_thread(self._post, None)

    async def __call__(self, completion: str, prompt: str | Messages, **columns: Any) -> Score:
        body = request_body(completion, prompt, {k: v for k, v in columns.items() if k not in _KEYS})
        async with self._slots:
            status, answer = await asyncio.to_thread(self._post, body)
        if status in (400, 422):
            return Score.failed(
                Failure.REFERENCE, f"{self._url} refuses the row: {status} {str(answer)[:300]}"
            )
        if status != 200:
            raise InfrastructureError(f"{self._url} fails: {status} {str(answer)[:300]}")
        return read_answer(answer)

    def _post(self, body: Mapping[str, Any] | None) -> tuple[int, Any]:
        """Return the status and the JSON of the server's answer; without a body, only see whether it responds.

        Raises:
            InfrastructureError: It does not respond.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self._limit_s) as response:
                return response.status, _json(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())
        except OSError as error:
            raise InfrastructureError(
                f"the resources server {self._url} does not answer: {error}. Start it or correct the param 'server'."
            ) from error


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def request_body(completion: str, prompt: str | Messages, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return NeMo Gym's request: a row of its data sets, with the model's response."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    given = columns.get("responses_create_params")
    asked = given if isinstance(given, Mapping) else {}
    text = completion.encode("utf-8", "replace").decode()  # a lone surrogate is not valid in a request
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {
        "id": "message",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }
    return {
        **columns,
        "responses_create_params": {
            "input": [{"role": turn["role"], "content": message_text([turn])} for turn in turns],
            **asked,
        },
        "response": {
            "id": "response",
            "object": "response",
            "created_at": 0,
            "model": "policy",
            "output": [message],
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
        },
    }


def read_answer(answer: Any) -> Score:
    """Return the score in a server's answer."""
    reward = answer.get("reward") if isinstance(answer, Mapping) else None
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not math.isfinite(reward):
        return Score.failed(Failure.VERIFIER, f"the server's answer has no reward: {str(answer)[:200]}")
    reasons = ("failure_reason", "failure_kind", "_ng_failure_judge_error", "_ng_failure_class")
    why = next((str(answer[key]) for key in reasons if answer.get(key)), "")
    config = answer.get("instance_config")
    masks = (answer, config if isinstance(config, Mapping) else {})
    if answer.get("_ng_failure_class") is not None or any(mask.get("mask_sample") is True for mask in masks):
        return Score.failed(
            Failure.INFRASTRUCTURE, f"the server masks the sample: {why or 'without a reason'}"
        )
    parts = answer.get("reward_components")
    try:
        return Score(reward, explanation=why, parts=parts if isinstance(parts, Mapping) else {})
    except ValueError as error:
        return Score.failed(Failure.VERIFIER, f"the server's reward_components cannot be parts: {error}")
