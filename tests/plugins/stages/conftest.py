"""What the tests of stages share: contexts by hand, a small pretrained model, an endpoint, and kills."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import pytest
from warm_python import WarmPython

from guerdon import Model, Row, StageContext
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic

SCRIPT = Path(__file__).with_name("resume_process.py")


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
            report_rollouts=lambda *report: log.records.append(report),
        )
        return context, log

    return make


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that has just begun to learn arithmetic."""
    return _begun(tmp_path_factory.mktemp("small"), head_dim=8)


@pytest.fixture(scope="session")
def small_vllm_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same with heads of a size that vLLM computes on CPU."""
    return _begun(tmp_path_factory.mktemp("small"), head_dim=32)


def _begun(folder: Path, head_dim: int) -> Model:
    from guerdon_plugins.stages.pretrain.stage import Pretrain

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
        report_rollouts=lambda *_: None,
    )
    architecture = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    architecture |= {"num_key_value_heads": 4, "head_dim": head_dim}
    result = Pretrain(20, architecture, added_tokens=["<think>", "</think>", "<answer>", "</answer>"]).run(
        context
    )
    return Model("small", str(result.checkpoint))


class Teacher(ThreadingHTTPServer):
    """Speaks OpenAI's protocol; answers with what it was asked, or with a status that a test wants."""

    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked = 0
        """Requests."""
        self.requests: list[dict[str, Any]] = []
        """Those that were answered, and so are to be paid."""
        self.status_of: Callable[[str], int] = lambda prompt: 200
        """What a prompt's request gets."""
        self.error = "busy"
        """What it says with any other status."""
        self.message: dict[str, Any] = {}
        """What its messages have besides, or instead."""
        self.choices = True
        """Whether its answers have any."""
        self.gathers = 0
        """It answers nobody until so many are asking, or nobody else has come for a while."""
        self.under_way = 0
        self.most_under_way = 0
        self.turn = Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Answer(BaseHTTPRequestHandler):
    server: Teacher

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        with server.turn:
            server.asked += 1
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            server.turn.notify_all()
            server.turn.wait_for(lambda: server.most_under_way >= server.gathers, timeout=5)
            status = server.status_of(prompt)
            if status == 200:
                server.requests.append(body)
            server.under_way -= 1
        if status != 200:
            self._send(status, {"error": {"message": server.error}})
            return
        text = f"{prompt} {body['seed']}"
        message = {"role": "assistant", "content": text, **server.message}
        choice = {"index": 0, "message": message, "text": text, "finish_reason": "stop"}
        choices = [choice] if server.choices else None
        self._send(200, {"choices": choices, "usage": {"completion_tokens": 7}})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    """An endpoint."""
    server = Teacher()
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_killed_and_whole(tmp_path: Path, warm_python: WarmPython) -> Callable[..., tuple[Path, Path]]:
    """Runs a stage that is killed and resumed, and one that is not, and gives their folders."""

    def run(stage: str, model: str = "-") -> tuple[Path, Path]:
        killed, whole = tmp_path / "killed", tmp_path / "whole"
        for folder, when, status in (
            (killed, "killed", -signal.SIGKILL),
            (killed, "whole", 0),
            (whole, "whole", 0),
        ):
            done = warm_python.run(SCRIPT, stage, model, folder, when)
            assert done.returncode == status, done.stderr[-3000:]
        return killed, whole

    return run
