"""``nemo_gym``: the request that a resources server gets, and what its answers are worth."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openai.types.responses import Response

from guerdon import Failure, Score
from guerdon.errors import InfrastructureError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.testing import Case, VerifierConformance
from guerdon_plugins.verifiers.nemo_gym import NemoGym, read_answer, request_body


@contextmanager
def resources_server(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server whose ``/verify`` pays for the row's expected answer, and the requests that it got."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(405, {"detail": "Method Not Allowed"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            said = body["response"]["output"][0]["content"][0]["text"]
            self._send(status, {**body, "reward": float(said.strip() == body.get("expected_answer"))})

        def _send(self, code: int, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def ask(server: str, completion: str, **columns: Any) -> Score:
    return asyncio.run(NemoGym(server)(completion, "What is 2 + 2?", **columns))


def test_nemo_gym_sends_the_row_and_the_response_and_reads_the_reward() -> None:
    with resources_server() as (url, requests):
        asyncio.run(NemoGym(f"{url}/").preflight())
        assert ask(url, "4", expected_answer="4", tool_calls=[], messages=[]).value == 1.0
        assert ask(url, "5", expected_answer="4").value == 0.0
    first = requests[0]
    assert first["expected_answer"] == "4"
    assert first["responses_create_params"]["input"] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert "tool_calls" not in first


def test_nemo_gym_request_is_a_response_of_openai_s_api() -> None:
    given = {
        "responses_create_params": {"input": [{"role": "developer", "content": "x"}], "tools": []},
        "id": 7,
    }
    body = request_body("Four.\ud800", [{"role": "user", "content": "2 + 2?"}], given)
    assert Response.model_validate(body["response"], strict=False).output_text == "Four.?"
    assert body["responses_create_params"] == given["responses_create_params"]
    assert body["id"] == 7


@pytest.mark.parametrize(("status", "failure"), [(422, Failure.REFERENCE), (400, Failure.REFERENCE)])
def test_nemo_gym_that_refuses_a_row_is_a_failure_of_the_reference(status: int, failure: Failure) -> None:
    with resources_server(status) as (url, _):
        assert ask(url, "4", expected_answer="4").failure is failure


@pytest.mark.parametrize("status", [500, 404])
def test_nemo_gym_that_fails_or_is_gone_is_an_infrastructure_failure(status: int) -> None:
    with resources_server(status) as (url, _), pytest.raises(InfrastructureError, match=str(status)):
        ask(url, "4")
    with pytest.raises(InfrastructureError, match="does not answer"):
        ask(url, "4")
    with pytest.raises(InfrastructureError, match="does not answer"):
        asyncio.run(NemoGym(url).preflight())


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"reward": 0.0, "mask_sample": True, "failure_reason": "lost session"}, Failure.INFRASTRUCTURE),
        ({"reward": 0.0, "instance_config": {"mask_sample": True}}, Failure.INFRASTRUCTURE),
        ({"reward": 0.0, "_ng_failure_class": "judge_failed"}, Failure.INFRASTRUCTURE),
        ({"reward": True}, Failure.VERIFIER),
        ({"reward": float("nan")}, Failure.VERIFIER),
        ({"reward": None}, Failure.VERIFIER),
        ({}, Failure.VERIFIER),
        ("ok", Failure.VERIFIER),
        ({"reward": 1, "reward_components": {"a/b": 1}}, Failure.VERIFIER),
    ],
)
def test_nemo_gym_answers_without_a_valid_reward_are_failures(answer: Any, failure: Failure) -> None:
    score = read_answer(answer)
    assert score.value is None
    assert score.failure is failure


def test_nemo_gym_components_are_parts() -> None:
    score = read_answer(
        {"reward": 0.5, "reward_components": {"right": 1, "short": 0}, "failure_kind": "degraded"}
    )
    assert (score.value, score.parts, score.explanation) == (0.5, {"right": 1.0, "short": 0.0}, "degraded")


@pytest.mark.parametrize(
    "params", [{"server": "localhost"}, {"concurrency": 0}, {"limit_s": 0}, {"limit_s": float("inf")}]
)
def test_nemo_gym_refuses_params_out_of_range(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        NemoGym(**{"server": "http://x", **params})


def test_nemo_gym_is_a_plugin() -> None:
    assert load_component(find_plugin("nemo_gym", SCORERS), {"server": "http://x"}, None).build()


class TestConformance(VerifierConformance):
    """The kit, with a server that knows one answer."""

    plugin = "nemo_gym"
    running: ExitStack
    golden = (Case("4", 1.0, expected_answer="4"), Case("5", 0.0, expected_answer="4"))
    hacks = (Case("4 or 5", 0.0, expected_answer="4", why="a hedge"),)

    @classmethod
    def setup_class(cls) -> None:
        super().setup_class()
        cls.running = ExitStack()
        url, _ = cls.running.enter_context(resources_server())
        cls.params = {"server": url}

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.running.close()
