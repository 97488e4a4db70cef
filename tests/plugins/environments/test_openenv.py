"""The environment ``openenv``, on a server of the package and on servers that break its protocol."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openenv_packages import PACKAGES
from websockets.sync.server import ServerConnection, serve

from guerdon.errors import InfrastructureError, MissingDependencyError
from guerdon_plugins.environments.openenv import OpenEnv


@contextmanager
def server(*answers: str | None) -> Iterator[OpenEnv]:
    """A server that gives these answers in each session; ``None`` closes it, and after the last it is silent."""

    def session(connection: ServerConnection) -> None:
        for answer in answers:
            connection.recv()
            if answer is None:
                return
            connection.send(answer)
        for _ in connection:
            pass

    with serve(session, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        port = running.socket.getsockname()[1]
        try:
            yield OpenEnv(f"http://127.0.0.1:{port}", describe=False, limit_s=0.5)
        finally:
            running.shutdown()
            thread.join()


def seen(**data: Any) -> str:
    return json.dumps({"type": "observation", "data": data})


FIRST = seen(observation={"text": "hello"}, reward=None, done=False)


def test_openenv_sums_rewards_or_takes_the_last_and_ends_the_episode() -> None:
    steps = [
        seen(observation={"text": "a"}, reward=0.5),
        seen(observation={"text": "b", "n": 1}, reward=True, done=True),
    ]
    with server(FIRST, *steps) as env:
        assert env.reset() == "hello"
        assert env.get_reward() == 0.0
        assert env.step({"x": 1}) == "a"
        assert env.step({"x": 2}) == '{"text": "b", "n": 1}\n[the episode has ended]'
        with pytest.raises(ValueError, match="has ended"):
            env.step({"x": 3})
        assert env.get_reward() == 1.5
        env._sums = False
        assert env.get_reward() == 1.0


def test_openenv_refusal_of_an_action_is_text_and_of_a_session_is_infrastructure() -> None:
    refused = json.dumps({"type": "error", "data": {"message": "no such move", "code": "VALIDATION_ERROR"}})
    with server(FIRST, refused, seen(observation="fine")) as env:
        env.reset()
        with pytest.raises(ValueError, match="no such move"):
            env.step({"x": 1})
        assert env.step({"x": 2}) == "fine"
        with pytest.raises(TypeError, match="not an object"):
            env.step("left")  # type: ignore[arg-type]
    full = json.dumps({"type": "error", "data": {"message": "full", "code": "CAPACITY_REACHED"}})
    with server(full) as env, pytest.raises(InfrastructureError, match=r"full .*max_concurrent_envs"):
        env.reset()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "is lost"),
        ("{", "is lost"),
        ("[]", "not OpenEnv's protocol"),
        ('{"type": "observation"}', "not OpenEnv's protocol"),
        (seen(observation="x", reward="much"), "not a number"),
        (seen(observation="x", reward=float("nan")), "not a number"),
        ("silence", "does not answer within 0.5 s"),
    ],
)
def test_openenv_server_that_breaks_the_protocol_is_infrastructure(answer: str | None, message: str) -> None:
    answers = (FIRST,) if answer == "silence" else (FIRST, answer)
    with server(*answers) as env:
        env.reset()
        with pytest.raises(InfrastructureError, match=message):
            env.step({"x": 1})
        if answer is None:
            with pytest.raises(InfrastructureError, match="was lost"):
                env.step({"x": 1})
            assert env.reset() == "hello"


def test_openenv_without_a_server_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        env = OpenEnv(f"http://127.0.0.1:{taken.getsockname()[1]}", limit_s=1)
        for call in (env.preflight, env.reset):
            with pytest.raises(InfrastructureError):
                call()


@pytest.mark.parametrize("row", [{"reset": [1]}, {"reset": "[1]"}, {"reset": "{"}])
def test_openenv_reset_that_is_not_arguments_is_refused(row: dict[str, Any]) -> None:
    with server(FIRST) as env, pytest.raises(ValueError, match=r"arguments by name|Expecting"):
        env.reset(**row)


@pytest.mark.parametrize("params", [{"server": "localhost:8000"}, {"limit_s": 0}, {"limit_s": float("nan")}])
def test_openenv_refuses_params_out_of_range(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        OpenEnv(**{"server": "http://x", **params})


def test_openenv_without_websockets_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with pytest.raises(MissingDependencyError, match=r"guerdon\[openenv\]"):
        OpenEnv("http://x")


SCRIPT = """
import json, socket, threading
from pathlib import Path
import uvicorn
from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from guerdon.errors import InfrastructureError
from guerdon.testing import EnvironmentConformance, run_checks
from guerdon_plugins.environments.openenv import OpenEnv

