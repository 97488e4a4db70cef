"""The parts of asynchronous GRPO: attention, the judge of groups, weights as files, and the failures of the server."""

from __future__ import annotations

import asyncio
import collections
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import aiohttp
import numpy as np
import pytest
import torch
from accelerate import PartialState
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import save_tiny_model
from transformers import AutoModelForCausalLM
from trl.experimental.async_grpo.async_rollout_worker import (
    AsyncRolloutWorker,
    RolloutGroup,
    TrainingSequence,
    _AsyncRolloutLoop,
)
from trl.experimental.async_grpo.packing import TREE_ATTENTION, TreeRow
from trl.experimental.async_grpo.vllm_client import VLLMClient
from vllm_server import VllmServer, served_teacher

from guerdon import Judgement, Score, Verdict
from guerdon.errors import (
    DataError,
    FailureBudgetError,
    GuerdonError,
    InfrastructureError,
    StageFailedError,
    UsageError,
)
from guerdon.grpo.asynchronous.attention import use_tree_attention
from guerdon.grpo.asynchronous.judging import GroupJudge, advantages_of, samples_of
from guerdon.grpo.asynchronous.sampling import (
    Prompts,
    SamplingLoop,
    SamplingWorker,
    Unjudged,
    UnreachableError,
    failure_of,
)
from guerdon.grpo.asynchronous.server import complete, served
from guerdon.grpo.asynchronous.weights import FolderWeightTransfer
from guerdon.manifest.rubrics import resolve_rubric
from guerdon.rubric import Rubric


@pytest.fixture(autouse=True)
def _accelerate() -> None:
    """Let TRL's loggers work, which ask which process this is."""
    PartialState()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def server(folder: Path) -> Iterator[VllmServer]:
    with served_teacher(folder) as running:
        yield running


SAMPLES = ([5, 6, 7, 8], [5, 6, 7, 9, 10], [5, 6, 7, 9, 11, 12], [20, 21], [5, 6, 7, 8])


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_each_packed_sample_has_the_log_probabilities_that_it_has_alone(
    tmp_path: Path, architecture: str
) -> None:
    window = 3 if architecture == "mistral" else None
    folder = save_tiny_model(tmp_path, architecture, sliding_window=window)
    alone = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    use_tree_attention()
    packed_model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=TREE_ATTENTION)
    row: Any = cast("Any", TreeRow)()
    for number, ids in enumerate(SAMPLES):
        row.add(
            {
                "input_ids": np.array(ids),
                "completion_mask": np.array([0] + [1] * (len(ids) - 1)),
                "old_log_probs": np.zeros(len(ids)),
                "advantage": 1.0,
                "group_id": number,
            }
        )
    packed = row.pack()
    assert len(packed["input_ids"]) < sum(map(len, SAMPLES))
    longest_query, longest_path = packed["tree_max_seqlens"].tolist()
    logits = packed_model(
        packed["input_ids"][None],
        position_ids=packed["position_ids"][None],
        tree_kv_index=packed["tree_kv_index"],
        tree_cu_seqlens_q=packed["tree_cu_seqlens_q"],
        tree_cu_seqlens_k=packed["tree_cu_seqlens_k"],
        tree_max_seqlen_q=longest_query,
        tree_max_seqlen_k=longest_path,
    ).logits[0]
    found = logits.log_softmax(-1)[packed["token_index"], packed["shift_labels"][packed["token_index"]]]
    wanted = [
        alone(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)[range(len(ids) - 1), ids[1:]]
        for ids in SAMPLES
    ]
    torch.testing.assert_close(found, torch.cat(wanted), atol=1e-5, rtol=1e-4)


def judgements_of(rewards: Sequence[float | None]) -> list[Judgement]:
    scores = [Score.failed("infrastructure", "down") if one is None else Score(one) for one in rewards]
    return [Judgement.of({"right": Verdict(score, 1.0, 0.0)}) for score in scores]


