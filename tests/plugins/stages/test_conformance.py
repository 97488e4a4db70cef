"""A training stage passes the kit: what it leaves is the same again, also after a kill at any step."""

from __future__ import annotations

from itertools import islice

import pytest

from guerdon import Model
from guerdon.testing import StageConformance
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic


class TestPretrain(StageConformance):
    plugin = "pretrain"
    rows = tuple(islice(Arithmetic(kind="pages"), 60))
    params = {
        "max_steps": 3,
        "save_steps": 1,
        "logging_steps": 1,
        "architecture": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
    }


class OfModels(StageConformance):
    """A stage that starts from the small model, as often as it takes a model."""

    count = 1

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def given_models(cls, small_model: Model) -> None:
        cls.models = (small_model,) * cls.count


class TestMerge(OfModels):
    plugin = "merge"
    count = 2


class TestDpo(OfModels):
    plugin = "dpo"
    rows = tuple({"prompt": f"{n} + 1 =", "chosen": str(n + 1), "rejected": "no"} for n in range(8))
    params = {"max_steps": 2, "save_steps": 1, "per_device_train_batch_size": 4, "heldout_pairs": 0.0}


class TestDistill(OfModels):
    plugin = "distill"
    count = 2
    rows = tuple(islice(Arithmetic(kind="problems"), 8))
    params = {"max_steps": 2, "save_steps": 1, "per_device_train_batch_size": 4, "max_completion_length": 4}


del OfModels  # it is not a stage by itself
