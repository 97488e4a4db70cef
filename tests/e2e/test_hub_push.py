"""`push_to_hub` and a hub that does not answer: an infrastructure failure that loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest

MANIFEST = """\
name: pushed
stages:
  - id: base
    use: pretrain
    init: none
    data: [{use: arithmetic, params: {kind: pages}, limit: 50}]
    params:
      max_steps: 2
      architecture: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4}
  - id: tuned
    use: sft
    init: stage:base
    data: [{use: arithmetic, params: {kind: solutions}, limit: 16}]
    params: {per_device_train_batch_size: 4, push_to_hub: true, hub_model_id: me/mine, max_steps: 2%s}
"""


class Hub:
    """The hub's part in a push: whether its two calls answer, and what was pushed."""

    def __init__(self) -> None:
        self.creates = self.takes = True
        self.pushed: list[set[str]] = []
        """The names of the files of each push."""
        self.deletes: list[str] = []
        """The patterns of the files that the last push deleted."""
        self.weights = b""
        """The file of weights of the last push."""

    def create_repo(self, repo_id: str, **_: Any) -> Any:
        if not self.creates:
            raise httpx.ConnectError("Name or service not known")
        return huggingface_hub.RepoUrl(f"{huggingface_hub.constants.ENDPOINT}/{repo_id}")

    def upload_folder(
        self,
        *,
        folder_path: str,
        run_as_future: bool = False,
        delete_patterns: Sequence[str] = (),
        **_: Any,
    ) -> Any:
        future: Future[str] = Future()
        if self.takes:
            self.pushed.append({path.name for path in Path(folder_path).iterdir()})
            self.deletes = list(delete_patterns)
            self.weights = next(Path(folder_path).glob("*model.safetensors")).read_bytes()
            future.set_result("a commit")
        else:
            future.set_exception(httpx.ConnectTimeout("timed out"))
        return future if run_as_future else future.result()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    for name in ("create_repo", "upload_folder"):
        call = getattr(hub, name)
        monkeypatch.setattr(
            huggingface_hub.HfApi, name, lambda _, *args, _call=call, **more: _call(*args, **more)
        )
    return hub


@pytest.mark.parametrize(
    ("extra", "file"), [("", "model.safetensors"), (", peft: {r: 2}", "adapter_model.safetensors")]
)
def test_a_model_that_was_not_pushed_is_pushed_by_the_same_command(
    call: Callable[..., Any], hub: Hub, extra: str, file: str
) -> None:
    Path("m.yaml").write_text(MANIFEST % extra)
    result = Path("runs/pushed/stages/tuned/result.json")

    hub.creates = False
    ended = call("run", "m.yaml")
    assert ended.status == 3
    assert (
        "stage 'tuned' stopped: a service on the network did not answer, or refused: ConnectError: Name"
        in ended.err
    )

    hub.creates, hub.takes = True, False
    ended = call("run", "m.yaml")
    assert ended.status == 3
    assert "ConnectTimeout: timed out. Fix this and run the same command again" in ended.err
    assert not result.exists()
    weights = list(Path("runs/pushed/stages/tuned/work/checkpoint-2").glob(file))
    before = [path.stat().st_mtime_ns for path in weights]
    assert before

    hub.takes = True
    ended = call("run", "m.yaml")
    assert ended.status == 0, ended.err
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert file in hub.pushed[-1]
    assert json.loads(result.read_text())["metrics"]["steps"] == 2


def test_a_push_that_is_switched_off_keeps_the_training(call: Callable[..., Any], hub: Hub) -> None:
    Path("m.yaml").write_text(MANIFEST % "")
    hub.takes = False
    assert call("run", "m.yaml").status == 3
    assert call("run", "m.yaml", "--set", "stages.tuned.params.push_to_hub=false").status == 0
    assert hub.pushed == []


@pytest.mark.parametrize("peft", ["", "peft: {r: 2}, "])
def test_the_best_evaluated_model_is_what_is_pushed(call: Callable[..., Any], hub: Hub, peft: str) -> None:
    Path("m.yaml").write_text(
        MANIFEST % f", {peft}save_steps: 1"
        + """\
    rewards: [{use: './v.py:same'}]
    evaluation: {every: 1, best: same, data: [{use: arithmetic, limit: 4}]}
"""
    )
    Path("v.py").write_text("def same(completion): return 1.0\n")  # so the first model is the best
    ended = call("run", "m.yaml")
    assert ended.status == 0, ended.err
    output = Path("runs/pushed/stages/tuned/output/model.safetensors").read_bytes()
    assert hub.weights == output
    assert output == Path("runs/pushed/stages/base/output/model.safetensors").read_bytes()
    assert "adapter_*" in hub.deletes
