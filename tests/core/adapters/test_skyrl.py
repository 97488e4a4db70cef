"""The adapter to SkyRL, in SkyRL-gym's own registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from guerdon.adapters.skyrl import environment_class
from guerdon.errors import MissingDependencyError

SCRIPT = """
import json
import skyrl_gym
from skyrl_gym.metrics import aggregate_for_environment
from guerdon.adapters.skyrl import environment_class
from guerdon.errors import GuerdonError

def register(name, **arguments):
    skyrl_gym.register(id=name, entry_point=environment_class("m.yaml", stage="zero", workers=1, **arguments))

register("zero")
register("lenient", unscored=-1.0, columns={"reference": "extra_info.gold"})
PROMPT = [{"role": "user", "content": "Say A."}]

def play(name, reply, **extras):
    env = skyrl_gym.make(name, env_config={}, extras={"max_turns": 1, **extras})
    prompt, _ = env.init(PROMPT)
    assert prompt == PROMPT
    try:
        output = env.step(reply)
    except (GuerdonError, OSError) as error:
        return [type(error).__name__, str(error)], {}
    env.close()
    return [output["reward"], output["done"], output["observations"], output["metadata"]], env.get_metrics()

spec = {"method": "rule", "ground_truth": "A"}
outputs = [play("zero", reply, reward_spec=spec) for reply in ("A", "b", "bug")]
outputs.append(play("lenient", "bug", reward_spec=spec, extra_info={"gold": "bug"}))
print(json.dumps([output for output, _ in outputs]))
print(json.dumps([aggregate_for_environment("zero", [metrics for _, metrics in outputs])]))
try:
    skyrl_gym.make("zero", extras={"reward_spec": spec}).step("A")
except GuerdonError as error:
    print(json.dumps([str(error)]))
"""


def test_an_environment_of_skyrl_gym(peer: Any, folder: Path) -> None:
    outputs, (means,), (early,) = peer("skyrl-gym==0.4.0", "func-timeout==4.3.5").run(SCRIPT, folder)
    right, wrong, broken, lenient = outputs
    assert right == [pytest.approx(1.2), True, [], {"equals": 1.0, "choosy": 0.1, "shout": 0.5}]
    assert wrong[0] == pytest.approx(0.2)
    assert broken[0] == "CheckFailedError"
    assert "'choosy' failed: verifier: KeyError" in broken[1]
    assert lenient == [-1.0, True, [], {"equals": 1.0, "choosy": None, "shout": 0.0}]
    assert means == {
        "equals": pytest.approx(2 / 3),
        "choosy": pytest.approx(0.1),
        "shout": pytest.approx(1 / 6),
        "unscored": pytest.approx(1 / 3),
    }
    assert "before init" in early


def test_environment_class_without_skyrl_gym_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Without:
        def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
            if fullname == "skyrl_gym":
                raise ModuleNotFoundError("No module named 'skyrl_gym'", name=fullname)

    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match="pip install skyrl-gym"):
        environment_class("m.yaml", stage="zero")