def message(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def group_of(count: int, number: int = 0, version: int = 1, index: int = 0) -> RolloutGroup:
    ids = [[7, 8 + place] for place in range(count)]
    sequences = [[TrainingSequence([5, 6, *own], [0, 0, 1, 1], [0.0, 0.0, -0.5, -0.25], "")] for own in ids]
    return RolloutGroup(
        prompts=[message("user", "p")] * count,
        reward_kwargs={"index": [index] * count},
        completions=[message("assistant", str(place)) for place in range(count)],
        completions_ids=ids,
        completions_sequences=sequences,
        tool_call_counts=[0] * count,
        tool_failure_counts=[0] * count,
        model_version=version,
        group_id=number,
        env_rewards=[],
        rollout_rewards=[None] * count,
    )


@given(st.lists(st.none() | st.floats(-4, 4, width=16), min_size=2, max_size=8))
def test_advantages_are_those_of_trls_own_worker(rewards: list[float | None]) -> None:
    group = group_of(len(rewards))
    loop: Any = object.__new__(_AsyncRolloutLoop)
    loop.reward_funcs, loop.reward_func_names, loop._env_reward_types = [lambda **_: rewards], ["right"], []
    theirs = {int(sample.input_ids[-1]): sample for sample in asyncio.run(loop._score_group(group))}
    ours = samples_of(group, judgements_of(rewards), advantages_of(rewards), ["right"])
    assert len(ours) == sum(reward is not None for reward in rewards)
    for sample in ours:
        their = theirs[int(sample.input_ids[-1])]
        assert sample.advantage == pytest.approx(their.advantage, abs=1e-9)
        assert sample.metrics["reward"] == their.metrics["reward"]
        assert sample.metrics["reward_std"] == pytest.approx(their.metrics["reward_std"])
        assert sample.metrics["rewards/right/mean"] == their.metrics["rewards/right"]
        for name in ("input_ids", "completion_mask", "old_log_probs"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(their, name))


def test_a_pass_has_each_prompt_once_and_a_resumed_order_continues() -> None:
    prompts = Prompts([f"p{number}" for number in range(5)], seed=3)
    taken = [one["index"] for one in islice(prompts.passing(0), 15)]
    assert all(sorted(taken[start : start + 5]) == [0, 1, 2, 3, 4] for start in (0, 5, 10))
    assert taken[:5] != taken[5:10]
    assert [one["index"] for one in islice(prompts.passing(7), 8)] == taken[7:]
    plain = Prompts(["a", "b"], None)
    assert [one["prompt"] for one in islice(plain.passing(1), 3)] == ["b", "a", "b"]


Judge = Callable[..., GroupJudge]


@pytest.fixture
def open_judge(tmp_path: Path) -> Iterator[Judge]:
    """Opens judges of a manifest's rubric, with queues of their own."""
    opened: list[tuple[GroupJudge, Rubric]] = []

    def judge(source: str, entry: str, capacity: int = 64, **budget: Any) -> GroupJudge:
        (tmp_path / "checks.py").write_text(source)
        (tmp_path / "run.yaml").write_text(
            "name: n\nmodel: m\nstages:\n  - id: s\n    use: async_grpo\n    data: [{use: arithmetic}]\n"
            f"    rewards: [{entry}]\n    params: {{max_steps: 1, weight_transfer: folder}}\n"
        )
        planned = resolve_rubric(str(tmp_path / "run.yaml"))
        rubric = Rubric(planned.entries, workers=1, **budget)
        rows = [{"prompt": "p", "reference": str(number)} for number in range(4)]
        steps = {1: 0, 2: 10}
        one = GroupJudge(rubric, rows, queue.Queue(), steps.__getitem__, capacity)
        opened.append((one, rubric))
        one.start()
        return one

    yield judge
    for one, rubric in opened:
        one.stop()
        rubric.close()


LENGTH = """
def length(completion, reference):
    if reference == "3":
        raise ConnectionError("down")
    return float(completion) + float(reference)
"""


def test_a_group_is_judged_by_its_row_at_the_step_of_the_policy_that_sampled_it(open_judge: Judge) -> None:
    judge = open_judge(LENGTH, "{use: './checks.py:length', weight: {0: 1.0, 10: 0.5}}")
    judge._unjudged.put(Unjudged(group_of(2, number=0, version=1, index=1)))
    judge._unjudged.put(Unjudged(group_of(2, number=1, version=2, index=2)))
    rewards = [judge.samples.get(timeout=60).metrics["reward"] for _ in range(4)]
    assert rewards == [1.0, 2.0, 1.0, 1.5]
    records = [judge.judged.get(timeout=5) for _ in range(2)]
    assert [(one.number, one.step) for one in records] == [(0, 0), (1, 10)]
    assert records[1].rollouts[0].columns == {"reference": "2"}


def test_completions_without_a_reward_are_left_out_and_the_failure_budget_ends_the_training(
    open_judge: Judge,
) -> None:
    judge = open_judge(LENGTH, "{use: './checks.py:length'}", failure_budget=0.5)
    judge._unjudged.put(Unjudged(group_of(2, index=1)))
    assert [judge.samples.get(timeout=60).metrics["reward"] for _ in range(2)] == [1.0, 2.0]
    for number in range(1, 400):
        judge._unjudged.put(Unjudged(group_of(2, number=number, index=3)))
    for _ in range(2):  # each reader gets the error
        with pytest.raises(FailureBudgetError):
            judge.samples.get(timeout=60)


def test_no_more_groups_are_judged_than_the_trainer_has_room_for(open_judge: Judge) -> None:
    judge = open_judge(LENGTH, "{use: './checks.py:length'}", capacity=4)
    for number in range(5):
        judge._unjudged.put(Unjudged(group_of(2, number=number, index=1)))
    time.sleep(2)
    assert judge.samples.qsize() <= 4
    assert [judge.samples.get(timeout=60).group_id for _ in range(10)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_server_takes_weights_from_files_and_the_files_are_deleted(
    server: VllmServer, tmp_path: Path
) -> None:
    weights = {name: tensor + 1 for name, tensor in server.model.state_dict().items()}
    transfer = FolderWeightTransfer(VLLMClient(server.root), tmp_path / "weights", 30)
    transfer.init_weight_transfer()
    for _ in range(2):
        transfer.pause()
        transfer.send_weights(iter(weights.items()))
        transfer.resume()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in server.model.state_dict().items())
    assert server.calls == ["/pause", "/collective_rpc", "/reset_prefix_cache", "/resume"] * 2
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["2"]
    transfer.destroy()
    assert not (tmp_path / "weights").exists()


def test_a_server_that_cannot_train_is_named(server: VllmServer) -> None:
    client = VLLMClient(server.root, 1)
    assert served(client, 1.0).positions == 128
    with pytest.raises(UsageError, match=r"temperature is 0.7.*--logprobs-mode processed_logprobs"):
        served(client, 0.7)
    server.logprobs_mode = "processed_logprobs"
    assert served(client, 0.7).name == "policy"
    server.trains = False
    with pytest.raises(UsageError, match="VLLM_SERVER_DEV_MODE=1"):
        served(client, 1.0)
    with pytest.raises(
        InfrastructureError, match=r"http://127.0.0.1:9 does not answer.*run the same command again"
    ):
        served(VLLMClient("http://127.0.0.1:9", 0.1), 1.0)


def test_completions_of_an_evaluation_depend_on_their_seeds_alone(server: VllmServer) -> None:
    options = {"model": "policy", "max_tokens": 6, "temperature": 1.0}
    first = complete(server.root, [[5, 6], [7]], [1, 2], options, 30)
    assert complete(server.root, [[7], [5, 6]], [2, 1], options, 30) == first[::-1]


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        ("DataError: the prompt is long", DataError, "the prompt is long"),
        (
            "RefusedError: the server answers 404",
            StageFailedError,
            "cannot be sampled: the server answers 404",
        ),
        (
            "ClientConnectorError: refused",
            InfrastructureError,
            "does not answer: ClientConnectorError: refused",
        ),
        ("UnreachableError: refused", InfrastructureError, "does not answer: UnreachableError: refused"),
        ("TimeoutError: ", InfrastructureError, "run the same command again"),
        ("KeyError: 'x'", StageFailedError, "the process that samples the rollouts failed: KeyError: 'x'"),
        (None, StageFailedError, "is stuck: heartbeat stale"),
    ],
)
def test_failures_of_the_process_that_samples_have_classes(
    cause: str | None, kind: type[GuerdonError], text: str
) -> None:
    error = RuntimeError("heartbeat stale")
    error.__cause__ = None if cause is None else RuntimeError(f"{cause}\nTraceback …")
    found = failure_of(error)
    assert type(found) is kind
    assert text in str(found)


