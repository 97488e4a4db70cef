"""Adapters on a quantized base: trained with the right loss and merged without a rounding, or refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
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


@pytest.mark.parametrize("config", [NF4, INT8], ids=["nf4", "int8"])
def test_adapters_on_a_quantized_base_are_trained_and_merged(
    peer: Callable[..., Peer], tmp_path: Path, config: dict[str, Any]
) -> None:
    library = peer("bitsandbytes==0.50.2")
    model = save_tiny_model(tmp_path / "model", hidden_size=128, intermediate_size=128, head_dim=32)
    done = subprocess.run(
        [sys.executable, "-m", "quantized_process", model, tmp_path / "run", json.dumps(config)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(library.folder), *sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
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


@pytest.mark.parametrize(
    ("config", "options", "peft", "reason"),
    [
        (NF4, {}, None, "quantized weights are not trained. Set 'peft'"),
        ({"quant_method": "torchao"}, {}, LORA, "of the method torchao: its weights cannot be dequantized"),
        ({"load_in_4bit": True}, {"fsdp": True}, LORA, "'fsdp' shards the model"),
        (NF4, {"deepspeed": "zero.json"}, LORA, "'deepspeed' shards the model"),
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
