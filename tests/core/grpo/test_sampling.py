from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig, LlamaConfig

from guerdon.sampling import sampling
from guerdon.sampling.sampling import left_out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, []),
        ({"repetition_penalty": 1.1, "suppress_tokens": [3]}, ["repetition_penalty", "suppress_tokens"]),
        ({"repetition_penalty": 1.0, "num_beams": 1, "no_repeat_ngram_size": 0, "typical_p": 1.0}, []),
        ({"output_attentions": True, "output_hidden_states": True, "use_cache": False}, []),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_new_tokens": 9}, []),
        ({"forced_eos_token_id": 0}, ["forced_eos_token_id"]),
    ],
)
def test_left_out_names_only_options_that_change_what_is_drawn(
    options: dict[str, Any], named: list[str]
) -> None:
    assert left_out(GenerationConfig(**options).to_dict()) == named
    assert left_out(options) == named


def test_left_out_of_a_model_without_options_of_its_own_is_empty() -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    assert left_out(GenerationConfig.from_model_config(config).to_dict()) == []


def test_the_neutral_values_are_those_of_options_that_transformers_has() -> None:
    assert {*sampling.NEUTRAL, *sampling._IGNORED} <= GenerationConfig().to_dict().keys()
    assert not sampling.NEUTRAL.keys() & sampling._IGNORED.keys()