def test_a_server_that_cannot_be_connected_to_is_given_up_after_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            await session.post("http://127.0.0.1:1/v1/completions")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    loop: Any = object.__new__(SamplingLoop)
    loop._counters = collections.Counter()
    with pytest.raises(UnreachableError):
        asyncio.run(loop._retry(ask, label="a completion", max_attempts=30))
    assert sum(waited) <= 15


def test_a_process_that_ends_before_it_samples_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(self: Any) -> None:
        assert {signal.SIGINT, signal.SIGTERM} <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
        raise RuntimeError("child exited during init (exitcode=-9).")

    monkeypatch.setattr(AsyncRolloutWorker, "start", ends)
    with pytest.raises(StageFailedError, match=r"does not start: .*exitcode=-9.*killed.*resume"):
        object.__new__(SamplingWorker).start()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_judge_stops_though_its_queue_never_gives_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, ended = threading.Event(), threading.Event()

    class HalfWritten:
        def get(self, timeout: float) -> None:
            waits.set()
            ended.wait()
            raise queue.Empty

    monkeypatch.setattr("guerdon.grpo.asynchronous.judging._STOP_S", 0.1)
    judge = GroupJudge(Rubric([]), [], HalfWritten(), int, 8)
    judge.start()
    assert waits.wait(10)
    judge.stop()
    ended.set()
