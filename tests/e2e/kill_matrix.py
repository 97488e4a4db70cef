"""Stops runs at random moments until they are done, and compares them with an unbroken run, bit by bit.

    python tests/e2e/kill_matrix.py [--kills N] [--seed N] [CASE ...]

Each case is one stage with options that hold state between its steps. A run of it is stopped N times at most, in turn
by SIGKILL and by SIGTERM, each time at a random event, and then runs to its end. For each case a JSON object is
printed: the case, how it was stopped, and how it differs from the unbroken run. Runs are forked, which pays for the
imports once.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import random
import runpy
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from guerdon.errors import GuerdonError
from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute, launch_ranks

TESTS = Path(__file__).parents[1]
SHARES = 0.25, 0.5
"""The share of a run's events that a try gets to before it is stopped: two stops reach beyond its middle."""

LONGEST_S = 240
"""A run takes a few seconds of CPU time; one that takes longer than this, on a busy machine too, hangs."""

HANGS = 124
"""The exit status of a run that was ended because it hangs, as coreutils' timeout has it."""

_GRPO = {
    "max_steps": 8,
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 6,
    "save_steps": 2,
    "learning_rate": 1e-2,
}
_REUSED: dict[str, Any] = {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_iterations": 2}
_TRAINED = {"max_steps": 10, "per_device_train_batch_size": 8, "save_steps": 3, "learning_rate": 1e-2}
_SAMPLED = {"num_generations": 2, "max_completion_length": 8, "per_device_eval_batch_size": 4}
_LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.1}


@dataclass(frozen=True)
class Case:
    """One stage."""

    use: str
    source: str
    params: Mapping[str, Any] = field(default_factory=dict)
    rewards: bool = False
    init: Any = "base"
    source_params: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1
    model: Any = "./tiny"
    environments: Sequence[str] = ()
    evaluated: bool = False
    """Whether the model with the most letters is chosen while the stage trains."""

    def manifest(self) -> dict[str, Any]:
        data = {"use": f"./kill_plugins.py:{self.source}", "params": dict(self.source_params)}
        stage = {
            "id": "st",
            "use": self.use,
            "init": self.init,
            "data": [data],
            "params": dict(self.params),
        }
        if self.rewards:
            stage["rewards"] = [{"use": "./kill_plugins.py:letters"}]
        if self.evaluated:
            stage["evaluation"] = {
                "every": 3,
                "data": [{"use": "./kill_plugins.py:Prompts", "params": {"count": 4}}],
                "rewards": [{"use": "./kill_plugins.py:letters"}],
                "best": "letters",
            }
        if self.environments:
            stage["environments"] = [{"use": f"./kill_plugins.py:{name}"} for name in self.environments]
            stage["rewards"].append({"use": "environment"})
        return {"name": "killed", "model": self.model, "seed": 3, "stages": [stage]}


def _grpo(source_params: Mapping[str, Any] | None = None, processes: int = 1, **params: Any) -> Case:
    return Case("grpo", "Prompts", {**_GRPO, **params}, True, "base", source_params or {}, processes)


def _sft(processes: int = 1, **params: Any) -> Case:
    return Case("sft", "Texts", {**_TRAINED, **params}, processes=processes)


def _agent(use: str, params: Mapping[str, Any], init: Any = "base", processes: int = 1) -> Case:
    turns = {**params, "max_completion_length": 24, "max_tool_calling_iterations": 2}
    return Case(use, "Prompts", turns, True, init, {"chat": True}, processes, environments=("Dice",))


_LETTER_CALLS = {
    "open_pattern": "[a-z]",
    "close_pattern": r"[\s\S]",
    "repeats": True,
    "content": "text",
    "transform": {"type": "function", "function": {"name": "roll", "arguments": {"sides": 6}}},
}
"""Makes each letter of a random model a call of a tool, in transformers' response templates."""


