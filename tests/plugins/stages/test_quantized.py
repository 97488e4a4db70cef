"""Adapters on a quantized base: trained with the right loss and merged without a rounding, or refused by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_model import save_tiny_model

from guerdon import Model
from guerdon.errors import ParamsError, UsageError
from guerdon_plugins.stages.trl.quantized import check_loaded, check_quantized

if TYPE_CHECKING:
    from tests.conftest import Peer

NF4 = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_compute_dtype": "float32",
}
INT8 = {"quant_method": "bitsandbytes", "load_in_8bit": True}
LORA = {"r": 4}

KILL = """
import os, signal
from pathlib import Path
from guerdon.hookspecs import hookimpl

class Kill:
    @hookimpl
    def stage_progress(self, step):
        if step == 5 and os.environ.get("KILL"):
            os.kill(os.getpid(), signal.SIGKILL)

class Prompts:
    def __iter__(self):
        return ({"prompt": f"say {i}"} for i in range(24))

def letters(completion):
    return sum(map(str.isascii, completion)) / 10
"""


def wide_model(folder: Path) -> Path:
    """Save a model whose layers are wide enough to be quantized."""
    return save_tiny_model(folder, hidden_size=128, intermediate_size=128, head_dim=32)


def python_with(peer: Callable[..., Peer], *command: str | Path, cwd: Path, **env: str) -> Any:
    """Run Python with bitsandbytes."""
    library = peer("bitsandbytes==0.50.2")
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(library.folder), *sys.path)), **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("config", [NF4, INT8], ids=["nf4", "int8"])
def test_adapters_on_a_quantized_base_are_trained_and_merged(
    peer: Callable[..., Peer], tmp_path: Path, config: dict[str, Any]
) -> None:
    model = wide_model(tmp_path / "model")
    arguments = ("quantized_process", model, tmp_path / "run", json.dumps(config))
    done = python_with(peer, "-m", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    # The pass of the training rounds: TRL trains these adapters in bfloat16, and int8 rounds the activations. The
    # output is merged in float32.
    loss_rounding, rounding = (0.02, 0.1) if config is INT8 else (1e-4, 5e-3)
    assert seen["first"] == pytest.approx(seen["of_base"], rel=loss_rounding)
    assert not seen["quantized"]
    assert seen["folder_off"] < 1e-3  # a merge in float32
    assert seen["moved"] > 1
    assert seen["off"] < rounding * seen["moved"]


@pytest.mark.parametrize("config", [NF4, INT8], ids=["nf4", "int8"])
def test_grpo_on_a_quantized_base_has_the_loss_and_gradients_of_trl(
    peer: Callable[..., Peer], tmp_path: Path, config: dict[str, Any]
) -> None:
    model = wide_model(tmp_path / "model")
    done = python_with(peer, "-m", "quantized_grpo_process", model, json.dumps(config), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    trls = found.pop("TRL")
    assert found.keys() == {"padded", "flat", "parts"}
    for ours in found.values():
        assert ours["loss"] == pytest.approx(trls, rel=1e-6)
        assert ours["off"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("config", [NF4, INT8], ids=["nf4", "int8"])
def test_grpo_on_a_quantized_base_that_is_killed_ends_as_an_unbroken_one(
    peer: Callable[..., Peer], tmp_path: Path, config: dict[str, Any]
) -> None:
    (tmp_path / "m.py").write_text(KILL)
    params = {
        "max_steps": 8,
        "save_steps": 2,
        "logging_steps": 1,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 6,
        "learning_rate": 0.02,
        "beta": 0.1,
        "num_iterations": 2,
        "peft": {"r": 4, "target_modules": "all-linear"},
        "model_init_kwargs": {"quantization_config": config},
    }
    shared = {"data": [{"use": "./m.py:Prompts"}], "rewards": [{"use": "./m.py:letters"}]}
    rl = {"id": "rl", "use": "grpo", "params": params, **shared}
    judged = {"num_generations": 1, "max_completion_length": 6}
    held_out = {"id": "held", "use": "evaluate", "init": ["base", "stage:rl"], "params": judged, **shared}
    model = {"path": str(wide_model(tmp_path / "model")), "dtype": "float32"}
    manifest = {
        "name": "quantized",
        "model": model,
        "stages": [rl, held_out],
        "hooks": [{"use": "./m.py:Kill"}],
    }
    (tmp_path / "m.yaml").write_text(json.dumps(manifest))

    def run(folder: str, **env: str) -> Any:
        return python_with(peer, "-m", "guerdon", "run", "m.yaml", "-o", folder, cwd=tmp_path, **env)

    for done in (run("whole"), run("killed", KILL="1"), run("killed")):
        assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    assert "rl: resumes" in done.stderr
    whole, killed = (
        load_file(tmp_path / one / "stages/rl/output/model.safetensors") for one in ("whole", "killed")
    )
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    before = load_file(tmp_path / "model/model.safetensors")
    assert any((whole[name] - before[name]).abs().max() > 0.05 for name in before)
    results = [
        json.loads((tmp_path / one / "stages/held/result.json").read_text()) for one in ("whole", "killed")
    ]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("config", "options", "peft", "reason"),
    [
        (NF4, {}, None, "quantized weights are not trained. Set 'peft'"),
        ({"quant_method": "torchao"}, {}, LORA, "of the method torchao: its weights cannot be dequantized"),
        ({"load_in_4bit": True}, {"fsdp": True}, LORA, "'fsdp' shards the model"),
        (NF4, {"deepspeed": "zero.json"}, LORA, "'deepspeed' shards the model"),
        (INT8, {"use_vllm": True}, LORA, "use_vllm is true: TRL would merge the adapters"),
    ],
)
@pytest.mark.parametrize("place", ["options", "folder"])
def test_quantized_base_that_cannot_be_trained_is_refused(
    tmp_path: Path,
    place: str,
    config: dict[str, Any],
    options: dict[str, Any],
    peft: dict[str, Any] | None,
    reason: str,
) -> None:
    if place == "options":
        models, options = [], {**options, "model_init_kwargs": {"quantization_config": config}}
    else:
        (tmp_path / "config.json").write_text(json.dumps({"quantization_config": config}))
        models = [Model("base", str(tmp_path))]
    with pytest.raises(ParamsError, match=reason):
        check_quantized(models, options, peft)


@pytest.mark.parametrize("peft", [None, LORA])
def test_models_that_can_be_trained_are_not_refused(tmp_path: Path, peft: dict[str, Any] | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    check_quantized([Model("base", str(tmp_path))], {"fsdp": True}, peft)
    check_quantized([Model("base", "of/hub")], {}, peft)
    check_quantized([], {"model_init_kwargs": {"quantization_config": NF4}}, LORA)


def test_loaded_model_whose_adapters_could_not_be_merged_is_refused_before_it_trains() -> None:
    def quantized(method: str) -> Any:
        return SimpleNamespace(
            hf_quantizer=SimpleNamespace(
                quantization_config=SimpleNamespace(quant_method=SimpleNamespace(value=method))
            )
        )

    check_loaded(SimpleNamespace())
    check_loaded(quantized("bitsandbytes"))
    with pytest.raises(UsageError, match="by the method gptq: its weights cannot be dequantized"):
        check_loaded(quantized("gptq"))
