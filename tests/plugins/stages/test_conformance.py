"""A training stage passes the kit: what it leaves is the same again, also after a kill at any step."""

from __future__ import annotations

from itertools import islice

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
