"""``remote``: the reward of a rubric that ``guerdon serve`` scores on other machines. Requires the extra ``remote``."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guerdon import Failure, Messages, Outcome, Score
from guerdon.errors import InfrastructureError, MissingDependencyError, UsageError, one_line

if TYPE_CHECKING:
    import httpx

FINGERPRINT_HEADER = "x-guerdon-fingerprint"
"""The header in which each answer says with which rubric it was scored."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0
"""Seconds before the second attempt, and the most before a later one. Each wait is about twice the last."""

_RETRIED = frozenset({502, 503, 504})
"""Statuses of a server, or of a balancer in front of it, that is full, restarting or gone."""


class Remote:
    """The reward of a rubric behind one or more reward servers.

    The value is the rubric's weighted sum. The scores of its entries are in ``metadata["scores"]``. A completion that
    the server cannot judge has the failure that the server reports. If a server is full, restarting or gone, the next
    one is asked. If none answers in time, the score is an infrastructure failure. Servers judge the same rollout alike,
    so a request that is sent again changes no score.

    Args:
        urls: The servers, such as ``http://scorer:8000``. Requests are spread over them. One URL may be that of a load
            balancer.
        fingerprint: What ``guerdon serve`` prints when it starts: the plugins, versions, params and weights of its
            rubric. Answers of another rubric are refused. By default, all servers must have the same rubric.
        token_variable: The environment variable with the servers' token, if they need one.
        attempt_timeout_s: Seconds for one attempt of one request.
        patience_s: Seconds for all attempts of one request, less than the entry's ``timeout``.

    Raises:
        ValueError: There is no URL, one is not an HTTP URL, or the token's variable is not set.
    """

    timeout_s = 300.0
    """The deadline of one verdict, with all its attempts."""

    def __init__(
        self,
        urls: Sequence[str],
        fingerprint: str | None = None,
        token_variable: str | None = None,
        attempt_timeout_s: float = 120.0,
        patience_s: float = 240.0,
    ) -> None:
        if isinstance(urls, str) or not urls:
            raise ValueError(f"urls is {urls!r}; it must be a list of one URL or more")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"'{url}' in urls is not an HTTP URL; write one like http://scorer:8000")
        self._urls = [url.rstrip("/") for url in urls]
        if token_variable is not None and not os.environ.get(token_variable):
            raise ValueError(
                f"the environment variable {token_variable}, which token_variable names, is not set. Export it."
            )
        self._next = random.randrange(len(urls))
        self._fingerprint = fingerprint
        self._token_variable = token_variable
        self._attempt_timeout_s = attempt_timeout_s
        self._patience_s = patience_s
        self._client: httpx.AsyncClient | None = None

    async def preflight(self) -> None:
        """Raise if a server does not answer, refuses the token, compares completions, or has another rubric."""
        found: dict[str, str] = {}
        async with self._new_client() as client:
            for url in self._urls:
                try:
                    answer = await client.get(f"{url}/fingerprint")
                except _httpx().HTTPError as error:
                    raise InfrastructureError(
                        f"the reward server {url} does not answer: {_text(error)}. Start `guerdon serve` there, or "
                        "correct urls."
                    ) from None
                if answer.status_code == 401:
                    raise UsageError(
                        f"the reward server {url} refuses the token. Name the environment variable that holds it as "
                        "token_variable."
                    )
                if answer.status_code != 200:
                    raise InfrastructureError(
                        f"the reward server {url} answers {answer.status_code} to GET /fingerprint: is it "
                        "`guerdon serve` in the same version?"
                    )
                served = answer.json()
                if served.get("compares_completions"):
                    raise UsageError(
                        f"the rubric of the reward server {url} compares completions, and remote sends single ones. "
                        "Score with its group rewards and reward functions on the machine of the run."
                    )
                found[url] = served["fingerprint"]
        expected = self._fingerprint or next(iter(found.values()))
        for url, fingerprint in found.items():
            if fingerprint != expected:
                raise UsageError(
                    f"the reward server {url} has a rubric with the fingerprint {fingerprint}, not {expected}: a "
                    "plugin, a version, a param or a weight differs. Start it with the same rubric, or change "
                    "'fingerprint'."
                )

    async def __call__(
        self,
        completion: str,
        prompt: str | Messages,
        messages: Messages,
        tool_calls: Sequence[Mapping[str, Any]],
        environment: Mapping[str, Any] | None = None,
        environment_reward: float | None = None,
        **columns: Any,
    ) -> Score | None:
        one_turn = messages == [{"role": "assistant", "content": completion}]
        rollout: dict[str, Any] = {
            "prompt": prompt,
            "completion": completion if one_turn else messages,
            "columns": columns,
        }
        of_tools: dict[str, Any] = {
            "tool_calls": tool_calls or None,
            "environment": environment,
            "environment_reward": environment_reward,
        }
        rollout |= {name: value for name, value in of_tools.items() if value is not None}
        try:
            body = json.dumps({"rollouts": [rollout]}).encode()
        except (TypeError, ValueError) as error:
            return Score.failed(Failure.REFERENCE, f"the row cannot be sent as JSON: {_text(error)}")
        return await self._ask(body)

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(self, body: bytes) -> Score | None:
        """Ask one server after the other until one answers."""
        if self._client is None:
            self._client = self._new_client()
        wait_s, started = _FIRST_WAIT_S, time.monotonic()
        while True:
            url = self._urls[self._next % len(self._urls)]
            self._next += 1
            try:
                answer = await self._client.post(f"{url}/score", content=body)
            except _httpx().TransportError as error:
                trouble = f"does not answer: {_text(error)}"
            else:
                if answer.status_code not in _RETRIED:
                    return self._read(url, answer)
                trouble = f"answers {answer.status_code}: {_detail(answer)}"
            if time.monotonic() - started + wait_s > self._patience_s:
                return Score.failed(
                    Failure.INFRASTRUCTURE,
                    f"no reward server scores within {self._patience_s:g} s; {url} {trouble}",
                )
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _read(self, url: str, answer: httpx.Response) -> Score | None:
        if answer.status_code == 422 and _compares(answer):
            return Score.failed(
                Failure.INFRASTRUCTURE,
                f"the rubric of {url} compares completions, and remote sends single ones. Score with its group rewards "
                "on the machine of the run.",
            )
        if answer.status_code == 422:
            return Score.failed(Failure.REFERENCE, f"{url} cannot judge the row: {_detail(answer)}")
        if answer.status_code != 200:
            return Score.failed(
                Failure.INFRASTRUCTURE, f"{url} answers {answer.status_code}: {_detail(answer)}"
            )
        fingerprint = answer.headers.get(FINGERPRINT_HEADER)
        if self._fingerprint is None:
            self._fingerprint = fingerprint
        if fingerprint != self._fingerprint:
            return Score.failed(
                Failure.INFRASTRUCTURE,
                f"{url} scores with the rubric {fingerprint}, not {self._fingerprint}. Start it with the same rubric.",
            )
        return _score(answer.json()["results"][0])

    def _new_client(self) -> httpx.AsyncClient:
        token = os.environ.get(self._token_variable) if self._token_variable else None
        client: httpx.AsyncClient = _httpx().AsyncClient(
            headers={"content-type": "application/json"}
            | ({"authorization": f"Bearer {token}"} if token else {}),
            timeout=self._attempt_timeout_s,
        )
        return client


def _score(result: Mapping[str, Any]) -> Score | None:
    """Return one result of the server as a score: ``None`` if nothing judged the rollout."""
    scores = result["scores"]
    values = {name: score["value"] for name, score in scores.items()}
    said = "; ".join(
        f"{name}: {score['explanation']}" for name, score in scores.items() if score["explanation"]
    )
    if result["reward"] is not None:
        return Score(result["reward"], explanation=said, metadata={"scores": values})
    for name, score in scores.items():
        if score["outcome"] == Outcome.FAILED.value:
            return Score.failed(Failure(score["failure"]), f"{name}: {score['explanation']}")
    return None


def _compares(answer: httpx.Response) -> bool:
    """Return whether a server refuses a rollout because its rubric compares the completions of a group."""
    try:
        return any(problem["type"] == "missing_group" for problem in answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return False


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        detail = detail[0].get("msg", detail)
    return one_line(detail)[:300]


def _text(error: Exception) -> str:
    return one_line(error) or type(error).__name__


def _httpx() -> Any:
    try:
        import httpx
    except ImportError:
        raise MissingDependencyError("verifier 'remote'", "httpx", "remote") from None
    return httpx
