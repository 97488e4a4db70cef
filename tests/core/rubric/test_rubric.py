import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure, Judgement, Outcome, Rollout
from guerdon.errors import DataError, FailureBudgetError, PluginLoadError, UsageError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, Kind, find_plugin
from guerdon.rubric import Entry, OnFailure, Rubric
from guerdon.scoring import jobs
from guerdon.scoring import pool as workers
from guerdon.scoring.cache import ScoreCache

MODULE = """
import asyncio, os, re, sys, threading, time
from guerdon import Failure, Score
from guerdon.errors import InfrastructureError

def equals(completion, reference): return completion == reference
def half(completion): return 0.5
def nothing(completion): return None
def choosy(completion): return 1.0 if completion == "mine" else None
def log_call(completion, path):
    with open(path, "a") as f: f.write(completion + "\\n")
    return 1
class TwoArguments(Exception):
    def __init__(self, a, b): super().__init__(a + b)
class Half(float):
    def __new__(cls): return float.__new__(cls, 0.5)
def misbehave(completion):
    match completion:
        case "raise": raise KeyError("lost")
        case "exit": sys.exit(0)
        case "nan": return float("nan")
        case "text": return "1.0"
        case "loop":
            while True: pass
        case "sleep": time.sleep(3600)
        case "native loop": return len(str(5 ** (5 ** (5 ** 5) - 4)))
        case "segfault": os.kill(os.getpid(), 11)
        case "leave": os._exit(7)
        case "print":
            for _ in range(1000): print("x" * 1_000_000)
        case "down": raise ConnectionRefusedError("nobody there")
        case "outside": raise InfrastructureError("no engine")
        case "unreadable": return Score.failed(Failure.REFERENCE, "cannot read it")
        case "circular":
            around = {}
            around["around"] = around
            return Score(1.0, metadata=around)
        case "own types":
            return Score(Half(), answer=Half(), metadata={"error": TwoArguments("a", "b"), "half": [Half()]})
        case "children":
            if os.fork() == 0: time.sleep(3600)
            time.sleep(3600)
    return 1.0
async def later(completion):
    await asyncio.sleep(3600 if completion == "sleep" else 0.3)
    return 1.0
async def blocking(completion, always=False):
    await asyncio.sleep(0.01)
    match "loop" if always else completion:
        case "loop":
            while True: pass
        case "leave": os._exit(7)
        case "exit": sys.exit(0)
        case "cancel": raise asyncio.CancelledError
        case "late": raise TimeoutError("the endpoint is late")
    return 1.0
def leaves_a_thread(completion):
    # re holds the interpreter's lock.
    if completion == "leave": threading.Timer(0.1, re.match, ("(a|aa)+$", "a" * 200 + "b")).start()
    return 1.0
def trl(completions, prompts, completion_ids, scale=1.0, trainer_state=None, log_metric=None, log_extra=None, **others):
    log_metric("seen", len(completions))
    log_extra("step", [trainer_state.global_step] * len(completions))
    log_extra("error", [TwoArguments("a", "b")] * len(completions))
    return [scale * len(ids) if text != "skip" else None for text, ids in zip(completions, completion_ids)]
def names(completion, scale=1, **columns):
    return Score(scale, explanation=" ".join(sorted(columns)))
def make_asks(least=0):
    def asks(completion, prompt, **columns): return Score(len(prompt), explanation=" ".join(sorted(columns)))
    return asks
def texts(completions, prompts, completion_ids, **columns):
    return [Score(1.0, explanation=f"{c} {p} {len(i)}") for c, p, i in zip(completions, prompts, completion_ids)]
def too_few(completions, **columns): return [1.0]
def raises(completions, **columns): raise RuntimeError("reward broke")
def hangs(completions, **columns): time.sleep(3600)
async def async_trl(completions, **columns): return [2.0 for _ in completions]
def tensor(completions, **columns):
    import array
    return array.array("d", [0.25] * len(completions))
class Broken:
    def __call__(self, completion): return 1
    def __init__(self, x: int = 1): raise OSError("no model here")
class Dies:
    def __init__(self): os._exit(3)
    def __call__(self, completion): return 1
class Closes:
    def __init__(self, path: str): self.path = path
    async def __call__(self, completion): return 1.0
    async def aclose(self): open(self.path, "w").close()
"""

