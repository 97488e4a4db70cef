"""``remote``: the reward of a rubric that ``guerdon serve`` scores on other machines. Requires the extra ``remote``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from guerdon import Failure, Messages, Outcome, Score
from guerdon.errors import InfrastructureError, UsageError, library_of, one_line

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

FINGERPRINT_HEADER = "x-guerdon-fingerprint"
"""The header in which each answer says with which rubric it was scored."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0
"""Seconds before the second attempt, and the most before a later one. Each wait is about twice the last."""

_LONGEST_REST_S = 60.0
"""The longest time in seconds for which a server that failed is not asked. Each failure doubles it, from a second."""

_QUIET_S = 10.0
"""Seconds without an answer after which the user is warned."""

_NOT_SERVED = frozenset({404, 405, 501})
"""Statuses of a server that has no POST /score."""

_RETRIED = frozenset({502, 503, 504})
"""Statuses of a server, or of a balancer in front of it, that is full, restarting or gone."""


class Remote:
    """The reward of a rubric behind one or more reward servers.

    The value is the rubric's weighted sum. The scores of its entries are in ``metadata["scores"]``. A completion that
    the server cannot judge has the failure that the server reports. If a server is full, restarting or gone, hangs, or
    answers something else, another one is asked, and this one rests. The user is warned when none answers. If none
    answers in time, the score is an infrastructure failure. Servers judge the same rollout alike, so a request that is
    sent again changes no score.

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
        attempt_timeout_s: Annotated[float, Field(gt=0)] = 120.0,
        patience_s: Annotated[float, Field(gt=0)] = 240.0,
    ) -> None:
        if isinstance(urls, str) or not urls:
            raise ValueError(f"urls is {urls!r}; it must be a list of one URL or more")
        for url in urls:
            if not _is_http(url):
                raise ValueError(f"'{url}' in urls is not an HTTP URL; write one like http://scorer:8000")
        self._urls = [url.rstrip("/") for url in urls]
        if token_variable is not None and not os.environ.get(token_variable):
            raise ValueError(
                f"the environment variable {token_variable}, which token_variable names, is not set. Export it."
            )
        self._servers = [_Server(url) for url in random.sample(self._urls, len(urls))]
        self._fingerprint = fingerprint
        self._token_variable = token_variable
        self._attempt_timeout_s = attempt_timeout_s
        self._patience_s = patience_s
        self._client: httpx.AsyncClient | None = None
        self._answered = True
        """Whether a server has answered since the last warning."""

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
                served = _fingerprint(url, answer)
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
        quiet = asyncio.get_running_loop().call_later(_QUIET_S, self._warn_if_quiet)
        try:
            return await self._ask_in_turn(self._client, body)
        finally:
            quiet.cancel()

    async def _ask_in_turn(self, client: httpx.AsyncClient, body: bytes) -> Score | None:
        wait_s, started = _FIRST_WAIT_S, time.monotonic()
        while True:
            server = min(self._servers, key=_Server.turn)
            self._servers.remove(server)  # of servers that are alike, the one that was asked last comes last
            self._servers.append(server)
            try:
                answer = await server.post(client, body, self._attempt_timeout_s)
                score = self._read(server.url, answer)
            except _TroubleError as error:
                server.rest()
                trouble = f"{server.url} {error}"
                if all(server.failed for server in self._servers):
                    self._warn(trouble)
            else:
                server.work()
                self._answered = True
                return score
            if time.monotonic() - started + wait_s > self._patience_s:
                return Score.failed(
                    Failure.INFRASTRUCTURE,
                    f"no reward server scores within {self._patience_s:g} s; {trouble}",
                )
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _warn_if_quiet(self) -> None:
        if not any(server.answered for server in self._servers):
            self._warn(f"{', '.join(self._urls)} has not answered for {_QUIET_S:g} s")

    def _warn(self, trouble: str) -> None:
        """Warn once until a server answers."""
        if self._answered:
            self._answered = False
            logger.warning(
                "no reward server answers: %s. Each completion waits for one up to %g s (patience_s), and is then "
                "failed: infrastructure. Start `guerdon serve` there, or correct urls.",
                trouble,
                self._patience_s,
            )

    def _read(self, url: str, answer: httpx.Response) -> Score | None:
        """Return the score in an answer.

        Raises:
            _TroubleError: It is not the answer of a reward server.
        """
        if answer.status_code == 422 and _compares(answer):
            return Score.failed(
                Failure.INFRASTRUCTURE,
                f"the rubric of {url} compares completions, and remote sends single ones. Score with its group rewards "
                "on the machine of the run.",
            )
        if answer.status_code == 422:
            return Score.failed(Failure.REFERENCE, f"{url} cannot judge the row: {_detail(answer)}")
        if answer.status_code != 200:
            hint = ". Is it `guerdon serve`?" if answer.status_code in _NOT_SERVED else ""
            return Score.failed(
                Failure.INFRASTRUCTURE, f"{url} answers {answer.status_code}: {_detail(answer)}{hint}"
            )
        fingerprint = answer.headers.get(FINGERPRINT_HEADER)
        if self._fingerprint not in (None, fingerprint) and fingerprint is not None:
            return Score.failed(
                Failure.INFRASTRUCTURE,
                f"{url} scores with the rubric {fingerprint}, not {self._fingerprint}. Start it with the same rubric.",
            )
        try:
            if fingerprint is None:
                raise KeyError(FINGERPRINT_HEADER)
            (result,) = answer.json()["results"]
            score = _score(result)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _TroubleError(
                f"answers what `guerdon serve` does not: {one_line(answer.text)[:100]}"
            ) from None
        self._fingerprint = fingerprint
        return score

    def _new_client(self) -> httpx.AsyncClient:
        token = os.environ.get(self._token_variable) if self._token_variable else None
        client: httpx.AsyncClient = _httpx().AsyncClient(
            headers={"content-type": "application/json"}
            | ({"authorization": f"Bearer {token}"} if token else {}),
            timeout=self._attempt_timeout_s,
        )
        return client


class _TroubleError(Exception):
    """A server gives no answer that can be read; another one may."""


class _Server:
    """One server, with what is known of its state."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._under_way = 0
        self._rest_s = 0.0
        """How long its last rest was; 0 after an answer."""
        self._rests_until = 0.0
        self.answered = False
        """Whether it has ever answered."""

    @property
    def failed(self) -> bool:
        """Whether it has failed since its last answer."""
        return self._rest_s > 0

    def turn(self) -> tuple[float, int]:
        """Return what the next server has the least of: time to rest, then requests under way.

        A server that hangs thus gets no more than its share of the requests, and one at a time after it has failed.
        """
        rest_s = max(0.0, self._rests_until - time.monotonic())
        if self._rest_s and self._under_way:
            rest_s = max(rest_s, self._rest_s)
        return rest_s, self._under_way

    def rest(self) -> None:
        """Account for a failure."""
        self._rest_s = min(2 * self._rest_s or 1.0, _LONGEST_REST_S)
        self._rests_until = time.monotonic() + self._rest_s

    def work(self) -> None:
        """Account for an answer."""
        self._rest_s = self._rests_until = 0.0
        self.answered = True

    async def post(self, client: httpx.AsyncClient, body: bytes, timeout_s: float) -> httpx.Response:
        """Return the server's answer.

        Raises:
            _TroubleError: There is none in time, or the server is full, restarting or gone.
        """
        self._under_way += 1
        try:
            async with asyncio.timeout(timeout_s):  # the client's own timeout begins again with each byte
                answer = await client.post(f"{self.url}/score", content=body)
        except TimeoutError:
            raise _TroubleError(f"does not answer within {timeout_s:g} s") from None
        except _httpx().HTTPError as error:
            raise _TroubleError(f"does not answer: {_text(error)}") from None
        finally:
            self._under_way -= 1
        if answer.status_code in _RETRIED:
            raise _TroubleError(f"answers {answer.status_code}: {_detail(answer)}")
        return answer


def _is_http(url: str) -> bool:
    """Return whether a text is an HTTP URL with a host, and with a port if it has one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number up to 65535, or half an IPv6 address
        return False


def _fingerprint(url: str, answer: httpx.Response) -> Mapping[str, Any]:
    """Return what a server says of its rubric.

    Raises:
        InfrastructureError: It is not a reward server.
    """
    try:
        served = answer.json()
        if isinstance(served["fingerprint"], str):
            known: Mapping[str, Any] = served
            return known
    except (ValueError, KeyError, TypeError):
        pass
    raise InfrastructureError(
        f"the server {url} is not a reward server: it answers GET /fingerprint with '{one_line(answer.text)[:100]}'. "
        "Start `guerdon serve` there, or correct urls."
    )


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
    with library_of("verifier 'remote'", extra="remote"):
        import httpx
    return httpx
