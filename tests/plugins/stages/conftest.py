"""What the tests of stages share: contexts by hand, a small pretrained model, and kills."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Model, Row, StageContext
from guerdon_plugins.sources.arithmetic import Arithmetic
from guerdon_plugins.stages.pretrain import Pretrain

SCRIPT = Path(__file__).with_name("resume_process.py")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The models are tiny: threads would only wait for each other."""
    torch.set_num_threads(1)


class Log:
    """What a stage reported."""

    def __init__(self) -> None:
        self.progress: list[tuple[int, int, Mapping[str, float]]] = []
        self.records: list[tuple[int, Sequence[Mapping[str, Any]]]] = []


MakeContext = Callable[..., tuple[StageContext, Log]]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """Makes a stage's context and the log that it reports to; the same folder each time."""

    def make(
        rows: Sequence[Row], models: Sequence[Model] = (), rubric: Any = None, seed: int = 0
    ) -> tuple[StageContext, Log]:
        log = Log()

        @contextmanager
        def open_rubric() -> Iterator[Any]:
            yield rubric

        for name in ("work", "output"):
            (tmp_path / name).mkdir(exist_ok=True)
        context = StageContext(
            stage_id="stage",
            models=models,
            sources=[lambda: iter(rows)],
            open_rubric=open_rubric,
            work=tmp_path / "work",
            output=tmp_path / "output",
            seed=seed,
            progress=lambda *report: log.progress.append(report),
            log_rollouts=lambda *report: log.records.append(report),
        )
        return context, log

    return make


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that has just begun to learn arithmetic."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "work").mkdir()
    (folder / "output").mkdir()
    rows = list(islice(Arithmetic("solutions"), 200))
    context = StageContext(
        stage_id="small",
        models=[],
        sources=[lambda: iter(rows)],
        open_rubric=lambda: pytest.fail("no rubric is needed"),
        work=folder / "work",
        output=folder / "output",
        seed=0,
        progress=lambda *_: None,
        log_rollouts=lambda *_: None,
    )
    architecture = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    architecture |= {"num_key_value_heads": 4, "head_dim": 8}
    result = Pretrain(20, architecture, added_tokens=["<think>", "</think>", "<answer>", "</answer>"]).run(
        context
    )
    return Model("small", str(result.checkpoint))


@pytest.fixture
def run_killed_and_whole(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Runs a stage that is killed and resumed, and one that is not, and gives their folders."""

    def run(stage: str, model: str = "-") -> tuple[Path, Path]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(SCRIPT), stage, model, str(tmp_path)]
        exit_codes = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert exit_codes.split() == ["-9", "0", "0"]
        return tmp_path / "killed", tmp_path / "whole"

    return run