Make = Callable[..., Entry]


@pytest.fixture
def entry(tmp_path: Path) -> Make:
    (tmp_path / "m.py").write_text(MODULE)

    def make(function: str, /, *, params: dict[str, Any] | None = None, **fields: Any) -> Entry:
        plugin = find_plugin(f"m.py:{function}", fields.pop("kinds", SCORERS), tmp_path)
        fields.setdefault("timeout_s", 1.5)
        return Entry(fields.pop("name", function), load_component(plugin, params or {}, tmp_path), **fields)

    return make


def judge(entries: list[Entry], *completions: str, step: int = 0, **columns: Any) -> list[Judgement]:
    rollouts = [Rollout("p", text, columns, completion_ids=range(len(text))) for text in completions]
    with Rubric(entries, workers=2) as rubric:
        return rubric.score(rollouts, step)


def test_a_reward_is_the_weighted_sum(entry: Make) -> None:
    wrong, right = judge([entry("equals", weight=2.0), entry("half", weight=-1.0)], "a", "b", reference="b")
    assert (wrong.reward, right.reward) == (-0.5, 1.5)
    assert right.verdicts["half"].weighted == -0.5


def test_skipped_scores_do_not_count(entry: Make) -> None:
    both, alone = (
        judge([entry("equals"), entry("nothing")], "b", reference="b")[0],
        judge([entry("nothing")], "b")[0],
    )
    assert both.reward == 1.0
    assert both.verdicts["nothing"].score.outcome is Outcome.SKIPPED
    assert alone.reward is None


@pytest.mark.parametrize(
    ("completion", "failure", "words"),
    [
        ("raise", Failure.VERIFIER, "KeyError: 'lost'"),
        ("exit", Failure.VERIFIER, "SystemExit"),
        ("nan", Failure.VERIFIER, "not a finite number"),
        ("text", Failure.VERIFIER, "of type str"),
        ("loop", Failure.TIMEOUT, "no verdict within 1.5 s"),
        ("sleep", Failure.TIMEOUT, "no verdict within 1.5 s"),
        ("native loop", Failure.TIMEOUT, "no verdict within 1.5 s"),
        ("children", Failure.TIMEOUT, "no verdict within 1.5 s"),
        ("segfault", Failure.VERIFIER, "SIGSEGV"),
        ("leave", Failure.VERIFIER, "exit status 7"),
        ("down", Failure.INFRASTRUCTURE, "nobody there"),
        ("outside", Failure.INFRASTRUCTURE, "no engine"),
        ("unreadable", Failure.REFERENCE, "cannot read it"),
        ("circular", Failure.VERIFIER, "metadata cannot be JSON"),
    ],
)
def test_a_broken_verdict_is_a_typed_failure_and_never_zero(
    entry: Make, completion: str, failure: Failure, words: str
) -> None:
    before, broken, after = judge([entry("misbehave"), entry("half")], "fine", completion, "fine too")
    score = broken.verdicts["misbehave"].score
    assert (score.value, score.failure) == (None, failure)
    assert words in score.explanation
    assert broken.reward is None
    assert (before.reward, after.reward) == (1.5, 1.5)


def test_a_score_reaches_the_engine_as_json_whatever_is_in_it(entry: Make) -> None:
    """Pickles of a plugin's own types may not load elsewhere: an exception that takes two arguments does not."""
    score = judge([entry("misbehave")], "own types")[0].verdicts["misbehave"].score
    assert (type(score.value), score.value, score.answer) == (float, 0.5, "0.5")
    assert score.metadata == {"error": "ab", "half": [0.5]}


def test_a_verifier_that_prints_a_gigabyte_is_fine(entry: Make) -> None:
    assert judge([entry("misbehave", timeout_s=20.0)], "print")[0].reward == 1.0


