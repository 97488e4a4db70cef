"""``remote`` against real reward servers: their scores, a server that dies, other rubrics, tokens."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from warm_python import Process, WarmPython

from guerdon import Failure, Rollout
from guerdon.manifest.rubrics import plugin_entries
from guerdon.rubric import Rubric
from guerdon.testing import Case, VerifierConformance
from guerdon.types import ToolCall, Verdict
from guerdon_plugins.verifiers.remote import Remote, _Server

VERIFIERS = '''
import time
def judge(completion, reference, tool_calls, environment=None, environment_reward=None):
    """Compare, or do what the completion says."""
    if tool_calls: return environment["n"] + environment_reward + sum(call["failure"] is None for call in tool_calls)
    if completion == "slow": time.sleep(0.05)
    if completion == "none": return None
    if completion == "raise": raise KeyError("lost")
    return completion == reference
def best(completions): return [1.0 for _ in completions]
best.guerdon_kind = "group_reward"
def batch(completions, **columns): return [1.0 for _ in completions]
'''

MANIFEST = """
name: two
stages:
  - id: judge
    use: ./stage.py:run
    init: none
    data: [{{use: files, params: {{path: data.jsonl}}}}]
    rewards: [{{use: remote, params: {{urls: {urls}}}}}]
"""


Guerdon = Callable[..., subprocess.CompletedProcess[str]]
Serving = Callable[..., AbstractContextManager[tuple[str, Process]]]


@pytest.fixture(scope="module")
def guerdon(warm_guerdon: WarmPython, folder: Path) -> Guerdon:
    """Runs a command in the folder."""
    return partial(warm_guerdon.run, "-m", "guerdon", cwd=folder)


@pytest.fixture(scope="module")
def serving(warm_guerdon: WarmPython, folder: Path) -> Serving:
    """Runs a real reward server in the folder. Gives its URL and its process."""

    @contextmanager
    def start(*options: str, **environment: str) -> Iterator[tuple[str, Process]]:
        command = "-m", "guerdon", "serve", "--workers", "1", "--port", "0", *options
        with warm_guerdon.start(*command, cwd=folder, env=environment) as server:
            yield server.printed(r"on (http\S+) ")[1], server
            server.send_signal(signal.SIGTERM)
            server.wait(30)

    return start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("servers")
    (folder / "v.py").write_text(VERIFIERS)
    (folder / "stage.py").write_text("def run(context): return {}\n")
    (folder / "data.jsonl").write_text('{"prompt": "q", "reference": "right"}\n')
    return folder


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    with serving("--use", "./v.py:judge") as (url, _):
        yield url


def verdicts(rollouts: list[Rollout], *urls: str, **params: object) -> list[Verdict]:
    with Rubric(plugin_entries("remote", {"urls": list(urls), **params})) as rubric:
        return [judgement.verdicts["remote"] for judgement in rubric.score(rollouts)]


def test_remote_gives_the_servers_scores_and_failures(url: str) -> None:
    rollouts = [Rollout("q", text, {"reference": "right"}) for text in ("right", "wrong", "none", "raise")]
    right, wrong, none, broken = (verdict.score for verdict in verdicts(rollouts, url))
    assert (right.value, wrong.value, none.value, broken.value) == (1, 0, None, None)
    assert right.metadata == {"scores": {"judge": 1.0}}
    assert none.outcome == "skipped"
    assert (broken.failure, "lost" in broken.explanation) == (Failure.VERIFIER, True)


def test_remote_sends_the_calls_of_tools_and_the_environment(url: str) -> None:
    turns = [{"role": "assistant", "content": "I look."}, {"role": "tool", "content": "right"}]
    calls = [ToolCall("look", {"x": 1}, "right"), ToolCall("look", {}, "{'error': 'no x'}", "arguments")]
    rollout = Rollout(
        "q", turns, {"reference": "right"}, calls=calls, environment={"n": 4}, environment_reward=0.5
    )
    (verdict,) = verdicts([rollout], url)
    assert verdict.score.value == 5.5
    (alone,) = verdicts([Rollout("q", turns, {"reference": "right"})], url)
    assert alone.score.value == 0.0  # what a tool said is not the model's


def test_remote_with_a_row_that_lacks_a_column_fails_as_reference(url: str) -> None:
    (verdict,) = verdicts([Rollout("q", "right", {})], url)
    assert verdict.score.failure is Failure.REFERENCE
    assert "'reference'" in verdict.score.explanation


def test_remote_while_a_server_dies_loses_and_doubles_nothing(serving: Serving, url: str) -> None:
    rollouts = [
        Rollout(f"question {n}", "slow", {"reference": "slow" if n % 3 else "fast", "n": n})
        for n in range(90)
    ]
    with serving("--use", "./v.py:judge") as (doomed, server):
        killer = threading.Timer(1.0, server.kill)
        killer.start()
        values = [verdict.score.value for verdict in verdicts(rollouts, url, doomed)]
        killer.join()
        assert server.wait(10) == -signal.SIGKILL
    assert values == [float(bool(n % 3)) for n in range(90)]


def test_remote_without_a_server_is_an_infrastructure_failure() -> None:
    started = time.monotonic()
    (verdict,) = verdicts([Rollout("q", "a", {"reference": "a"})], "http://127.0.0.1:1", patience_s=1.0)
    assert verdict.score.failure is Failure.INFRASTRUCTURE
    assert "http://127.0.0.1:1 does not answer" in verdict.score.explanation
    assert time.monotonic() - started < 60


def test_score_without_a_server_warns_at_once_and_pays_nothing(
    warm_guerdon: WarmPython, folder: Path
) -> None:
    (folder / "rows.jsonl").write_text('{"prompt": "q", "completion": "a", "reference": "a"}\n' * 3)
    params = ["--param=remote.urls=[http://127.0.0.1:1]", "--param=remote.patience_s=20"]
    command = "-m", "guerdon", "score", "rows.jsonl", "--use", "remote", *params
    with warm_guerdon.start(*command, cwd=folder) as scoring:
        while not (warning := scoring.err()).endswith("\n"):
            assert scoring.poll() is None  # it still waits for the server
            time.sleep(0.02)
        assert scoring.poll() is None
        scoring.wait(200)
    err = scoring.err().removeprefix(warning)
    assert "no reward server answers: http://127.0.0.1:1 does not answer" in warning
    assert "waits for one up to 20 s (patience_s), and is then failed: infrastructure" in warning
    assert "no reward server answers" not in err  # one warning for all rows
    assert scoring.returncode == 3, scoring.out() + err


def test_remote_with_a_server_that_hangs_warns_before_the_attempt_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("guerdon_plugins.verifiers.remote._QUIET_S", 0.2)
    with answering(0, b"") as url:
        remote = Remote([url], attempt_timeout_s=1.0, patience_s=0.5)
        score = asyncio.run(remote("a", "q", [{"role": "assistant", "content": "a"}], []))
    assert score is not None
    assert score.failure is Failure.INFRASTRUCTURE
    (record,) = caplog.records
    assert f"{url} has not answered for 0.2 s" in record.getMessage()


def test_remote_beside_a_server_that_is_gone_warns_of_nothing(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    rollouts = [Rollout(f"q {n}", "right", {"reference": "right"}) for n in range(20)]
    assert [verdict.score.value for verdict in verdicts(rollouts, url, "http://127.0.0.1:1")] == [1.0] * 20
    assert not caplog.records


def test_remote_with_servers_of_two_rubrics_is_refused_by_check_and_by_scores(
    guerdon: Guerdon, serving: Serving, folder: Path, url: str
) -> None:
    with serving("--use", "length", "--param", "length.max_words=5") as (other, _):
        manifest = folder / "two.yaml"
        manifest.write_text(MANIFEST.format(urls=f"[{url}, {other}]"))
        checked = guerdon("check", str(manifest))
        assert checked.returncode == 1
        assert "fingerprint" in checked.stdout + checked.stderr
        rollouts = [Rollout(f"q {n}", "right", {"reference": "right"}) for n in range(8)]
        failed = [v.score for v in verdicts(rollouts, url, other) if v.score.value is None]
    assert len(failed) == 4
    assert all(
        score.failure is Failure.INFRASTRUCTURE and "same rubric" in score.explanation for score in failed
    )


def test_remote_with_another_fingerprint_is_refused(url: str) -> None:
    (verdict,) = verdicts([Rollout("q", "a", {"reference": "a"})], url, fingerprint="0" * 16)
    assert verdict.score.failure is Failure.INFRASTRUCTURE


def test_remote_sends_the_token(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("--use", "./v.py:judge", GUERDON_SERVE_TOKEN="secret") as (url, _):
        monkeypatch.setenv("SCORER_TOKEN", "secret")
        rollouts = [Rollout("q", "a", {"reference": "a"})]
        (with_token,) = verdicts(rollouts, url, token_variable="SCORER_TOKEN")
        (without,) = verdicts(rollouts, url)
    assert with_token.score.value == 1
    assert (without.score.failure, "401" in without.score.explanation) == (Failure.INFRASTRUCTURE, True)


@pytest.mark.parametrize(
    "urls",
    [
        *("[]", "http://localhost:1", "[localhost:1]", "['http://']", "['http://h:99999']", "['http://h:0']"),
        *("['http://h:port']", "['http://[::1']", "[1]", "['ftp://h']", "['']"),
    ],
)
def test_remote_with_wrong_urls_says_what_to_write(urls: str, guerdon: Guerdon, folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    done = guerdon("score", "rows.jsonl", "--use", "remote", "--param", f"remote.urls={urls}")
    assert done.returncode == 2
    assert "urls" in done.stderr


@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("remote", {"urls": "[http://127.0.0.1:1]", "token_variable": "NOTSET_KEY"}),
        ("judge", {"endpoint": "{base_url: http://127.0.0.1:1, model: m, api_key_env: NOTSET_KEY}"}),
        ("lean", {"api_key_env": "NOTSET_KEY", "server": "http://127.0.0.1:1"}),
    ],
)
def test_score_with_a_token_variable_that_is_not_set_stops_before_scoring(
    use: str, params: dict[str, str], guerdon: Guerdon, folder: Path
) -> None:
    (folder / "rows.jsonl").write_text('{"prompt": "q", "completion": "a", "reference": "a"}\n')
    options = [f"--param={use}.{name}={value}" for name, value in params.items()]
    done = guerdon("score", "rows.jsonl", "--use", use, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the environment variable NOTSET_KEY, which" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("use", ["./v.py:best", "./v.py:batch"])
def test_check_with_a_server_that_compares_completions_refuses_it(
    guerdon: Guerdon, serving: Serving, folder: Path, use: str
) -> None:
    with serving("--use", use) as (url, _):
        (folder / "compares.yaml").write_text(MANIFEST.format(urls=f"[{url}]"))
        checked = guerdon("check", "compares.yaml")
    assert checked.returncode == 1
    assert "compares completions, and remote sends single ones" in checked.stdout + checked.stderr


def test_remote_of_a_group_reward_fails_as_infrastructure(serving: Serving) -> None:
    with serving("--use", "./v.py:best") as (url, _):
        (verdict,) = verdicts([Rollout("q", "a", {"reference": "a"})], url)
    assert verdict.score.failure is Failure.INFRASTRUCTURE
    assert "compares completions" in verdict.score.explanation


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """Run a server that is not a reward server. With status 0 it never answers."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            if not status:
                closing.wait()
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 -- the base class looks for this name

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()


