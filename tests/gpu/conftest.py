"""What the tests on a GPU share: the card, and models that are too small to be slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def _gpu_tests_need_a_card() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA GPU")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a tiny model of an architecture and gives its folder."""
    from tiny_model import save_tiny_model

    def save(architecture: str = "qwen3", **overrides: Any) -> Path:
        return save_tiny_model(tmp_path_factory.mktemp(architecture), architecture, **overrides)

    return save