def test_killed_workers_take_their_children_along(entry: Make) -> None:
    judge([entry("misbehave")], "children")
    time.sleep(0.2)
    listed = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True).stdout
    orphans = [
        line for line in listed.splitlines() if "guerdon.scoring.worker" in line and line.split()[0] == "1"
    ]
    assert not orphans


def test_async_verifiers_run_at_once_and_keep_their_deadlines(entry: Make) -> None:
    started = time.monotonic()
    judgements = judge([entry("later")], *(["a", "b", "c", "d"] * 5), "sleep", "e")
    assert time.monotonic() - started < 6.0
    assert [judgement.reward for judgement in judgements] == [1.0] * 20 + [None, 1.0]
    assert judgements[20].verdicts["later"].score.failure is Failure.TIMEOUT


@pytest.mark.parametrize(
    ("completion", "failure", "words"),
    [
        ("loop", Failure.TIMEOUT, "no verdict within 0.3 s"),
        ("leave", Failure.VERIFIER, "exit status 7"),
        ("exit", Failure.VERIFIER, "SystemExit"),
        ("cancel", Failure.VERIFIER, "CancelledError"),
        ("late", Failure.VERIFIER, "TimeoutError: the endpoint is late"),
    ],
)
def test_what_breaks_an_async_verifier_costs_no_other_completion_its_verdict(
    entry: Make, monkeypatch: pytest.MonkeyPatch, completion: str, failure: Failure, words: str
) -> None:
    monkeypatch.setattr(workers, "CONCURRENT_GRACE_S", 0.2)
    completions = [f"fine {number}" for number in range(80)]
    completions[5] = completion
    judgements = judge([entry("blocking", timeout_s=0.3)], *completions)
    broken = judgements.pop(5).verdicts["blocking"].score
    assert broken.failure is failure
    assert words in broken.explanation
    assert [judgement.reward for judgement in judgements] == [1.0] * 79


