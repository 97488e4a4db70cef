"""Two processes train as one does, and run a manifest together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from slow_cases import slow_but
from warm_python import WarmPython

if TYPE_CHECKING:
    from tests.conftest import Peer

SCRIPT = Path(__file__).with_name("distributed_process.py")
SHARDED = "TRL's own loss is used: the model is sharded"
ADAPTER_STAGES = ["zero2", "zero3"]


def train(python: WarmPython, processes: int, script: str, *arguments: Path | str) -> None:
    """Run a script of this folder in each process of a launch."""
    for done in python.launch(processes, Path(__file__).with_name(script), *arguments):
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def trained(
    tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython
) -> Callable[[str], Path]:
    """Trains with a loss type: the weights before, and those after each number of processes."""
    folder = tmp_path_factory.mktemp("trained")
    model = tiny_model()
    (folder / "before.safetensors").symlink_to(model / "model.safetensors")

    @cache
    def train_with(loss_type: str) -> Path:
        for processes in (1, 2):
            train(warm_python, processes, "distributed_process.py", model, folder, loss_type)
        return folder

    return train_with


@pytest.mark.parametrize("loss_type", slow_but(("dapo",), ("dapo", "grpo")))
def test_two_processes_end_where_one_does(trained: Callable[[str], Path], loss_type: str) -> None:
    folder = trained(loss_type)
    one, two = (load_file(folder / f"{loss_type}-{processes}.safetensors") for processes in (1, 2))
    before = load_file(folder / "before.safetensors")
    assert any(not torch.equal(one[name].float(), before[name].float()) for name in before)
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], rtol=1e-6, atol=1e-9, msg=partial("{}: {}".format, name)
        )


@pytest.mark.slow
@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_two_processes_with_a_token_budget_end_where_one_without_does(
    trained: Callable[[str], Path], loss_type: str, warm_python: WarmPython
) -> None:
    without = trained(loss_type)
    folder = without / "budget"
    folder.mkdir(exist_ok=True)
    train(warm_python, 2, "distributed_process.py", weights_before(without), folder, loss_type, "", "9")
    one = load_file(without / f"{loss_type}-1.safetensors")
    two = load_file(folder / f"{loss_type}-2.safetensors")
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], rtol=1e-6, atol=1e-9, msg=partial("{}: {}".format, name)
        )


@pytest.mark.parametrize("budget", ["", "9"])
def test_two_processes_train_the_tokens_of_highest_entropy_of_both_as_trl_does(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython, budget: str
) -> None:
    weights = []
    for loss in (budget, "trl"):
        folder = tmp_path / f"loss {loss}"
        folder.mkdir()
        train(warm_python, 2, "distributed_process.py", tiny_model(), folder, "dapo", "", loss, "", "0.3")
        weights.append(load_file(folder / "dapo-2.safetensors"))
    ours, trls = weights
    before = load_file(tiny_model() / "model.safetensors")
    for name, weight in ours.items():
        assert not torch.equal(weight, before[name])
        # TRL's head is in float32. These steps move weights by 0.006.
        torch.testing.assert_close(weight, trls[name], rtol=0, atol=1e-7)


def test_fsdp2_over_two_processes_ends_where_one_process_does(
    trained: Callable[[str], Path], warm_python: WarmPython
) -> None:
    folder = trained("dapo")
    (folder / "fsdp2").mkdir()
    arguments = (weights_before(folder), folder / "fsdp2", "dapo", "fsdp2")
    for done in warm_python.launch(2, SCRIPT, *arguments):
        assert done.returncode == 0, done.stderr[-3000:]
        assert SHARDED in done.stderr
    check_sharded(folder, "fsdp2")


@pytest.fixture(scope="module")
def adapted(trained: Callable[[str], Path], warm_python: WarmPython) -> Path:
    """The folder of what one process trains with adapters."""
    before = weights_before(trained("dapo"))
    folder = trained("dapo") / "adapted"
    folder.mkdir()
    (folder / "before.safetensors").symlink_to(before / "model.safetensors")
    train(warm_python, 1, "distributed_process.py", before, folder, "dapo", "", "", "lora")
    return folder


@pytest.mark.slow
def test_adapters_over_fsdp2_and_their_merged_model_are_those_of_one_process(
    adapted: Path, warm_python: WarmPython
) -> None:
    (adapted / "fsdp2").mkdir()
    before = weights_before(adapted)
    train(warm_python, 2, "distributed_process.py", before, adapted / "fsdp2", "dapo", "fsdp2", "", "lora")
    check_sharded(adapted, "fsdp2")
    check_merged(adapted, "fsdp2")


@pytest.mark.parametrize("sharding", ADAPTER_STAGES)
def test_adapters_over_deepspeed_and_their_merged_model_are_those_of_one_process(
    adapted: Path, sharding: str, peer: Callable[..., Peer]
) -> None:
    launch_deepspeed(peer, weights_before(adapted), adapted / sharding, "dapo", sharding, "", "lora")
    check_sharded(adapted, sharding)
    check_merged(adapted, sharding)


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_deepspeed_over_two_processes_ends_where_one_process_does(
    trained: Callable[[str], Path], sharding: str, peer: Callable[..., Peer]
) -> None:
    folder = trained("dapo")
    launch_deepspeed(peer, weights_before(folder), folder / sharding, "dapo", sharding)
    check_sharded(folder, sharding)


def launch_deepspeed(peer: Callable[..., Peer], model: Path, folder: Path, *arguments: str) -> None:
    """Train in two processes with DeepSpeed."""
    deepspeed = peer("deepspeed==0.19.8", "einops", "hjson", "ninja", "py-cpuinfo")
    folder.mkdir()
    # Libraries look for DeepSpeed when they are imported, so these processes are not forked from a warm one.
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    path = os.pathsep.join((str(deepspeed.folder), *sys.path))
    done = subprocess.run(
        [*launch, SCRIPT, model, folder, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert SHARDED in done.stderr


def weights_before(trained: Path) -> Path:
    """The folder of the model before training."""
    return (trained / "before.safetensors").resolve().parent


def check_sharded(trained: Path, sharding: str) -> None:
    """Compare losses, gradient norms and weights with those of one process."""
    one = json.loads((trained / "dapo-1.json").read_text())
    two = json.loads((trained / sharding / f"dapo-{sharding}.json").read_text())
    assert two["type"] == ("FSDP" if sharding == "fsdp2" else "DEEPSPEED")
    if sharding != "zero2":  # which shards no weights
        assert two["held"] < 0.6 * one["held"]
    for ours, theirs in zip(one["steps"], two["steps"], strict=True):
        assert theirs == pytest.approx(ours, rel=1e-6)
    first = load_file(trained / "dapo-1.safetensors")
    second = load_file(trained / sharding / f"dapo-{sharding}.safetensors")
    for name in first:  # four steps move weights by 0.006; DeepSpeed's main weights are float32
        torch.testing.assert_close(second[name].double(), first[name], rtol=0, atol=1e-6)


def check_merged(adapted: Path, sharding: str) -> None:
    """Compare the models with merged adapters, and see that those of one process are not the base."""
    base = load_file(adapted / "before.safetensors")
    one = load_file(adapted / "dapo-1-merged" / "model.safetensors")
    two = load_file(adapted / sharding / f"dapo-{sharding}-merged" / "model.safetensors")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name].double(), one[name].double(), rtol=0, atol=1e-6)
    assert max((one[name] - base[name].double()).abs().max() for name in one) > 1e-3


def test_rewards_of_both_processes_are_known_to_both_with_tools(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython
) -> None:
    train(warm_python, 2, "tools_process.py", tiny_model(max_position_embeddings=4096), tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (first["turns"], second["turns"]) == (2, 1)
    paid = [0.7] * 4 + [0.0, 0.7, 0.0, 0.7]
    assert first["rewards"] == second["rewards"] == pytest.approx(paid)
    assert first["advantages"] == [0.0] * 4
    assert all(advantage != 0 for advantage in second["advantages"])
    assert [reward for reward, _ in first["records"]] == paid


MODULE = """
import json, os, time
from pathlib import Path
class Rows:
    def __iter__(self): return ({"prompt": f"say {i}"} for i in range(16))
