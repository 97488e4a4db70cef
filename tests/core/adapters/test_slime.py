"""The adapter to slime, by the signatures of its customization guide."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guerdon.adapters.slime import reward_function
from guerdon.errors import CheckFailedError, DataError, InfrastructureError, UsageError

ARGS = SimpleNamespace(reward_key=None)


@dataclass
class Sample:
    """The fields of slime's Sample (snapshot 624b824 of 2026-08-21) that a reward function may read and write."""

    response: str
    label: Any = None
    prompt: Any = "Say A."
    metadata: dict[str, Any] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=lambda: [7, 7, 1, 2])
    response_length: int = 2
    loss_mask: list[int] | None = None
    group_index: int | None = 0
    index: int | None = 0
    remove_sample: bool = False


def ask(reward: Any, sample: Any, args: Any = ARGS) -> Any:
    async def call() -> Any:
        return await reward(args, sample, evaluation=False)

    return asyncio.run(call())


def test_reward_function_of_a_sample_is_an_async_function_of_args_and_sample(folder: Path) -> None:
    reward = reward_function("m.yaml", stage="zero", workers=1)
    assert asyncio.iscoroutinefunction(reward)
    assert reward.__name__ == "zero"
    sample = Sample("A", "A")
    assert ask(reward, sample) == 1.2
    assert sample.metadata["guerdon"] == {"equals": 1.0, "choosy": 0.1, "shout": 0.5}
    assert ask(reward, sample) == 1.2  # its own values are not a column
    named = ask(reward, Sample("A", "A"), SimpleNamespace(reward_key="total", eval_reward_key="held"))
    assert named == {"equals": 1.0, "choosy": 0.1, "shout": 0.5, "total": 1.2, "held": 1.2}


def test_reward_function_gives_verifiers_the_metadata_and_the_response_s_tokens(folder: Path) -> None:
    (folder / "w.py").write_text(
        "def counted(completions, completion_ids, level, gold, **kwargs):\n"
        "    return [len(ids) + l + (c == g) / 10 for c, ids, l, g in\n"
        "            zip(completions, completion_ids, level, gold)]\n"
    )
    reward = reward_function("./w.py:counted", columns={"gold": "truth.answer"}, workers=1)
    sample = Sample("A", metadata={"level": 4, "truth": {"answer": "A"}})
    assert ask(reward, sample) == 6.1


def test_reward_function_of_a_sample_without_a_reward(folder: Path) -> None:
    reward = reward_function("m.yaml", stage="zero", workers=1)
    with pytest.raises(CheckFailedError, match="set 'unscored'"):
        ask(reward, Sample("bug", "A"))
    with pytest.raises(InfrastructureError, match="nobody there"):
        ask(reward, Sample("down", "A"))
    lenient = reward_function("m.yaml", stage="zero", unscored=-1.0, workers=1)
    broken, fine = Sample("bug", "A"), Sample("A", "A")
    assert ask(lenient, [broken, fine]) == [-1.0, 1.2]
    assert (broken.remove_sample, fine.remove_sample) == (True, False)
    assert broken.metadata["guerdon"]["choosy"] is None


def test_reward_function_of_a_group_reward_needs_group_rm(folder: Path) -> None:
    (folder / "g.py").write_text(
        "def shortest(completions):\n"
        "    return [float(len(one) == min(map(len, completions))) for one in completions]\n"
        "shortest.guerdon_kind = 'group_reward'\n"
    )
    reward = reward_function("./g.py:shortest", workers=1)
    group = [Sample("aa"), Sample("a"), Sample("a", group_index=0)]
    assert ask(reward, group) == [0.0, 1.0, 1.0]
    assert ask(reward, [Sample("aa", group_index=1), Sample("a", group_index=2)]) == [1.0, 1.0]
    with pytest.raises(UsageError, match="--group-rm"):
        ask(reward, Sample("a"))


def test_reward_function_refuses_text_that_the_model_did_not_write(folder: Path) -> None:
    reward = reward_function("./v.py:equals", workers=1)
    with pytest.raises(DataError, match="metadata\\['turns'\\]"):
        ask(reward, Sample("<result>A</result>B", "A", loss_mask=[1, 0, 0, 1]))
    turns = [{"role": "tool", "content": "A"}, {"role": "assistant", "content": "B"}]
    assert ask(reward, Sample("AB", "A", loss_mask=[0, 1], metadata={"turns": turns})) == 0.0
    assert ask(reward, Sample("A", "A", loss_mask=[1, 1])) == 1.0


def test_reward_function_says_that_schedules_stay_at_step_0(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        reward_function("m.yaml", stage="forgiving", workers=1)
        assert not caplog.records
        reward_function("m.yaml", stage="zero", workers=1)
    (record,) = caplog.records
    assert "'equals' changes with the training step, which slime does not tell" in record.getMessage()