CASES: dict[str, Case] = {
    "pretrain": Case(
        "pretrain",
        "Conversations",
        {
            "max_steps": 12,
            "architecture": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1},
            "per_device_train_batch_size": 4,
            "logging_steps": 5,
            "save_steps": 4,
        },
        init="none",
    ),
    "sft": _sft(logging_steps=4),
    "sft_packing": _sft(packing=True, max_length=32),
    "sft_lora": _sft(peft=_LORA, neftune_noise_alpha=5.0),
    "sft_evaluation": replace(_sft(max_completion_length=6), evaluated=True),
    "sft_group_by_length": _sft(train_sampling_strategy="group_by_length"),
    "dpo_evaluation": Case("dpo", "Pairs", {**_TRAINED, "max_completion_length": 6}, evaluated=True),
    "reward_model": Case("reward_model", "Pairs", {**_TRAINED, "heldout_pairs": 0.2}),
    "process_reward_model": Case("process_reward_model", "Steps", {**_TRAINED, "heldout_rows": 0.2}),
    "grpo": _grpo(),
    "grpo_teacher": replace(_grpo(beta=0.2), init=["base", {"path": "./teacher"}]),
    "grpo_logging_window": _grpo(logging_steps=5),
    "grpo_sync_ref_model": _grpo(
        beta=0.2, sync_ref_model=True, ref_model_sync_steps=3, ref_model_mixup_alpha=0.9
    ),
    "grpo_lora": _grpo(peft=_LORA, beta=0.2),
    "grpo_cosine_adaptive_entropy": _grpo(
        lr_scheduler_type="cosine", use_adaptive_entropy=True, entropy_coef=0.01, entropy_target=5.0
    ),
    "grpo_reused_rollouts": _grpo(**_REUSED, beta=0.1),
    "grpo_epoch_cuts_update": _grpo(
        {"count": 8}, per_device_train_batch_size=4, gradient_accumulation_steps=3, steps_per_generation=2
    ),
    "grpo_dynamic_sampling": _grpo(dynamic_sampling={"max_rounds": 3}, num_generations=2),
    "grpo_revision": replace(_grpo(beta=0.2), model={"path": "org/tiny", "revision": "v1"}),
    "grpo_evaluation": replace(_grpo(), evaluated=True),
    "grpo_environment": _agent("grpo", _GRPO),
    "grpo_environment_two_processes": _agent(
        "grpo", {**_GRPO, "per_device_train_batch_size": 4, **_REUSED}, processes=2
    ),
    "evaluate_environment": _agent("evaluate", _SAMPLED, ["base"]),
    "sample_environment": _agent("sample", {**_SAMPLED, "keep": {"letters": 0.1}}),
    "sample": Case("sample", "Prompts", {**_SAMPLED, "keep": {"letters": 0.1}}, True),
    "evaluate": Case("evaluate", "Prompts", _SAMPLED, True, ["base"]),
    "sample_two_processes": Case(
        "sample", "Prompts", {**_SAMPLED, "keep": {"letters": 0.1}}, True, processes=2
    ),
    "evaluate_two_processes": Case("evaluate", "Prompts", _SAMPLED, True, ["base"], processes=2),
    "grpo_evaluation_two_processes": replace(
        _grpo(processes=2, per_device_train_batch_size=4), evaluated=True
    ),
    "sft_two_processes": _sft(processes=2, per_device_train_batch_size=4),
    "grpo_dynamic_sampling_two_processes": _grpo(
        processes=2, per_device_train_batch_size=4, dynamic_sampling={"max_rounds": 3}, num_generations=2
    ),
    "grpo_two_processes": _grpo(processes=2, per_device_train_batch_size=4, **_REUSED),
    "distill_two_processes": Case(
        "distill",
        "Prompts",
        {**_TRAINED, "per_device_train_batch_size": 4, "max_completion_length": 6, "peft": _LORA},
        init=["base", "base"],
        processes=2,
    ),
    "reward_model_two_processes": Case(
        "reward_model", "Pairs", {**_TRAINED, "per_device_train_batch_size": 4}, processes=2
    ),
}


class Stopper:
    """Counts the events of steps and rollouts, and sends this process a signal at one of them."""

    def __init__(self, counted: Path, number: int, at: int) -> None:
        self._counted = counted
        self._number = number
        self._at = at
        self._events = 0

    @hookimpl
    def stage_progress(self) -> None:
        self._count()

    @hookimpl
    def rollouts_scored(self) -> None:
        self._count()

    def _count(self) -> None:
        self._events += 1
        self._counted.write_text(str(self._events))
        if self._events == self._at:
            os.kill(os.getpid(), self._number)