def letters(completion):
    Path("workers").mkdir(exist_ok=True)
    with Path("workers", f"{os.getpid()} of {os.getppid()}").open("a") as seen:
        seen.write(json.dumps([time.monotonic(), completion]) + "\\n")
    return sum(map(str.isascii, completion)) / 10
"""

MANIFEST = """\
name: x
scoring: {{workers: 1}}
model: {model}
stages:
  - id: rl
    use: grpo
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:letters'}}]
    params: {{max_steps: 2, num_generations: 4, per_device_train_batch_size: 4, max_completion_length: 6}}
"""


@pytest.mark.slow
def test_a_launch_of_two_processes_runs_a_manifest(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(MANIFEST.format(model=tiny_model()))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "guerdon", "run", "m.yaml", "-o", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Run folder: out") == 1
    stage = tmp_path / "out/stages/rl"
    assert sorted(path.name for path in stage.iterdir()) == [
        "inputs.json", "output", "result.json", "rollouts.jsonl", "work"
    ]  # fmt: skip
    rollouts = [json.loads(line) for line in (stage / "rollouts.jsonl").read_text().splitlines()]
    assert [rollout["step"] for rollout in rollouts] == [1] * 8 + [2] * 8  # four of each process
    events = [json.loads(line)["event"] for line in (tmp_path / "out/events.jsonl").read_text().splitlines()]
    workers = list((tmp_path / "workers").iterdir())
    assert len({worker.name.partition(" of ")[2] for worker in workers}) == 1  # one process has those of both
    *preflight, launch = sorted(
        [json.loads(line) for line in worker.read_text().splitlines()] for worker in workers
    )
    assert len(preflight) <= 1  # its trials of the verifiers have a worker of their own
    assert all(
        calls[-1] < launch[0] for calls in preflight
    )  # which has ended before the pool of the launch starts
    assert {rollout["completion"] for rollout in rollouts} <= {completion for _, completion in launch}
    assert events.count("run_started") == events.count("run_finished") == 1


@pytest.mark.slow
def test_processes_of_two_machines_train_together_and_each_machine_has_one_pool(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython
) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(MANIFEST.format(model=tiny_model()))
    launch = warm_python.launch(4, "-m", "guerdon", "run", "m.yaml", "-o", "out", cwd=tmp_path, machines=2)
    for done in launch:
        assert done.returncode == 0, done.stderr[-3000:]
    assert [done.stdout.count("Run folder: out") for done in launch] == [1, 0, 0, 0]
    stage = tmp_path / "out/stages/rl"
    rollouts = [json.loads(line) for line in (stage / "rollouts.jsonl").read_text().splitlines()]
    assert [rollout["step"] for rollout in rollouts] == [1] * 16 + [2] * 16  # four of each process
    pools: dict[str, set[str]] = {}
    for worker in (tmp_path / "workers").iterdir():
        calls = [json.loads(line) for line in worker.read_text().splitlines()]
        owner = worker.name.partition(" of ")[2]
        pools.setdefault(owner, set()).update(completion for _, completion in calls)
    assert len(pools) == 2
    assert {rollout["completion"] for rollout in rollouts} <= set.union(*pools.values())


GROUPED = """
class Rows:
    def __iter__(self): return ({"prompt": f"say {i}"} for i in range(16))
