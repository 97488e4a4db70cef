"""The values of an endpoint's settings: a mapping inside of a param, so the endpoint checks them itself."""

from __future__ import annotations

from typing import Any

import pytest

from guerdon_plugins.shared.endpoint import Endpoint

GOOD = {"base_url": "https://host/v1", "model": "m"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("base_url", 3, "give one like http://localhost:8000/v1"),
        ("base_url", "localhost:8000/v1", "give one like http://localhost:8000/v1"),
        ("base_url", "http://", "give one like http://localhost:8000/v1"),
        ("model", None, "give the model's name there"),
        ("model", "", "give the model's name there"),
        ("model", ["a"], "give the model's name there"),
        ("api_key_env", 3, "give an environment variable's name"),
        ("concurrency", "y", "give 1 to 1000"),
        ("concurrency", 0, "give 1 to 1000"),
        ("max_retries", -2, "give a whole number from 0"),
        ("max_retries", 1.5, "give a whole number from 0"),
        ("timeout_s", "z", "give a number of seconds above 0"),
        ("timeout_s", -1, "give a number of seconds above 0"),
        ("timeout_s", float("nan"), "give a number of seconds above 0"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*: {words}\.$"):
        Endpoint.from_params({**GOOD, name: value})


@pytest.mark.parametrize("params", [{}, {"base_url": "http://h"}, {**GOOD, "modle": "m"}])
def test_wrong_names_list_the_right_ones(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"it takes base_url, model, api_key_env, .*, the first two always"):
        Endpoint.from_params(params)


def test_right_values_are_taken() -> None:
    endpoint = Endpoint.from_params({**GOOD, "api_key_env": "KEY", "max_retries": 0, "timeout_s": 5})
    assert (endpoint.api_key_env, endpoint.max_retries, endpoint.timeout_s) == ("KEY", 0, 5)
