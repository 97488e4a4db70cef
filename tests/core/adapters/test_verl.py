"""The adapter to verl: its calling convention, and verl's own reward managers."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from guerdon.adapters.verl import compute_score
from guerdon.errors import CheckFailedError, FailureBudgetError, ManifestError


def test_verls_calling_convention(folder: Path) -> None:
    answer = compute_score(
        data_source="openai/gsm8k",
        solution_str="A",
        ground_truth="A",
        extra_info={"split": "train", "num_turns": None},
        rubric="m.yaml",
        stage="zero",
        reward_router_address="http://nowhere",
    )
    assert answer == {"equals": 1.0, "choosy": 0.1, "shout": 0.5, "unscored": 0.0, "score": 1.2}


def test_what_has_no_reward(folder: Path) -> None:
    arguments: dict[str, Any] = {"data_source": "d", "ground_truth": "x", "rubric": "m.yaml", "stage": "zero"}
    with pytest.raises(CheckFailedError, match="The trainer cannot leave a completion out"):
        compute_score(solution_str="bug", **arguments)
    answer = compute_score(solution_str="bug", unscored=-1.0, **arguments)
    assert (answer["score"], answer["unscored"]) == (-1.0, 1.0)
    assert math.isnan(answer["choosy"])

    def many() -> None:
        for _ in range(30):
            compute_score(solution_str="down", unscored=0.0, **arguments)

    with pytest.raises(FailureBudgetError):  # whatever 'unscored' says
        many()


def test_mistakes_are_told(folder: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere\.yaml: cannot be read"):
        compute_score("d", "s", "g", rubric="nowhere.yaml")


def test_many_threads_as_in_verls_executor(folder: Path) -> None:
    before = sum(thread.name == "guerdon-rubric" for thread in threading.enumerate())

    def call(number: int) -> float:
        reference = str(number) if number % 2 else "no"
        return compute_score("d", str(number), reference, {"n": number}, rubric="./v.py:equals")["score"]

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(call, range(200))) == [float(number % 2) for number in range(200)]
    assert sum(thread.name == "guerdon-rubric" for thread in threading.enumerate()) == before + 1


MANAGER = """
import asyncio, json
import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

TEXTS = {1: "A", 2: "B", 3: "bug"}
class Tokenizer:
    def decode(self, ids, skip_special_tokens): return "".join(TEXTS[int(i)] for i in ids)

def config(**more):
    return OmegaConf.create({"reward": {"custom_reward_function": {
        "path": "pkg://guerdon.adapters.verl", "name": "compute_score",
        "reward_kwargs": {"rubric": "m.yaml", "stage": "zero", "workers": 1, **more}}}})

def item(reply):
    return DataProto.from_dict(
        tensors={"responses": torch.tensor([[reply]]), "attention_mask": torch.tensor([[1, 1]]),
                 "prompts": torch.tensor([[9]])},
        non_tensors={"data_source": ["d"], "reward_model": [{"ground_truth": "A"}], "extra_info": [{}]})

async def score(config):
    manager = get_reward_manager_cls("naive")(config, Tokenizer(), get_custom_reward_fn(config))
    outputs = await asyncio.gather(
        *(manager.run_single(item(reply)) for reply in (1, 2, 3)), return_exceptions=True)
    print(json.dumps([
        [output["reward_score"], sorted(output["reward_extra_info"])] if isinstance(output, dict) else repr(output)
        for output in outputs]))
    return manager, [output["reward_score"] for output in outputs[:2]]

async def main():
    manager, scores = await score(config())
    print(json.dumps(manager.assemble_rm_scores(DataProto.concat([item(1), item(2)]), scores).tolist()))
    await score(config(unscored=-1.0))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def verl(peer: Any) -> Any:
    ray = (
        *("ray==2.60.0", "jsonschema==4.26.0", "jsonschema-specifications==2025.9.1", "msgpack==1.2.4"),
        *("referencing==0.37.0", "rpds-py==2026.9.1"),
    )
    config = ("omegaconf==2.4.0", "antlr4-python3-runtime==4.9.3")
    tensors = (
        "tensordict==0.15.3",
        "cloudpickle==3.1.2",
        "orjson==3.13.0",
        "pyvers==0.2.3",
        "codetiming==1.4.0",
    )
    return peer("verl==0.9.1", *ray, *config, *tensors, http=True)


def test_verls_own_reward_manager(verl: Any, folder: Path) -> None:
    strict, scores, lenient = verl.run(MANAGER, folder)
    names = ["choosy", "equals", "score", "shout", "unscored"]
    assert strict[:2] == [[pytest.approx(1.2), names], [pytest.approx(0.2), names]]
    assert strict[2].startswith('CheckFailedError("a completion has no reward')
    assert scores == [[pytest.approx(1.2)], [pytest.approx(0.2)]]
    assert lenient[:2] == strict[:2]
    assert lenient[2] == [-1.0, names]