def whole(completions, completion_ids):
    assert len(completions) == len(completion_ids) == 8, len(completions)
    ranks = sorted(set(completions))
    return [ranks.index(one) / len(ranks) for one in completions]
whole.guerdon_kind = "group_reward"
"""


def test_group_reward_sees_whole_groups_that_processes_share(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython
) -> None:
    (tmp_path / "m.py").write_text(GROUPED)
    options = "num_generations: 8, per_device_train_batch_size: 4, max_completion_length: 6"
    (tmp_path / "m.yaml").write_text(
        MANIFEST.format(model=tiny_model())
        .replace("letters", "whole")
        .replace("num_generations: 4, per_device_train_batch_size: 4, max_completion_length: 6", options)
    )
    for done in warm_python.launch(2, "-m", "guerdon", "run", "m.yaml", "-o", "out", cwd=tmp_path):
        assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / "out/stages/rl/rollouts.jsonl").read_text().splitlines()
    rollouts = [json.loads(line) for line in lines]
    assert len(rollouts) == 16
    for start in (0, 8):
        group = rollouts[start : start + 8]
        ranks = sorted({one["completion"] for one in group})
        for one in group:
            assert one["reward"] == pytest.approx(ranks.index(one["completion"]) / len(ranks))


def in_one_and_in_two(
    python: WarmPython, model: Path, folder: Path, way: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train in one process and in two, check that the weights are equal, and return the batches and metrics of both."""
    for processes in (1, 2):
        train(python, processes, "prompts_process.py", model, folder, way)
    first, second = (load_file(folder / f"{processes}.safetensors") for processes in (1, 2))
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=1e-6, atol=1e-9)
    one, two = (json.loads((folder / f"{processes}.json").read_text()) for processes in (1, 2))
    return one, two


def test_dynamic_sampling_in_two_processes_trains_on_the_batches_of_one(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython
) -> None:
    one, two = in_one_and_in_two(warm_python, tiny_model(), tmp_path, "dynamic")
    assert one == two
    assert any(step.get("dynamic_sampling/rounds", 0) > 1 for step in one["metrics"])
    for batch in one["batches"]:
        groups = [batch[start : start + 4] for start in range(0, len(batch), 4)]
        assert all(len({number for number, _, _ in group}) == 1 for group in groups)
        assert all(len({reward for _, _, reward in group}) > 1 for group in groups)


def test_a_curriculum_in_two_processes_draws_the_batches_of_one(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython
) -> None:
    one, two = in_one_and_in_two(warm_python, tiny_model(), tmp_path, "curriculum")
    assert one == two
    rests = [[number % 3 for number, _, _ in batch] for batch in one["batches"]]
    assert len(rests) == 8
    # only the groups of the rest 0 have rewards that differ
    assert sum(batch.count(0) for batch in rests[4:]) > sum(batch.count(0) for batch in rests[:4])


def test_a_stream_in_two_processes_gives_the_batches_of_one(
    tiny_model: Callable[..., Path], tmp_path: Path, warm_python: WarmPython
) -> None:
    one, two = in_one_and_in_two(warm_python, tiny_model(), tmp_path, "stream")
    assert one == two
    numbers = [[number for number, _, _ in batch] for batch in one["batches"]]
    assert all(batch[place] == batch[place - place % 4] for batch in numbers for place in range(16))
    assert (
        len({number for batch in numbers for number in batch}) == 16
    )  # four steps of four prompts, all different
