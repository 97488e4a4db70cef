"""The reward server as a resources server of NeMo Gym, with what clients should not send."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

Server = Any


def body(text: str, **row: Any) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {**row, "responses_create_params": {"input": "?"}, "response": {"output": [message]}}


def post(server: Server, path: str, content: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    response: httpx.Response = server.client.post(path, content=content, headers=headers)
    return response


def test_an_answer_repeats_the_request_and_adds_the_reward(echo: Server) -> None:
    sent = body("is 0.5", expected_answer="x", reward=7, _ng_task_index=3)
    answer = echo.client.post("/verify", json=sent)
    assert answer.status_code == 200
    result = answer.json()
    assert {key: result[key] for key in sent} == {**sent, "reward": 0.5}
    assert (result["guerdon/echo"], result["guerdon/echo/failed"], result["guerdon/unscored"]) == (0.5, 0, 0)
    assert result["guerdon"]["echo"]["answer"] == "is 0.5"
    assert "_ng_failure_class" not in result
    assert answer.headers["x-guerdon-fingerprint"] == echo.client.get("/fingerprint").json()["fingerprint"]


@pytest.mark.parametrize(
    ("text", "status", "why"),
    [
        ("bug", 500, "'echo' failed: verifier: KeyError"),
        ("down", 503, "'echo' failed: infrastructure: ConnectionRefusedError"),
        ("hang", 500, "'echo' failed: timeout"),
        ("skip", 500, "nothing judged it"),
    ],
)
def test_a_failure_is_an_error_for_nemo_gym(echo: Server, text: str, status: int, why: str) -> None:
    answer = echo.client.post("/verify", json=body(text))
    assert answer.status_code == status
    assert why in answer.json()["detail"]


def test_a_model_server_that_failed_is_an_infrastructure_failure(echo: Server) -> None:
    sent = body("is 1")
    sent["response"]["error"] = {"code": "server_error", "message": "out of memory"}
    answer = echo.client.post("/verify", json=sent)
    assert answer.status_code == 503
    assert "out of memory" in answer.json()["detail"]


@pytest.mark.parametrize("prefix", ["", "/ng-rollout/3-0-a1"])
def test_a_session_is_accepted_with_any_row(echo: Server, prefix: str) -> None:
    for content in (b"{}", b"", b'{"verifier_metadata": null}'):
        assert post(echo, f"{prefix}/seed_session", content).json() == {}
    assert post(echo, f"{prefix}/verify", json.dumps(body("is 1")).encode()).json()["reward"] == 1.0
    assert echo.client.get("/reverify_mode").json() == "stateless"


@pytest.mark.parametrize(
    ("content", "status", "why"),
    [
        (b"", 422, "Field required"),
        (b"{", 400, "JSON"),
        (b"[]", 422, "valid dictionary"),
        (b"null", 422, "Field required|valid dictionary"),
        (b'{"response": {"output": []}}', 422, "Field required"),
        (b'{"responses_create_params": {"input": ""}, "response": null}', 422, "valid dictionary"),
        (b'{"responses_create_params": {"input": ""}, "response": {}}', 422, "response.output is missing"),
        (b'{"responses_create_params": {}, "response": {"output": []}}', 422, "input is missing"),
    ],
)
def test_a_malformed_body_of_nemo_gym_is_told_where(
    echo: Server, content: bytes, status: int, why: str
) -> None:
    answer = post(echo, "/verify", content)
    assert answer.status_code == status
    assert any(words in answer.text for words in why.split("|"))


def test_a_number_that_json_does_not_have_is_refused(echo: Server) -> None:
    content = json.dumps(body("is 1", temperature=float("nan"))).encode()
    answer = post(echo, "/verify", content)
    assert (answer.status_code, "has NaN or an infinity" in answer.text) == (422, True)


def test_a_row_that_is_nested_without_end_is_refused_or_judged(echo: Server) -> None:
    for depth in (500, 900, 100_000):
        row = b'{"a": ' + b"[" * depth + b"]" * depth + b", " + json.dumps(body("is 1")).encode()[1:]
        assert post(echo, "/verify", row).status_code in (200, 400, 422)
    assert echo.client.post("/verify", json=body("is 1")).status_code == 200


def test_many_rollouts_at_once_get_their_own_rewards(echo: Server) -> None:
    rewards: dict[int, float] = {}

    def ask(number: int) -> None:
        httpx.post(f"{echo.url}/seed_session", json={"id": number}, timeout=60)
        answer = httpx.post(f"{echo.url}/verify", json=body(f"is {number}", id=number), timeout=60).json()
        rewards[answer["id"]] = answer["reward"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rewards == {number: float(number) for number in range(32)}


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ("5", "valid list"),
        ("[5]", "valid dictionary"),
        ('[{"_ng_task_index": "x"}]', "valid integer"),
        ('[{"_ng_task_index": [1]}]', "valid integer"),
    ],
)
def test_malformed_results_are_refused(echo: Server, results: str, why: str) -> None:
    answer = post(echo, "/aggregate_metrics", f'{{"verify_responses": {results}}}'.encode())
    assert (answer.status_code, why in answer.text) == (422, True)


def test_metrics_are_of_each_entry(echo: Server) -> None:
    results = [echo.client.post("/verify", json=body(f"is {number}")).json() for number in (0, 1)]
    answer = echo.client.post("/aggregate_metrics", json={"verify_responses": results}).json()
    assert answer["key_metrics"] == {
        "mean/reward": 0.5,
        "mean/guerdon/unscored": 0.0,
        "mean/guerdon/echo": 0.5,
        "mean/guerdon/echo/failed": 0.0,
    }
    assert 'guerdon_requests_total{path="/verify",status="200"}' in echo.client.get("/metrics").text


GROUPS = """
name: x
stages:
- id: a
  use: grpo
  rewards:
  - {use: './v.py:together'}
"""


def test_a_group_reward_is_refused_before_a_rollout_is_sampled(serving: Any, folder: Path) -> None:
    with (folder / "v.py").open("a") as file:
        file.write("def together(completions): return [0.0 for _ in completions]\n")
        file.write('together.guerdon_kind = "group_reward"\n')
    (folder / "m.yaml").write_text(GROUPS)
    with serving(folder, "-m", "m.yaml") as server:
        for path, sent in (("/seed_session", {}), ("/verify", body("is 1"))):
            answer = server.client.post(path, json=sent)
            assert answer.status_code == 422
            assert "NeMo Gym verifies single rollouts" in answer.text


def test_an_unscored_rollout_is_marked(serving: Any, folder: Path) -> None:
    options = ("--use", "./v.py:echo", "--unscored", "-1", "--column", "reference=answers.0")
    with serving(folder, *options) as server:
        sent = body("down", answers=["x"], instance_config={"image": "i"})
        result = server.client.post("/verify", json=sent).json()
        assert (result["reward"], result["_ng_failure_class"], result["guerdon/unscored"]) == (
            -1.0,
            "unscored",
            1,
        )
        assert result["instance_config"] == {"image": "i", "mask_sample": True}
        assert "ConnectionRefusedError" in result["failure_reason"]
        refused = server.client.post("/verify", json=body("is 1"))
        assert (refused.status_code, "there is no column 'answers.0'" in refused.text) == (422, True)
