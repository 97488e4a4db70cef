"""The adapter to OpenRLHF, and the server's ``/get_reward``, called by OpenRLHF's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guerdon.adapters.openrlhf import reward_function, rollouts
from guerdon.errors import CheckFailedError, DataError, InfrastructureError


def test_openrlhfs_calling_convention(folder: Path) -> None:
    reward_func = reward_function("m.yaml", stage="zero", workers=1)
    queries = ["<s>user: a</s>assistant: A<|im_end|>\n", "<s>user: b</s>assistant: b</s>"]
    prompts = ["user: a</s>assistant: ", "user: b</s>assistant: "]
    answer = reward_func(queries, prompts, ["A", {"reference": "c"}], images=None)
    assert answer["rewards"].tolist() == pytest.approx([1.2, 0.2])
    assert answer["scores"] is answer["rewards"]
    assert {name: values.tolist() for name, values in answer["extra_logs"].items()} == {
        "equals": [1.0, 0.0],
        "choosy": pytest.approx([0.1, 0.1]),
        "shout": [0.5, 0.0],
    }


def test_what_has_no_reward(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    strict = reward_function("m.yaml", stage="zero", workers=1)
    with pytest.raises(InfrastructureError, match="'choosy' failed: infrastructure"):
        strict(["pdown"], ["p"], ["x"])
    assert "ConnectionRefusedError: nobody there" in caplog.text  # OpenRLHF itself would say nothing
    with pytest.raises(CheckFailedError, match="timeout: no verdict within 1 s"):
        strict(["phang"], ["p"], ["x"])
    lenient = reward_function("m.yaml", stage="zero", unscored=-1.0, workers=1)
    assert lenient(["pdown", "pA"], ["p", "p"], ["x", "A"])["rewards"].tolist() == pytest.approx([-1.0, 1.2])
    manifests_word = reward_function("m.yaml", stage="forgiving", workers=1)
    assert manifests_word(["pdown"], ["p"], ["down"])["rewards"].tolist() == [1.0]


def test_completions_are_what_follows_the_prompt() -> None:
    (repeated,) = rollouts(["Q: 1+1? A: Q: 1+1? A: 2</s></s>"], ["Q: 1+1? A: "], ["2"])
    assert repeated.completion == "Q: 1+1? A: 2"
    (whole,) = rollouts(["all of it"], [""], ["2"])
    assert whole.completion == "all of it"
    with pytest.raises(DataError, match="query 0 does not hold its prompt"):
        rollouts(["cut off, 2"], ["the prompt, cut off, "], ["2"])
    with pytest.raises(DataError, match="2 queries, 1 prompts and 1 labels"):
        rollouts(["a", "b"], ["a"], ["c"])


AGENT = """
import asyncio, json, sys
import torch
from types import SimpleNamespace
from openrlhf.utils.agent import SingleTurnAgentExecutor

TEXTS = {1: "say A:", 2: "A", 3: "</s>", 4: "bug"}

class Tokenizer:
    def __call__(self, text, **_):
        return {"input_ids": torch.tensor([[next(i for i, t in TEXTS.items() if t == text)]])}
    def decode(self, ids, skip_special_tokens): return "".join(TEXTS[i] for i in ids)

class Engine:
    def __init__(self, reply): self.reply = reply
    async def generate(self, prompt_ids, params, **_):
        output = SimpleNamespace(token_ids=self.reply, finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])

async def execute(reward, replies):
    executor = SingleTurnAgentExecutor(reward)
    params = SimpleNamespace(max_tokens=4, logprobs=None)
    outputs = await asyncio.gather(*[
        executor.execute("say A:", "A", params, 16, Tokenizer(), Engine(reply)) for reply in replies
    ])
    for output in outputs:
        reward = None if output["reward"] is None else torch.tensor([output["reward"]]).flatten().tolist()
        print(json.dumps([reward, sorted(output["extra_logs"])]))
asyncio.run(execute(sys.argv[1], [[2, 3], [2, 2, 3], [4, 3]]))
asyncio.run(execute(sys.argv[2], [[2, 3], [2, 2, 3]]))
"""


@pytest.fixture(scope="module")
def openrlhf(peer: Any) -> Any:
    return peer("openrlhf==0.11.2", "pylatexenc==2.11", http=True)


def test_openrlhfs_own_executor(openrlhf: Any, folder: Path, serving: Any) -> None:
    (folder / "reward.py").write_text(
        "from guerdon.adapters.openrlhf import reward_function\n"
        "reward_func = reward_function('m.yaml', stage='zero', workers=1)\n"
    )
    arguments = ("-m", "m.yaml", "--stage", "zero")
    with serving(folder, *arguments, GUERDON_SERVE_TOKEN="hush") as server:
        address = server.url.replace("http://", "http://openrlhf:hush@") + "/get_reward"
        lines = openrlhf.run(AGENT, folder, "reward.py", address)
    right, wrong, broken, right_by_http, wrong_by_http = lines
    assert right == right_by_http == [[pytest.approx(1.2)], ["choosy", "equals", "shout"]]
    assert wrong == wrong_by_http == [[pytest.approx(0.4)], ["choosy", "equals", "shout"]]
    assert broken == [None, []]  # OpenRLHF's own word for a reward that could not be had