def run(case: Case, folder: Path, name: str, number: int = 0, at: int = 0) -> list[int]:
    """Run a case, stopped at an event or not, and return the exit status of its processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    children = [
        fork.Process(target=_run, args=(case, folder, name, number, at, rank, port))
        for rank in range(case.processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(LONGEST_S)
    hang = [child for child in children if child.is_alive()]
    for child in hang:
        child.kill()
        child.join()
    return [HANGS if child in hang else int(child.exitcode or 0) for child in children]


def _run(case: Case, folder: Path, name: str, number: int, at: int, rank: int, port: int) -> None:
    if case.processes > 1:
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        os.environ |= {"WORLD_SIZE": str(case.processes), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    hooks = [Stopper(folder / f"{name}.events", number, at)]
    try:
        plan = plan_run(load_manifest(folder / "case.yaml"))
        execute(plan, folder / name, hooks, ranks=launch_ranks())
    except GuerdonError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        sys.exit(error.exit_code)


def differences(ours: Path, theirs: Path) -> list[str]:
    """Say in which parts two runs differ."""
    parts = {
        "weights": _weights,
        "result": _result,
        "progress": _progress,
        "rollouts": _rollouts,
        "data": _data,
    }
    return [name for name, read in parts.items() if read(ours) != read(theirs)]


def _weights(run: Path) -> Any:
    path = run / "stages/st/output/model.safetensors"
    if not path.exists():
        return None
    return {name: weight.view(torch.uint8).numpy().tobytes() for name, weight in load_file(path).items()}


def _result(run: Path) -> Any:
    return _without_times(json.loads((run / "stages/st/result.json").read_text())["metrics"])


def _progress(run: Path) -> Any:
    lines = _lines(run / "events.jsonl")
    return [
        (line["step"], line["total"], _without_times(line["metrics"]))
        for line in lines
        if line["event"] == "stage_progress"
    ]


def _rollouts(run: Path) -> Any:
    return [_without_times(line) for line in _lines(run / "stages/st/rollouts.jsonl")]


def _calls(run: Path) -> int:
    """Return the number of calls of tools that worked."""
    stage = run / "stages/st"
    rollouts = [line for path in stage.rglob("*.jsonl") for line in _lines(path)]
    calls = [call for rollout in rollouts for call in rollout.get("tool_calls", ())]
    return sum(call["failure"] is None for call in calls)


def _data(run: Path) -> Any:
    return {path.name: path.read_text() for path in sorted((run / "stages/st/output").glob("*.jsonl"))}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(item)
            for key, item in value.items()
            if not key.endswith("latency_ms") and key != "step_time"
        }
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def try_case(name: str, folder: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Run a case unbroken and stopped."""
    case = CASES[name]
    (folder / "case.yaml").write_text(yaml.safe_dump(case.manifest()))
    if any(run(case, folder, "unbroken")):
        return {"case": name, "error": _tail(folder / "unbroken.log")}
    total = int((folder / "unbroken.events").read_text())
    stops: list[str] = []
    status = [1]
    for turn in range(kills):
        number = (signal.SIGKILL, signal.SIGTERM)[turn % 2]
        at = max(1, round(rng.uniform(*SHARES) * total))
        status = run(case, folder, "stopped", number, at)
        if not any(status):
            break
        stops.append(f"{number.name} at event {at} of {total}: {status[0]}")
        expected = -number if number == signal.SIGKILL else 128 + number
        if status[0] != expected or HANGS in status:
            return {"case": name, "stops": stops, "error": _tail(folder / "stopped.log")}
    if any(status):
        status = run(case, folder, "stopped")
    if any(status):
        return {"case": name, "stops": stops, "error": _tail(folder / "stopped.log")}
    return {
        "case": name,
        "stops": stops,
        "calls": _calls(folder / "unbroken"),
        "differences": differences(folder / "stopped", folder / "unbroken"),
    }


def _tail(log: Path) -> str:
    return log.read_text()[-2000:]


def matrix(names: Sequence[str], kills: int, seed: int, place: Path) -> Iterator[dict[str, Any]]:
    """Try cases, each in a folder of its own."""
    save_tiny_model = runpy.run_path(str(TESTS / "fixtures/tiny_model.py"))["save_tiny_model"]
    for name in names:
        folder = place / name
        folder.mkdir()
        save_tiny_model(folder / "tiny", reads_calls=True)
        save_tiny_model(folder / "teacher", initializer_range=0.2)
        if CASES[name].environments:
            config = folder / "tiny/tokenizer_config.json"
            tokenizer = json.loads(config.read_text())
            tokenizer["response_template"]["fields"]["tool_calls"] = _LETTER_CALLS
            config.write_text(json.dumps(tokenizer))
        plugins = TESTS / "fixtures/kill_plugins.py"
        (folder / "kill_plugins.py").write_text(plugins.read_text())
        yield try_case(name, folder, kills, random.Random(f"{seed} {name}"))


def fill_hub(cache: Path) -> None:
    """Write a cache of the hub's layout that holds two revisions of a model, with other weights in ``main``."""
    save_tiny_model = runpy.run_path(str(TESTS / "fixtures/tiny_model.py"))["save_tiny_model"]
    repository = cache / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    for revision, commit, scale in (("v1", "a" * 40, 1.0), ("main", "b" * 40, 1.5)):
        (repository / "refs" / revision).write_text(commit)
        snapshot = repository / "snapshots" / commit
        save_tiny_model(snapshot)
        weights = load_file(snapshot / "model.safetensors")
        scaled = {name: weight * scale for name, weight in weights.items()}
        save_file(scaled, snapshot / "model.safetensors", {"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        # the hub's library reads them at its import
        os.environ |= {"HF_HUB_CACHE": f"{place}/hub", "HF_HUB_OFFLINE": "1"}
        fill_hub(Path(place, "hub"))
        import trl.trainer.grpo_trainer
        import trl.trainer.reward_trainer
        import trl.trainer.sft_trainer  # noqa: F401

        gc.collect()
        gc.freeze()  # each run collects garbage after its stages, and the libraries' objects are a third of its time
        for outcome in matrix(arguments.cases or list(CASES), arguments.kills, arguments.seed, Path(place)):
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