class Guess(Action):
    number: int

class Hint(Observation):
    text: str

class Guessing(Environment[Guess, Hint, State]):
    SUPPORTS_CONCURRENT_SESSIONS = True
    def __init__(self):
        super().__init__()
        self.count, self.secret = 0, 0
    def reset(self, seed=None, episode_id=None, secret=3, **kwargs):
        self.count, self.secret = 0, secret
        return Hint(text="Guess a number.")
    def step(self, action, timeout_s=None, **kwargs):
        self.count += 1
        if action.number < 0: raise RuntimeError("no negative numbers")
        right = action.number == self.secret
        return Hint(text="right" if right else "wrong", reward=1.0 if right else -0.25, done=right)
    @property
    def state(self): return State(episode_id="e", step_count=self.count)

def start(sessions):
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    app = create_app(Guessing, Guess, Hint, max_concurrent_envs=sessions)
    running = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    threading.Thread(target=running.run, args=([listening],), daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}"

address = start(2)
env, other = OpenEnv(address), OpenEnv(address, reward="last", describe=False)
env.preflight()
print(json.dumps([env.reset(reset='{"secret": 5}'), other.reset()]))

def tell(env, action):
    try: return env.step(action)
    except ValueError as error: return f"error: {error}"

print(json.dumps([tell(env, {"number": n}) for n in (3, -1)] + [tell(env, {"nummer": 3}), tell(env, {"number": 5})]))
print(json.dumps([tell(other, {"number": n}) for n in (5, 3)]))
print(json.dumps([env.get_reward(), env.state(), other.get_reward()]))
third = OpenEnv(address)
try:
    third.reset()
except InfrastructureError as error:
    print(json.dumps([str(error)]))
class Kit(EnvironmentConformance):
    plugin = "openenv"
    base_dir = Path.cwd()
    params = {"server": start(64)}
    row = {"reset": {"secret": 4}}
    episode = (("step", {"action": {"number": 1}}), ("step", {"action": {"number": 4}}))
    reward = 0.75

print(json.dumps([f"{one.check}: {one.message}" for one in run_checks(Kit) if one.outcome == "failed"]))
"""


def test_openenv_on_a_server_of_the_package(peer: Any, tmp_path: Any) -> None:
    begun, guesses, others, ended, (full,), failed = peer(*PACKAGES).run(SCRIPT, tmp_path)
    assert begun[0].startswith("Guess a number.\n\nAn action has these fields: ")
    assert '"number"' in begun[0]
    assert begun[1] == "Guess a number."
    assert guesses[0] == "wrong"
    assert guesses[1].startswith("error: no negative numbers")
    assert guesses[2].startswith("error: ")
    assert "nummer" in guesses[2]
    assert guesses[3] == "right\n[the episode has ended]"
    assert others == ["wrong", "right\n[the episode has ended]"]
    assert ended[0] == 0.75
    assert ended[1]["state"]["step_count"] == 3
    assert (ended[1]["steps"], ended[1]["done"], ended[2]) == (4, True, 1.0)
    assert "max_concurrent_envs" in full
    assert failed == []
