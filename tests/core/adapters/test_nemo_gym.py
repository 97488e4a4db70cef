"""The adapter to NeMo Gym: requests to rollouts, and NeMo Gym's own agent and collection against the server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guerdon.adapters.nemo_gym import aggregate, rollout
from guerdon.errors import DataError
from guerdon.types import ToolCall


def said(*words: str) -> list[dict[str, Any]]:
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in words]
    return [{"type": "message", "id": "m", "role": "assistant", "content": parts}]


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": text}]}


def called(name: str, call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "name": name, "arguments": '{"x": 1}', "call_id": call_id}


def returned(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def body(output: object, asked: object = "1+1?", **row: Any) -> dict[str, Any]:
    return {**row, "responses_create_params": {"input": asked}, "response": {"output": output}}


def test_the_completion_is_the_models_reasoning_and_words() -> None:
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sure?"}]}
    judged = rollout(body([thought("hm"), *said("1", "2"), user, *said("yes")]), {})
    assert judged.text == "<think>\nhm\n</think>\n\n12\nyes"
    assert judged.prompt == "1+1?"
    assert judged.messages[1] == {"role": "user", "content": "Sure?"}


def test_a_refusal_is_the_models_words_too() -> None:
    refusal = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert rollout(body([refusal]), {}).text == "No."


def test_the_prompt_has_instructions_and_messages() -> None:
    asked = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    sent = body(said("2"), asked)
    assert rollout(sent, {}).prompt == asked
    sent["responses_create_params"] = {"input": "1+1?", "instructions": "Be brief."}
    assert rollout(sent, {}).prompt == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
    ]


def test_calls_are_the_assistants_turns_with_their_results() -> None:
    items = [
        *(thought("a"), called("f", "1"), thought("b"), called("g", "2"), called("h", "3")),
        *(returned("1", "one"), returned("3", "three"), returned("9", "whose?")),
        *said("done"),
    ]
    judged = rollout(body(items), {})
    assert list(judged.tool_calls) == [
        ToolCall("f", {"x": 1}, "one", turn=0),
        ToolCall("g", {"x": 1}, None, turn=1),
        ToolCall("h", {"x": 1}, "three", turn=1),
    ]
    assert judged.text == "<think>\na\n</think>\n\n\n<think>\nb\n</think>\n\n\ndone"


def test_a_turn_of_very_many_calls_takes_no_quadratic_time() -> None:
    count = 20_000
    items = [called("f", str(number)) for number in range(count)]
    items += [returned(str(number), f"r{number}") for number in range(count)]
    started = time.process_time()
    calls = rollout(body(items), {}).tool_calls
    assert time.process_time() - started < 4  # 0.3 s; with a search among all results for each call, 8 s
    assert [call.result for call in calls] == [f"r{number}" for number in range(count)]


def test_words_and_reasoning_after_each_other_are_one_turn() -> None:
    judged = rollout(body([thought("a"), thought("b"), *said("one"), called("f", "1"), *said("two")]), {})
    (turn,) = judged.messages
    assert (turn["reasoning_content"], turn["content"], len(turn["tool_calls"])) == ("a\nb", "one\ntwo", 1)


@pytest.mark.parametrize("output", [[], [thought("and so on")]])
def test_a_response_without_words_is_judged(output: list[dict[str, Any]]) -> None:
    assert rollout(body(output), {}).text in ("", "<think>\nand so on\n</think>\n\n")


@pytest.mark.parametrize("response", [{"error": {"code": "server_error"}}, {"status": "cancelled"}])
def test_a_response_that_failed_cannot_be_judged(response: dict[str, Any]) -> None:
    sent = {"responses_create_params": {"input": ""}, "response": {"output": [], **response}}
    assert "the model server's response has the status" in str(rollout(sent, {}).broken)


def test_columns_are_the_row_and_its_metadata() -> None:
    sent = body(said("2"), expected_answer="2", verifier_metadata={"level": 3}, _ng_task_index=0)
    judged = rollout(sent, {"reference": "expected_answer", "hard": "verifier_metadata.level"})
    kept = {"expected_answer": "2", "verifier_metadata": {"level": 3}, "level": 3}
    assert judged.columns == kept | {"reference": "2", "hard": 3}
    with pytest.raises(DataError, match="there is no column 'answer'"):
        rollout(sent, {"reference": "answer"})


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (body(None), "response.output is missing"),
        (body("yes"), "response.output is a value of type str"),
        (body([1]), r"response.output\[0\] is a value of type int"),
        (body([{"type": "web_search_call"}]), r"response.output\[0\] has the type 'web_search_call'"),
        (body([], {}), "responses_create_params.input is a value of type dict"),
        (body([], verifier_metadata="x"), "verifier_metadata is a value of type str"),
    ],
)
def test_what_is_not_nemo_gyms_form_is_refused(sent: dict[str, Any], why: str) -> None:
    with pytest.raises(DataError, match=why):
        rollout(sent, {})


def test_aggregate_leaves_out_rewards_of_failures_and_odd_numbers() -> None:
    found = aggregate(
        [
            {"_ng_task_index": 1, "reward": 1.0, "guerdon/math": 1.0, "row": 10**400, "id": "x"},
            {"_ng_task_index": 1, "reward": 0.0, "guerdon/math": None, "_ng_failure_class": "unscored"},
            {"reward": 0.5, "row": float("nan"), "response": {"usage": {"total_tokens": 4}}},
        ]
    )
    assert found["key_metrics"] == {"mean/reward": 0.75, "mean/guerdon/math": 1.0}
    assert found["agent_metrics"]["mean/total_tokens"] == 4.0
    assert not any("row" in key for key in found["agent_metrics"])
    assert [group["_ng_task_index"] for group in found["group_level_metrics"]] == [0, 1]
    assert [group["num_rollouts"] for group in found["group_level_metrics"]] == [1, 2]
    assert aggregate([]) == {"group_level_metrics": [], "agent_metrics": {}, "key_metrics": {}}


APP = """
import sys
from guerdon.adapters.nemo_gym import serve