RESULT = (
    '{"reward": %s, "scores": {"judge": {"value": 1, "outcome": "%s", "failure": %s, "explanation": ""}}}'
)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>Welcome to nginx</html>",
        "null",
        "[]",
        '{"results": []}',
        '{"results": {"0": 1}}',
        '{"results": [0]}',
        '{"results": [{"reward": 1}]}',
        f'{{"results": [{RESULT % ("1", "scored", "null")}, {RESULT % ("1", "scored", "null")}]}}',
        *(
            f'{{"results": [{RESULT % values}]}}'
            for values in (
                ('"1"', "scored", "null"),
                ("NaN", "scored", "null"),
                ("true", "scored", "null"),
                ("[1]", "scored", "null"),
                ("null", "failed", "null"),
                ("null", "failed", '"no such failure"'),
            )
        ),
    ],
)
def test_remote_with_a_server_that_answers_something_else_fails_as_infrastructure(body: str) -> None:
    rollouts = [Rollout("q", "a", {"reference": "a"})]
    with answering(200, body.encode(), x_guerdon_fingerprint="0" * 16) as url:
        (verdict,) = verdicts(rollouts, url, patience_s=0.1)
    assert verdict.score.failure is Failure.INFRASTRUCTURE
    assert "answers what `guerdon serve` does not" in verdict.score.explanation


