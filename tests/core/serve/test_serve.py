"""The reward server as its clients meet it."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from warm_python import WarmPython

from guerdon.errors import InfrastructureError
from guerdon.serve.server import run_server

Server = Any


def ask(server: Server, *completions: str, **columns: object) -> httpx.Response:
    rollouts = [{"id": i, "completion": text, "columns": columns} for i, text in enumerate(completions)]
    response: httpx.Response = server.client.post("/score", json={"rollouts": rollouts})
    return response


def test_typed_outcomes_in_order(echo: Server) -> None:
    answer = ask(echo, "right 1", "skip", "bug", "down", "hang", "wrong 0")
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["id"] for result in results] == list(range(6))
    assert [result["reward"] for result in results] == [1.0, None, None, None, None, 0.0]
    scores = [result["scores"]["echo"] for result in results]
    assert [(score["outcome"], score["failure"]) for score in scores] == [
        ("scored", None),
        ("skipped", None),
        ("failed", "verifier"),
        ("failed", "infrastructure"),
        ("failed", "timeout"),
        ("scored", None),
    ]
    assert scores[0]["answer"] == "right 1"
    assert (scores[0]["weighted"], scores[0]["counted"]) == (1.0, 1.0)
    assert [score["counted"] for score in scores[1:5]] == [None] * 4


def test_messages_are_completions_too(echo: Server) -> None:
    messages = [{"role": "assistant", "content": [{"type": "text", "text": "is 0.5"}]}]
    body = {"rollouts": [{"prompt": [{"role": "user", "content": "?"}], "completion": messages}]}
    assert echo.client.post("/score", json=body).json()["results"][0]["reward"] == 0.5


def test_score_of_a_rollout_whose_environment_was_lost_is_an_infrastructure_failure(echo: Server) -> None:
    body = {"rollouts": [{"completion": "is 1", "broken": "environment 'maze': reset() ended its process"}]}
    (result,) = echo.client.post("/score", json=body).json()["results"]
    assert (result["reward"], result["scores"]["echo"]["failure"]) == (None, "infrastructure")


@pytest.mark.parametrize(
    ("body", "where", "why"),
    [
        ({"rollouts": []}, ["body", "rollouts"], "at least 1 item"),
        ({"rollouts": [{"prompt": "p"}]}, ["body", "rollouts", 0, "completion"], "Field required"),
        ({"rollouts": [{"completion": 5}]}, ["body", "rollouts", 0, "completion", "str"], "valid string"),
        ({"rollouts": [{"completion": "1", "reference": "x"}]}, ["body", "rollouts", 0, "reference"], "put it under"),
        ({"rollouts": [{"completion": "1"}], "step": True}, ["body", "step"], "valid integer"),
        ({"rollouts": [{"completion": "1"}], "step": -1}, ["body", "step"], "greater than or equal to 0"),
        ({"rollouts": [{"completion": "1"}] * 1025}, ["body"], "1025 rollouts in one request; the limit is 1024"),
        ([], ["body"], "valid dictionary"),
    ],
)  # fmt: skip
def test_a_malformed_request_is_told_where_and_why(
    echo: Server, body: object, where: list[object], why: str
) -> None:
    answer = echo.client.post("/score", json=body)
    assert answer.status_code == 422
    problem = answer.json()["detail"][0]
    assert problem["loc"] == where
    assert why in problem["msg"]
    assert "input" not in problem


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 422), (b"{", 400), (b"\xff", 400), (b'{"rollouts": [{"completion": "1"}', 400)]
)
def test_score_of_a_body_that_is_not_json_is_refused(echo: Server, body: bytes, status: int) -> None:
    answer = echo.client.post("/score", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert ask(echo, "still here 1").status_code == 200


@pytest.mark.parametrize(
    ("headers", "sent"), [({}, "no Content-Type"), ({"content-type": "text/plain"}, "'text/plain'")]
)
def test_score_of_a_body_without_a_json_type_says_so(
    echo: Server, headers: dict[str, str], sent: str
) -> None:
    body = b'{"rollouts": [{"completion": "right 1"}]}'
    answer = echo.client.post("/score", content=body, headers=headers)
    assert answer.status_code == 415
    assert (
        answer.json()["detail"] == f"the request has {sent}; send JSON with 'Content-Type: application/json'"
    )


@pytest.mark.parametrize("name", [1, 1.5, "a", None])
def test_score_of_a_rollout_with_any_id_repeats_it(echo: Server, name: object) -> None:
    body = {"rollouts": [{"id": name, "completion": "right 1"}]}
    assert echo.client.post("/score", json=body).json()["results"][0]["id"] == name


def test_score_of_messages_judges_only_the_models_turns(echo: Server) -> None:
    own, tool = {"role": "assistant", "content": "is 0.5"}, {"role": "tool", "content": "is 1"}
    body = {"rollouts": [{"completion": turns} for turns in ([own, tool], [tool, own])]}
    answer = echo.client.post("/score", json=body)
    assert [result["reward"] for result in answer.json()["results"]] == [0.5, 0.5]
    answer = echo.client.post("/score", json={"rollouts": [{"completion": "is 1"}, {"completion": [tool]}]})
    assert answer.status_code == 422
    assert (
        "rollouts[1]: the completion has no turn of the role 'assistant'" in answer.json()["detail"][0]["msg"]
    )


def test_what_is_not_unicode_text_is_judged(echo: Server) -> None:
    body = b'{"rollouts": [{"completion": "\\ud800 1"}]}'
    answer = echo.client.post("/score", content=body, headers={"content-type": "application/json"})
    assert answer.json()["results"][0]["reward"] == 1.0


def test_a_body_that_is_nested_without_end(echo: Server) -> None:
    for depth in (500, 100_000):
        columns = b'{"a":' * depth + b"1" + b"}" * depth
        body = b'{"rollouts": [{"completion": "nested 1", "columns": ' + columns + b"}]}"
        answer = echo.client.post("/score", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400, 422), answer.text[:200]
    assert ask(echo, "still here 1").status_code == 200


def test_health_and_metrics(echo: Server) -> None:
    ask(echo, "counted 1", "bug")
    assert echo.client.get("/health/live").json() == {"status": "ok", "rubric": ["echo"], "pending": 0}
    assert echo.client.get("/health/ready").status_code == 200
    echo.client.get("/nowhere/1")
    metrics = echo.client.get("/metrics").text
    assert 'guerdon_scores_total{failure="verifier",name="echo",outcome="failed"}' in metrics
    assert 'guerdon_requests_total{path="/score",status="200"}' in metrics
    assert 'guerdon_requests_total{path="other",status="404"}' in metrics
    assert "guerdon_pending_rollouts 0.0" in metrics
    assert "/nowhere" not in metrics


def test_openrlhfs_schema(echo: Server) -> None:
    body = {
        "query": ["<s>Say 1.is 1<|im_end|>\n", "Say 2.is 2</s>"],
        "prompts": ["Say 1.", "Say 2."],
        "labels": ["1", {"reference": "2", "task": "t"}],
    }
    answer = echo.client.post("/get_reward", json=body)
    assert answer.json() == {"rewards": [1.0, 2.0], "scores": [1.0, 2.0], "extra_logs": {"echo": [1.0, 2.0]}}


@pytest.mark.parametrize(
    ("completion", "status", "why"),
    [
        ("bug", 500, "'echo' failed: verifier: KeyError"),
        ("down", 503, "'echo' failed: infrastructure: ConnectionRefusedError"),
        ("skip", 500, "nothing judged it"),
    ],
)
def test_a_failure_is_not_a_reward_for_openrlhf(echo: Server, completion: str, status: int, why: str) -> None:
    body = {"query": ["p one 1", f"p{completion}"], "prompts": ["p", "p"], "labels": ["", ""]}
    answer = echo.client.post("/get_reward", json=body)
    assert answer.status_code == status
    assert why in answer.json()["detail"]


def test_queries_without_their_prompts_are_not_judged(echo: Server) -> None:
    body = {"query": ["other 1"], "prompts": ["p"], "labels": [""]}
    answer = echo.client.post("/get_reward", json=body)
    assert answer.status_code == 422
    assert "query 0 does not hold its prompt" in answer.json()["detail"][0]["msg"]
    body["labels"] = []
    assert "1 queries, 1 prompts and 0 labels" in echo.client.post("/get_reward", json=body).text


def test_a_rubric_with_columns_routes_and_odd_metadata(serving: Any, folder: Path) -> None:
    (folder / "m.yaml").write_text(
        "name: x\nstages:\n- id: a\n  use: grpo\n  rewards:\n"
        "  - {use: './v.py:needy', weight: {0: 1.0, 10: 2.0}, when: {task: [t]}}\n"
        "  - {use: './v.py:total', weight: 0}\n"
    )
    with serving(folder, "-m", "m.yaml", "--unscored", "-1") as server:
        rollouts = [{"completion": "x", "columns": {"task": task}} for task in ("t", "u")]
        first, second = server.client.post("/score", json={"rollouts": rollouts, "step": 5}).json()["results"]
        assert first["reward"] == 1.5
        assert first["scores"]["needy"]["metadata"] == {"odd": "nan", "set": "{1}", "task": "t"}
        assert first["scores"]["total"]["value"] == 2.0
        assert set(second["scores"]) == {"total"}
        body = {"query": ["pq"], "prompts": ["p"], "labels": [{"reference": "", "task": "t"}]}
        assert server.client.post("/get_reward", json=body).json()["rewards"] == [1.0]


@pytest.fixture(scope="module")
def guarded(serving: Any, module_folder: Path) -> Iterator[Server]:
    limits = ("--max-body", "1", "--max-pending", "4", "--max-batch", "4", "--unscored", "-1")
    with serving(module_folder, "--use", "./v.py:echo", *limits, GUERDON_SERVE_TOKEN="hush") as server:
        server.client.headers["Authorization"] = "Bearer hush"
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer hus"},
        {"Authorization": "Bearer hush2"},
        {"Authorization": "hush"},
        {"Authorization": "Basic hush"},
        {"Authorization": "Basic eDpoZXk="},
    ],
)
def test_no_token_no_answer(guarded: Server, headers: dict[str, str]) -> None:
    for path in ("/score", "/get_reward"):
        assert guarded.client.post(path, json={}, headers=headers).status_code == 401
    for path in ("/metrics", "/openapi.json", "/nowhere"):
        assert guarded.client.get(path, headers=headers).status_code == 401
    assert guarded.client.get("/health/ready", headers=headers).status_code == 200


def test_the_token_as_a_urls_password(guarded: Server) -> None:
    url = guarded.url.replace("http://", "http://anyone:hush@")
    assert httpx.post(f"{url}/score", json={"rollouts": [{"completion": "x 1"}]}).status_code == 200


def test_bodies_beyond_the_limit(guarded: Server) -> None:
    large = json.dumps({"rollouts": [{"completion": "x" * 2**20 + " 1"}]}).encode()
    assert guarded.client.post("/score", content=large).status_code == 413
    chunked = guarded.client.post("/score", content=iter([large[:1000], large[1000:]]))
    assert chunked.status_code == 413
    assert "larger than 1048576 bytes" in chunked.json()["detail"]


def test_unscored_is_what_the_user_says(guarded: Server) -> None:
    body = {"query": ["pbug", "pskip", "p 1"], "prompts": ["p"] * 3, "labels": [""] * 3}
    answer = guarded.client.post("/get_reward", json=body)
    rewards = answer.json()
    assert rewards["rewards"] == [-1.0, -1.0, 1.0]
    assert [value != value for value in rewards["extra_logs"]["echo"]] == [True, True, False]


def test_back_pressure(guarded: Server) -> None:
    busy = threading.Thread(target=ask, args=(guarded, *(f"slow {i}" for i in range(4))))
    busy.start()
    deadline = time.monotonic() + 10
    while guarded.client.get("/health/ready").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    full = guarded.client.get("/health/ready")
    assert (full.status_code, full.json()["status"]) == (503, "full")
    refused = ask(guarded, "one more 1")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert guarded.client.get("/health/live").status_code == 200
    busy.join()
    assert ask(guarded, "one more 1").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_under_way_finish(serving: Any, folder: Path, number: int) -> None:
    with serving(folder, "--use", "./v.py:echo") as server:
        ask(server, "warm 1")
        answers: list[httpx.Response] = []
        rollouts = [{"completion": f"slow {i}"} for i in range(6)]
        busy = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{server.url}/score", json={"rollouts": rollouts}, timeout=60)
            )
        )
        busy.start()
        while not server.client.get("/health/live").json()["pending"]:
            time.sleep(0.02)
        server.process.send_signal(number)
        while _connects(server.url):
            time.sleep(0.02)
        assert server.process.poll() is None
        busy.join()
        assert [result["reward"] for result in answers[0].json()["results"]] == [0, 1, 2, 3, 4, 5]
        assert server.process.wait(timeout=60) == 0
    assert "Traceback" not in server.errors


def test_serve_on_a_port_in_use_says_what_to_do(echo: Server) -> None:
    port = int(echo.url.rpartition(":")[2])
    with pytest.raises(
        InfrastructureError, match=rf"port {port} of 127\.0\.0\.1 cannot be listened on: .* --port"
    ):
        run_server(FastAPI(), "127.0.0.1", port, 1, lambda url: None)


def _connects(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "say what to serve"),
        (["--use", "nothing"], 2, "no verifier or reward is named 'nothing'"),
        (["--use", "math", "--param", "format.x=1"], 2, "names no plugin that is used"),
        (["--use", "math", "--stage", "a"], 2, "--stage a names a stage of a manifest"),
        (["-m", "nowhere.yaml"], 2, "cannot be read"),
        (["--use", "math", "--token-file", "nowhere"], 2, "--token-file nowhere cannot be read"),
        (["--use", "math", "--token-file", "empty"], 2, "--token-file empty is empty"),
    ],
)
def test_mistakes_on_the_command_line(
    warm_guerdon: WarmPython, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    done = warm_guerdon.run("-m", "guerdon", "serve", *arguments, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [["serve", "--use", "math"], ["view", "."]])
def test_a_port_that_no_machine_has_is_a_mistake(call: Any, command: list[str]) -> None:
    ended = call(*command, "--port", "99999")
    assert ended.status == 2
    assert "99999 is not in the range 0<=x<=65535" in ended.err


def test_a_port_in_use_and_a_server_open_to_all(serving: Any, warm_guerdon: WarmPython, folder: Path) -> None:
    with serving(folder, "--use", "./v.py:echo", "--host", "0.0.0.0") as server:
        assert "anyone who reaches 0.0.0.0 may ask" in server.errors
        port = server.url.rpartition(":")[2]
        command = "-m", "guerdon", "serve", "--use", "./v.py:echo", "--port", port
        done = warm_guerdon.run(*command, cwd=folder)
        assert done.returncode == 3
        assert "in use" in done.stderr
        assert "Traceback" not in done.stderr
