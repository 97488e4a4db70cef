"""The adapter to verifiers, in its own tasks (0.4) and in its own Rubric (0.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from peers import VERIFIERS, VERIFIERS_BEFORE

from guerdon.adapters.verifiers import reward_function
from guerdon.errors import CheckFailedError

TASK = """
import asyncio, json
import verifiers.v1 as vf

class Data(vf.TaskData):
    answer: str

class Task(vf.Task[Data, vf.State, vf.TaskConfig]):
    pass

config = vf.TaskConfig(rewards={"zero": {"fn": "my_rewards.py:zero", "weight": 0.5}})

async def score(reply):
    task = Task(Data(prompt="Say A.", answer="A"), config)
    trace = vf.Trace.model_construct(rewards={}, metrics={}, root_reply=reply)
    try:
        await task.score(trace)
    except vf.TaskError as error:
        return [None, trace.rewards["zero"], str(error)]
    return [trace.reward, trace.rewards["zero"].score, trace.metrics]

async def main():
    print(json.dumps(await asyncio.gather(*(score(reply) for reply in ("A", "b", "down")))))

asyncio.run(main())
"""

RUBRIC = """
import asyncio, json
import verifiers as vf
from guerdon.adapters.verifiers import classic_rubric

def state(*replies):
    prompt = [{"role": "user", "content": "Say A."}]
    row = {"prompt": prompt, "answer": "A", "info": {}, "task": "t", "example_id": 0}
    return vf.State(input=row, trajectory=[], **row, completion=[
        {"role": "tool" if reply == "a tool's" else "assistant", "content": reply} for reply in replies])

async def main():
    rubric = classic_rubric("m.yaml", stage="zero", workers=1)
    states = [state("a tool's", "A"), state("b")]
    await rubric.score_group(states)
    alone = state("b")
    await rubric.score_rollout(alone)
    print(json.dumps([isinstance(rubric, vf.Rubric), rubric.weights]))
    print(json.dumps([[s["reward"], s["metrics"]] for s in [*states, alone]]))
    print(json.dumps([s["advantage"] for s in states]))
    broken = state("down")
    try:
        await rubric.score_group([state("A"), broken])
    except OSError as error:
        print(json.dumps([broken.get("reward"), str(error)]))
    await rubric.teardown()

asyncio.run(main())
"""


def test_a_task_of_todays_verifiers(peer: Any, folder: Path) -> None:
    (folder / "my_rewards.py").write_text(
        "from guerdon.adapters.verifiers import reward_function\n"
        "zero = reward_function('m.yaml', stage='zero', columns={'reference': 'answer'}, workers=1)\n"
    )
    verifiers = peer(*VERIFIERS, http=True)
    ((right, wrong, broken),) = verifiers.run(TASK, folder)
    assert right == [
        pytest.approx(0.6),
        pytest.approx(1.2),
        {"zero/equals": 1.0, "zero/choosy": 0.1, "zero/shout": 0.5},
    ]
    assert wrong[:2] == [pytest.approx(0.1), pytest.approx(0.2)]
    assert broken[:2] == [None, None]
    assert "'choosy' failed: infrastructure: ConnectionRefusedError: nobody there" in broken[2]


def test_the_rubric_of_verifiers_before(peer: Any, folder: Path) -> None:
    verifiers = peer(*VERIFIERS_BEFORE)
    kind, scored, advantages, broken = verifiers.run(RUBRIC, folder)
    assert kind == [True, [1.0, 2.0, 0.0]]
    assert [reward for reward, _ in scored] == [pytest.approx(1.2), pytest.approx(0.2), pytest.approx(0.2)]
    assert scored[0][1] == {"equals": 1.0, "choosy": 0.1, "shout": 0.5}
    assert advantages == [pytest.approx(0.5), pytest.approx(-0.5)]
    assert broken[0] is None  # its own class would have said 0.0
    assert "'choosy' failed: infrastructure" in broken[1]


class Task(dict[str, Any]):
    def model_dump(self) -> dict[str, Any]:
        return dict(self)


class Trace:
    def __init__(self, *replies: str, root_reply: str | None = None) -> None:
        self.root_reply = root_reply
        self.assistant_messages = [
            Task(role="assistant", content=reply, reasoning_content=None) for reply in replies
        ]
        self.metrics: dict[str, float] = {}

    def record_metric(self, name: str, value: float) -> None:
        self.metrics[name] = value


def test_the_calling_convention_of_a_tasks_reward(folder: Path) -> None:
    reward = reward_function("./v.py:choosy", workers=1)
    assert asyncio.iscoroutinefunction(reward)
    assert reward.__name__ == "choosy"
    trace = Trace("12345")
    assert asyncio.run(judged(reward(Task(prompt=None), trace))) == 0.5
    assert trace.metrics == {"choosy/choosy": 0.5}
    with pytest.raises(CheckFailedError, match="the trace has no reward"):
        asyncio.run(reward(Task(prompt="p"), Trace("skip")))


async def judged(reward: Awaitable[float]) -> float:
    return await reward


def test_reward_function_of_a_trace_judges_all_turns_of_the_model(folder: Path) -> None:
    reward = reward_function("./v.py:choosy", workers=1)
    assert (
        asyncio.run(judged(reward(Task(prompt=None), Trace("123", "45")))) == 0.6
    )  # with a newline between them
    assert asyncio.run(judged(reward(Task(prompt=None), Trace("123", root_reply="1234")))) == 0.4
    trace = Trace("4")
    trace.assistant_messages[0]["reasoning_content"] = "hm"
    assert asyncio.run(judged(reward(Task(prompt=None), trace))) == len("<think>\nhm\n</think>\n\n4") / 10