def test_remote_without_a_fingerprint_in_the_answer_pays_nothing() -> None:
    body = f'{{"results": [{RESULT % ("1", "scored", "null")}]}}'
    with answering(200, body.encode()) as url:
        (verdict,) = verdicts([Rollout("q", "a", {"reference": "a"})], url, patience_s=0.1)
    assert verdict.score.failure is Failure.INFRASTRUCTURE


@pytest.mark.parametrize(("status", "body"), [(0, b""), (200, b"garbage"), (503, b"full")])
def test_remote_beside_a_broken_server_asks_the_other(url: str, status: int, body: bytes) -> None:
    rollouts = [Rollout(f"q {n}", "right", {"reference": "right" if n % 3 else "other"}) for n in range(150)]
    with answering(status, body) as broken:
        judged = verdicts(rollouts, broken, url, attempt_timeout_s=1.0)
    assert [verdict.score.value for verdict in judged] == [float(bool(n % 3)) for n in range(150)]


def test_server_with_the_fewest_requests_and_without_a_failure_has_its_turn() -> None:
    hung, working = _Server("http://a"), _Server("http://b")
    hung._under_way, working._under_way = 3, 2
    assert min(hung, working, key=_Server.turn) is working
    working._under_way = 4
    assert min(hung, working, key=_Server.turn) is hung
    hung.rest()
    assert min(hung, working, key=_Server.turn) is working
    hung._rests_until = 0.0  # its rest is over, and no more than one request tries it
    assert min(hung, working, key=_Server.turn) is working
    hung._under_way = 0
    assert min(hung, working, key=_Server.turn) is hung
    hung._under_way = 3
    hung.work()
    assert min(hung, working, key=_Server.turn) is hung


def test_check_with_a_server_that_is_not_guerdon_serve_says_so(guerdon: Guerdon, folder: Path) -> None:
    with answering(200, b"<html>Welcome</html>") as url:
        (folder / "html.yaml").write_text(MANIFEST.format(urls=f"[{url}]"))
        checked = guerdon("check", "html.yaml")
    assert checked.returncode == 3
    assert "is not a reward server" in checked.stdout + checked.stderr
    assert "Traceback" not in checked.stdout + checked.stderr


class TestConformance(VerifierConformance):
    """The kit, through a real server."""

    plugin = "remote"
    golden = (Case("right", 1.0, reference="right"), Case("none", None, reference="right"))
    hacks = (Case("Right", 0.0, reference="right", why="another word"),)

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, serving: Serving) -> Iterator[None]:
        with serving("--use", "./v.py:judge") as (url, _):
            cls.params = {"urls": [url]}
            yield
