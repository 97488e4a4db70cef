"""A reward model behind HTTP, by the protocol of vLLM's ``/classify``.

The server applies the chat template. Other servers can support it: a POST of ``{"messages": [...]}`` or
``{"input": ...}``, with ``"use_activation": false`` for the number before any sigmoid. The answer is
``{"data": [{"probs": [number]}]}``.
"""

from __future__ import annotations

import http.client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from guerdon import Failure, Messages, Score
from guerdon.errors import InfrastructureError, one_line

CONCURRENCY = 16
TIMEOUT_S = 60.0
WAITS_S = (0.5, 2.0, 8.0)
"""Seconds before each further attempt of a request that met no server, a full one or a failing one."""


class RemoteRewardModel:
    """Requests the reward of one reply per request, several requests at once.

    Args:
        url: The address, with its path.

    Raises:
        ValueError: It is not an HTTP address.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url is {url!r}; give one like http://localhost:8000/classify")
        self._url = url

    def preflight(self) -> None:
        """Raise if the server does not respond, or not with a reward."""
        score = self._ask(([{"role": "user", "content": "Hello"}], "Hello!"))
        if score.value is None:
            raise InfrastructureError(
                f"the reward model at {self._url} gives no reward: {score.explanation}."
            )

    def __call__(self, replies: Sequence[tuple[str | Messages, str]]) -> list[Score]:
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            return list(threads.map(self._judge, replies))

    def _judge(self, reply: tuple[str | Messages, str]) -> Score:
        score = self._ask(reply)
        for wait_s in WAITS_S:
            if score.failure is not Failure.INFRASTRUCTURE:
                break
            time.sleep(wait_s)
            score = self._ask(reply)
        return score

    def _ask(self, reply: tuple[str | Messages, str]) -> Score:
        prompt, text = reply
        question: dict[str, Any] = {"use_activation": False}
        if isinstance(prompt, str):
            question["input"] = prompt + text
        else:
            question["messages"] = [*prompt, {"role": "assistant", "content": text}]
        try:
            return _read(self._post(json.dumps(question).encode()))
        except urllib.error.HTTPError as error:
            with error:
                said = one_line(error.read(300).decode(errors="replace"))
            busy = error.code >= 500 or error.code in (408, 429)
            return Score.failed(
                Failure.INFRASTRUCTURE if busy else Failure.VERIFIER,
                f"{self._url} answers {error.code} {error.reason}: {said}",
            )
        except (OSError, http.client.HTTPException) as error:
            return Score.failed(Failure.INFRASTRUCTURE, f"{self._url} does not answer: {one_line(error)}")

    def _post(self, body: bytes) -> bytes:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: bytes = response.read()
        return answer


def _read(answer: bytes) -> Score:
    try:
        (numbers,) = [entry["probs"] for entry in json.loads(answer)["data"]]
        (number,) = numbers
        reward = float(number)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError):
        shown = one_line(answer[:200].decode(errors="replace"))
        return Score.failed(
            Failure.VERIFIER, f'the answer is not {{"data": [{{"probs": [number]}}]}}, but {shown}'
        )
    if not math.isfinite(reward):
        return Score.failed(Failure.VERIFIER, f"the reward is {reward}, which is not a finite number")
    return Score(reward)
