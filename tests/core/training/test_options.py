"""TRL's options on a machine without an accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trl.trainer.sft_config import SFTConfig

from guerdon.errors import UsageError
from guerdon.training.options import trl_config


@pytest.mark.parametrize(
    ("options", "variable", "words"),
    [
        ({"fsdp": "full_shard"}, None, "the param 'fsdp'"),
        ({"fsdp": True}, None, "the param 'fsdp'"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, None, "the param 'deepspeed'"),
        ({}, "ACCELERATE_USE_FSDP", "--use_fsdp"),
        ({}, "ACCELERATE_USE_DEEPSPEED", "--use_deepspeed"),
    ],
)
def test_trl_config_on_cpu_refuses_sharding_that_accelerate_would_ignore(
    options: dict[str, Any],
    variable: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "true")
    with pytest.raises(UsageError, match="on accelerators only") as raised:
        trl_config(SFTConfig, {"save_steps": 1, "use_cpu": True, **options}, tmp_path, 0)
    assert words in str(raised.value)


def test_trl_config_on_cpu_without_sharding_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    config = trl_config(SFTConfig, {"save_steps": 1, "use_cpu": True, "fsdp": None}, tmp_path, 0)
    assert (config.bf16, config.gradient_checkpointing) == (False, False)