def test_an_async_verifier_that_always_hangs_is_given_up(
    entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CONCURRENT_GRACE_S", 0.0)
    monkeypatch.setattr(jobs, "MAX_LOSSES", 3)
    started = time.monotonic()
    judgements = judge([entry("blocking", timeout_s=0.2, params={"always": True})], *map(str, range(100)))
    assert {judgement.verdicts["blocking"].score.failure for judgement in judgements} == {Failure.TIMEOUT}
    assert time.monotonic() - started < 30.0


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_what_a_case_leaves_behind_costs_its_worker_and_not_the_next_case(
    entry: Make, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Not even one that is too large for the buffer of the socket, which the worker no longer reads."""
    monkeypatch.setattr(workers, "BEGIN_TIMEOUT_S", 0.5)
    with Rubric([entry("leaves_a_thread")], workers=1) as rubric:
        assert rubric.score([Rollout("p", "leave")])[0].reward == 1.0
        time.sleep(0.3)
        assert rubric.score([Rollout("p", "x" * size)])[0].reward == 1.0


def test_trl_reward_functions_work_unchanged(entry: Make) -> None:
    rubric = Rubric(
        [entry("trl", params={"scale": 10.0}), entry("async_trl", weight=0.5), entry("tensor", weight=4)]
    )
    with rubric:
        judgements = rubric.score(
            [Rollout("p", t, {"x": 1}, completion_ids=[7, 8]) for t in ("abc", "skip")], step=5
        )
        assert judgements.metrics == {"seen": 2.0}
        one, skipped = judgements
    assert one.reward == 20.0 + 1.0 + 1.0
    assert skipped.reward == 2.0
    assert one.verdicts["trl"].score.metadata == {"step": 5, "error": "ab"}


@pytest.mark.parametrize(
    ("function", "failure", "words"),
    [
        ("too_few", Failure.VERIFIER, "returned 1 rewards for 3 completions"),
        ("raises", Failure.VERIFIER, "reward broke"),
        ("hangs", Failure.TIMEOUT, "no verdict within 1.5 s"),
    ],
)
def test_a_broken_reward_fails_every_completion_and_shifts_none(
    entry: Make, function: str, failure: Failure, words: str
) -> None:
    judgements = judge([entry(function), entry("equals")], "a", "b", "c", reference="b")
    assert [judgement.verdicts["equals"].score.value for judgement in judgements] == [0.0, 1.0, 0.0]
    for judgement in judgements:
        score = judgement.verdicts[function].score
        assert score.failure is failure
        assert words in score.explanation
        assert judgement.reward is None


def test_on_failure_zero_and_abort(entry: Make) -> None:
    zero = judge([entry("misbehave", on_failure=OnFailure.ZERO), entry("half")], "raise")[0]
    assert zero.reward == 0.5
    metric = judge([entry("misbehave", weight=0.0), entry("half")], "raise")[0]
    assert metric.reward == 0.5
    with pytest.raises(FailureBudgetError, match="on_failure"):
        judge([entry("misbehave", on_failure=OnFailure.ABORT)], "raise")


def test_a_metric_neither_counts_nor_judges(entry: Make) -> None:
    """It must not turn "nobody judged" into a reward of 0."""
    nobody, judged = judge([entry("choosy"), entry("half", weight=0)], "mine not", "mine")
    assert (nobody.reward, judged.reward) == (None, 1.0)
    assert nobody.verdicts["half"].score.value == 0.5
    rising = entry("half", weight={0: 0.0, 10: 1.0})
    assert [judge([rising], "x", step=step)[0].reward for step in (0, 1)] == [None, 0.05]
    zero = entry("misbehave", weight=0, on_failure=OnFailure.ZERO)
    assert judge([zero], "raise")[0].reward is None
    assert (entry("half", weight={0: 0}).is_metric, rising.is_metric) == (True, False)


def test_routes_send_rollouts_to_their_verifiers(entry: Make) -> None:
    entries = [entry("half", when={"task": "chat"}), entry("equals", when={"task": ["math", "code"]})]
    rollouts = [Rollout("p", "1", {"task": task, "reference": "1"}) for task in ("chat", "code", "poem")]
    with Rubric(entries) as rubric:
        chat, code, poem = rubric.score(rollouts)
    assert (chat.reward, code.reward, poem.reward) == (0.5, 1.0, None)
    assert list(chat.verdicts) == ["half"]


def test_weight_schedules_are_linear_between_their_steps(entry: Make) -> None:
    scheduled = entry("half", weight={10: 0.0, 20: 1.0})
    assert [scheduled.weight_at(step) for step in (0, 10, 15, 20, 99)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert judge([scheduled], "x", step=15)[0].reward == 0.25


def test_the_failure_budget_stops_before_learning_from_noise(entry: Make) -> None:
    rollouts = [Rollout("p", text) for text in ["fine"] * 30 + ["raise"] * 5]
    with Rubric([entry("misbehave")], failure_budget=0.2) as rubric:
        assert rubric.score(rollouts)[-1].reward is None
    with (
        Rubric([entry("misbehave")], failure_budget=0.1) as rubric,
        pytest.raises(FailureBudgetError, match=r"'misbehave' failed on 5 of its latest 35 .*KeyError"),
    ):
        rubric.score(rollouts)


def test_a_missing_column_is_named(entry: Make) -> None:
    with pytest.raises(DataError, match=r"needs the column 'reference', and the row has answer"):
        judge([entry("equals")], "a", answer="b")


def test_a_column_never_replaces_what_the_engine_gives(entry: Make) -> None:
    names = ("completion", "completions", "prompts", "completion_ids")
    columns: dict[str, Any] = dict.fromkeys(names, "of the data")
    asks = entry("make_asks", kinds=[Kind.VERIFIER])
    entries = [entry("names", params={"scale": 2}), asks, entry("texts")]
    (judged,) = judge(entries, "text", **columns, scale=9, level=1)
    scores = {name: (v.score.value, v.score.explanation) for name, v in judged.verdicts.items()}
    assert scores == {
        "names": (2.0, "completion_ids completions level prompts"),
        "make_asks": (1.0, "completion_ids completions level prompts scale"),
        "texts": (1.0, "text p 4"),
    }


def test_equal_cases_are_judged_once_and_remembered(entry: Make, tmp_path: Path) -> None:
    log, database = str(tmp_path / "calls"), tmp_path / "scores.sqlite"
    rollouts = [Rollout("p", text, {"path": log}) for text in ("a", "b", "a", "a")]
    for _ in range(2):
        with closing(ScoreCache(database)) as cache, Rubric([entry("log_call")], cache=cache) as rubric:
            assert [judgement.reward for judgement in rubric.score(rollouts)] == [1.0] * 4
            rubric.score(rollouts)
    assert sorted(Path(log).read_text().split()) == ["a", "b"]


def test_a_cache_that_two_rubrics_share_stays_open(entry: Make, tmp_path: Path) -> None:
    rollouts = [Rollout("p", "a", {"path": str(tmp_path / "calls")})]
    with closing(ScoreCache()) as cache:
        for _ in range(2):
            with Rubric([entry("log_call")], cache=cache) as rubric:
                assert rubric.score(rollouts)[0].reward == 1.0
    assert (tmp_path / "calls").read_text() == "a\n"


def test_a_rubrics_own_cache_is_bounded(entry: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guerdon.rubric.rubric.MAX_CACHED_SCORES", 2)
    with Rubric([entry("log_call")]) as rubric:
        for text in ("a", "b", "a", "c", "a"):
            rubric.score([Rollout("p", text, {"path": str(tmp_path / "calls")})])
    assert (tmp_path / "calls").read_text().split() == ["a", "b", "c", "a"]


def test_failures_are_not_remembered(entry: Make) -> None:
    with Rubric([entry("misbehave")]) as rubric:
        for _ in range(2):
            assert rubric.score([Rollout("p", "raise")])[0].verdicts["misbehave"].latency_ms > 0


def test_a_plugin_that_cannot_be_built_is_an_error_not_a_score(entry: Make) -> None:
    with pytest.raises(UsageError, match="no model here"):
        judge([entry("Broken")], "a")
    with pytest.raises(PluginLoadError, match="exit status 3"):
        judge([entry("Dies")], "a")


def test_names_must_differ(entry: Make) -> None:
    with pytest.raises(UsageError, match="several rewards are named half"):
        Rubric([entry("half"), entry("half")])


def test_a_verifier_gives_back_what_it_holds(entry: Make, tmp_path: Path) -> None:
    judge([entry("Closes", params={"path": str(tmp_path / "closed")})], "a")
    assert (tmp_path / "closed").exists()


def test_threads_and_event_loops_may_score(entry: Make) -> None:
    results: list[float | None] = []
    with Rubric([entry("misbehave")], workers=2) as rubric:

        def work() -> None:
            results.extend(
                judgement.reward for judgement in rubric.score([Rollout("p", "a"), Rollout("p", "loop")])
            )

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        async def in_a_loop() -> list[Judgement]:
            return rubric.score([Rollout("p", "loop")])

        assert asyncio.run(in_a_loop())[0].reward is None
    assert results == [1.0, None] * 3


def test_workers_end_with_their_engine_even_by_kill_9(entry: Make, tmp_path: Path) -> None:
    """Even while a plugin holds the interpreter's lock."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from guerdon import Rollout
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
path = Path({str(tmp_path)!r})
made = load_component(find_plugin("m.py:misbehave", SCORERS, path), {{}}, path)
with Rubric([Entry("m", made, timeout_s=60.0)], workers=1) as rubric:
    rubric.score([Rollout("p", "native loop")])
"""
    engine = subprocess.Popen([sys.executable, "-c", code])
    worker = _child_of(engine.pid)
    time.sleep(1.0)
    engine.kill()
    engine.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists() and _state(worker) != "Z":
        assert time.monotonic() < deadline, "the worker outlived its engine"
        time.sleep(0.05)


def _child_of(pid: int) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_no_descriptor_leaks(entry: Make) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        judge([entry("misbehave")], "a", "loop", "segfault")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