rubric = ("--manifest", "m.yaml", "--stage", "zero", "--column", "reference=expected_answer")
serve(*rubric, "--workers", "1", *sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "NeMo Gym did not start this process"),
        ({"NEMO_GYM_CONFIG_DICT": "a: [", "NEMO_GYM_CONFIG_PATH": "zero"}, "has no host and port"),
        ({"NEMO_GYM_CONFIG_DICT": "a: 1", "NEMO_GYM_CONFIG_PATH": "zero"}, "has no host and port"),
        (
            {
                "NEMO_GYM_CONFIG_DICT": "zero: {resources_servers: {guerdon: {host: h, port: '${oc.env:P}'}}}",
                "NEMO_GYM_CONFIG_PATH": "zero",
            },
            "invalid literal for int",
        ),
    ],
)
def test_serve_that_nemo_gym_did_not_start(
    folder: Path, environment: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", APP], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert why in done.stderr.splitlines()[-1]


SCRIPT = """
import asyncio, json, os, socket, subprocess, sys

def free():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

def server(kind, implementation, **more):
    address = {"host": "127.0.0.1", "port": free(), "entrypoint": "app.py"}
    return {kind: {implementation: {**address, **more}}}

agent = {
    "resources_server": {"type": "resources_servers", "name": "zero"},
    "model_server": {"type": "responses_api_models", "name": "policy_model"},
    "max_steps": 3,
}
config = {
    "zero": server("resources_servers", "guerdon", domain="math"),
    "policy_model": server("responses_api_models", "stand_in"),
    "agent": server("responses_api_agents", "simple_agent", **agent),
    "head_server": {"host": "127.0.0.1", "port": free()},
}
os.environ |= {"NEMO_GYM_CONFIG_DICT": json.dumps(config), "NEMO_GYM_CONFIG_PATH": "zero"}
command = [sys.executable, "app.py", *sys.argv[1:]]  # what NeMo Gym starts, with its environment
served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)

import uvicorn
from aiohttp import ClientResponseError
from fastapi import FastAPI
from omegaconf import OmegaConf
from nemo_gym.base_resources_server import BaseVerifyResponse
from nemo_gym.config_types import AggregateMetrics
from nemo_gym.openai_utils import NeMoGymResponseCreateParamsNonStreaming
from nemo_gym.reward_profile import compute_aggregate_metrics
from nemo_gym import server_utils
from nemo_gym.rollout_collection import RolloutCollectionConfig, RolloutCollectionHelper
from responses_api_agents.simple_agent.app import SimpleAgent, SimpleAgentConfig

known = OmegaConf.create(config)
client = server_utils.ServerClient(head_server_config=config["head_server"], global_config_dict=known)
model = FastAPI()

@model.post("/v1/responses")
async def responses(body: NeMoGymResponseCreateParamsNonStreaming):
    asked = body.input[0].content
    reply = {"type": "message", "id": "m", "role": "assistant",
             "content": [{"type": "output_text", "text": asked.removeprefix("tool "), "annotations": []}]}
    if asked.startswith("tool ") and len(body.input) == 1:
        reply = {"type": "function_call", "name": "nothing", "arguments": "{}", "call_id": "1"}
    output = [reply]
    usage = {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}
    return {"id": "r", "object": "response", "created_at": 0, "model": "stand-in", "output": output, "usage": usage,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}

class Collection(RolloutCollectionHelper):
    def setup_server_client(self, head_server_config=None):
        return client

def uvicorn_of(app, name):
    (inner,) = next(iter(config[name].values())).values()
    # NeMo Gym's client repeats a request that finds no server without end, so requests under way are cancelled.
    settings = {"log_level": "error", "timeout_graceful_shutdown": 1}
    return uvicorn.Server(uvicorn.Config(app, inner["host"], inner["port"], **settings))

async def main():
    server_utils.set_global_aiohttp_client(server_utils.GlobalAIOHTTPAsyncClientConfig())
    (inner,) = config["agent"]["responses_api_agents"].values()
    simple = SimpleAgent(config=SimpleAgentConfig(name="agent", **inner), server_client=client)
    app = simple.setup_webserver()
    simple.setup_exception_middleware(app)
    servers = [uvicorn_of(model, "policy_model"), uvicorn_of(app, "agent")]
    running = [asyncio.create_task(server.serve()) for server in servers]
    assert await asyncio.to_thread(served.stdout.readline), "the server did not start"
    assert client.poll_for_status("zero") == "success"
    rows = [json.loads(line) for line in open("rows.jsonl")]
    collect = RolloutCollectionConfig(
        agent_name="agent", input_jsonl_fpath="rows.jsonl", output_jsonl_fpath="rollouts.jsonl", num_repeats=2)
    try:
        results = await Collection().run_from_config(collect)
    except ClientResponseError as error:
        print(json.dumps([error.status, error.response_content.decode()]))
        return
    finally:
        for one in servers:
            one.should_exit = True
        await asyncio.gather(*running)
        await server_utils.get_global_aiohttp_client().close()
    for result in results:
        BaseVerifyResponse.model_validate(result)
    kept = ("reward", "guerdon/equals", "guerdon/choosy", "guerdon/choosy/failed", "guerdon/unscored", "id",
            "_ng_failure_class", "instance_config", "failure_reason")
    print(json.dumps([{key: result.get(key) for key in kept} for result in results]))
    print(json.dumps([line for line in map(json.loads, open("rollouts_failures.jsonl"))]))
    (metrics,) = json.load(open("rollouts_aggregate_metrics.json"))
    AggregateMetrics.model_validate(metrics)
    theirs = compute_aggregate_metrics([result for result in results if "_ng_failure_class" not in result])
    print(json.dumps([metrics, theirs.model_dump()]))

try:
    asyncio.run(main())
finally:
    served.terminate()
    served.wait()
"""

NEMO_GYM = (
    *("nemo-gym==0.4.0", "omegaconf==2.3.0", "hydra-core==1.3.2", "antlr4-python3-runtime==4.9.3"),
    *("yappi==1.7.6", "gprof2dot==2025.4.14", "pydot==4.0.1", "itsdangerous==2.2.0", "openai==2.7.2"),
)


@pytest.fixture
def nemo_gym(peer: Any, folder: Path) -> Any:
    """NeMo Gym, a resources server's entrypoint, and rows: right, wrong and with a call."""
    (folder / "app.py").write_text(APP)
    rows = [
        {"id": number, "expected_answer": "A", "responses_create_params": {"input": said}}
        for number, said in enumerate(("A", "b", "tool A"))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return peer(*NEMO_GYM, http=True, any_python=True)


def add_row(folder: Path, text: str) -> None:
    row = {"id": 9, "expected_answer": "A", "responses_create_params": {"input": text}}
    with (folder / "rows.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


@pytest.mark.slow
def test_nemo_gym_collects_rewards_and_metrics(nemo_gym: Any, folder: Path) -> None:
    results, failures, (ours, theirs) = nemo_gym.run(SCRIPT, folder)
    assert [result["id"] for result in results] == [0, 0, 1, 1, 2, 2]
    assert [result["reward"] for result in results] == pytest.approx([1.2, 1.2, 0.2, 0.2, 1.2, 1.2])
    assert [result["guerdon/equals"] for result in results] == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    assert failures == []
    for kind in ("agent_metrics", "key_metrics"):
        wanted = {key: value for key, value in theirs[kind].items() if key in ours[kind]}
        assert ours[kind] == pytest.approx(wanted)
    assert set(ours["agent_metrics"]) == set(theirs["agent_metrics"])
    assert ours["key_metrics"]["mean/guerdon/equals"] == pytest.approx(2 / 3)
    for mine, other in zip(ours["group_level_metrics"], theirs["group_level_metrics"], strict=True):
        assert mine == pytest.approx({key: other[key] for key in mine})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "why"), [("down", "infrastructure: ConnectionRefusedError"), ("bug", "verifier: KeyError")]
)
def test_a_failure_stops_nemo_gyms_collection_and_is_no_reward(
    nemo_gym: Any, folder: Path, text: str, why: str
) -> None:
    add_row(folder, text)
    ((status, reason),) = nemo_gym.run(SCRIPT, folder)
    assert status == 500
    assert why in reason


@pytest.mark.slow
def test_an_unscored_rollout_goes_to_nemo_gyms_failures(nemo_gym: Any, folder: Path) -> None:
    add_row(folder, "down")
    results, failures, (ours, theirs) = nemo_gym.run(SCRIPT, folder, "--unscored", "-1")
    assert [result["reward"] for result in results] == pytest.approx(
        [1.2, 1.2, 0.2, 0.2, 1.2, 1.2, -1.0, -1.0]
    )
    for marked in (results[-1], *failures):
        assert (marked["_ng_failure_class"], marked["instance_config"]) == ("unscored", {"mask_sample": True})
        assert "ConnectionRefusedError" in marked["failure_reason"]
    assert len(failures) == 2
    assert ours["agent_metrics"]["mean/reward"] == pytest.approx(theirs["agent_metrics"]["mean/reward"])
    assert ours["agent_metrics"]["mean/guerdon/unscored"] == 0.25
    assert ours["agent_metrics"]["mean/guerdon/choosy/failed"] == 0.25
