from __future__ import annotations

from typing import Any

import pytest

from guerdon.run.secrets import Secrets


@pytest.mark.parametrize(
    "name",
    [
        "hub_token",
        "token",
        "api_key",
        "OPENAI_API_KEY",
        "password",
        "Authorization",
        "access_token",
        "client_secret",
    ],
)
def test_hide_of_a_secret_by_name_replaces_it_everywhere(name: str) -> None:
    manifest = {"stages": [{"params": {"headers": {name: "s3cr3t-value"}, "url": "http://x?k=s3cr3t-value"}}]}
    assert "s3cr3t-value" not in str(Secrets(manifest).hide(manifest))


@pytest.mark.parametrize(
    "params",
    [
        {"eos_token": "<|im_end|>", "pad_token": "<pad>"},
        {"api_key_env": "OPENAI_API_KEY"},
        {"added_tokens": ["<think>"]},
        {"max_completion_tokens": 5, "token": None, "split_key": "prompt"},
        {"token": "####", "secret": "a word or two", "auth": "basic"},
        {"num_tokens": 3, "key": "a", "author": "b"},
    ],
)
def test_hide_of_values_that_are_not_secret_keeps_them(params: dict[str, Any]) -> None:
    assert Secrets(params).hide(params) == params


def test_hide_of_a_variable_of_the_environment_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "from-the-environment")
    assert Secrets({}).hide({"error": "401: from-the-environment"}) == {"error": "401: ***"}


@pytest.mark.parametrize("token", ["hf_" + "a" * 30, "sk-" + "b" * 30, "ghp_" + "c" * 30])
def test_hide_of_a_token_known_by_its_form_replaces_it(token: str) -> None:
    assert Secrets({}).hide([f"curl -H {token}"]) == ["curl -H ***"]
