import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import DataError, InfrastructureError, PluginContractError, StageFailedError, UsageError
from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute
from guerdon.run.files import locked, read_json
from guerdon.stage import StageResult

MODULE = '''
import errno, json, os, time
from pathlib import Path
from guerdon import Judgement, Rollout, StageResult

class Count:
    """Counts to ``steps``, with a checkpoint after each step."""
    def __init__(self, steps: int = 3, pause: float = 0.0):
        self.steps, self.pause = steps, pause
    def run(self, context):
        state = context.work / "step"
        done = int(state.read_text()) if state.exists() else 0
        start = sum(int((Path(m.path) / "sum").read_text()) for m in context.models if Path(m.path).exists())
        for step in range(done, self.steps):
            time.sleep(self.pause)
            context.progress(step + 1, self.steps, {"seen": step})
            context.log_rollouts(step, [Rollout(str(step), "", {})], [Judgement(0.0, {})])
            state.with_name("partial").write_text(str(step + 1))
            state.with_name("partial").replace(state)
        (context.output / "model").mkdir()
        (context.output / "model" / "sum").write_text(str(start + self.steps + context.seed))
        (context.output / "rows.jsonl").write_text('{"prompt": "from ' + context.stage_id + '"}\\n')
        return StageResult(context.output / "model", context.output / "rows.jsonl", {"sum": start + self.steps})

def score(context):
    with context.open_rubric() as rubric:
        judgements = rubric.score([Rollout(row["prompt"], "yes", row) for row in context.rows()])
    return StageResult(metrics={"reward": sum(j.reward for j in judgements), "rows": len(judgements)})

def yes(completion): return completion == "yes"
class Nearness:
    """Scores by the model of another stage."""
    def __init__(self, model: str): self.sum = int((Path(model) / "sum").read_text())
    def __call__(self, completion): return self.sum
def raises(context): raise KeyError("oh")
def full(context): raise OSError(errno.ENOSPC, "No space left on device", "model.bin")
def nothing(context): return None
def lies(context): return StageResult(checkpoint=context.output / "nowhere")
def leaves(context): raise SystemExit(0)
def odd_metrics(context): return StageResult(metrics={"x": object()})
def nan(context): return StageResult(metrics={"x": float("nan"), "y": [1, (2.0, None)]})
def one_model(context): return StageResult(metrics={"name": context.model.name})

class Sloppy:
    """Names its file anew with each try."""
    def __init__(self, table: dict = {}): self.table = table
    def run(self, context):
        tries = len(list(context.work.iterdir()))
        (context.work / str(tries)).touch()
        (context.output / f"rows-{tries}.jsonl").write_text('{"prompt": "x"}\\n')
        if tries == 0: raise OSError(errno.ENOSPC, "No space left on device", "model.bin")
        return StageResult(dataset=context.output)
class Asks:
    def __iter__(self): raise ZeroDivisionError("at once")
class Rows:
    def __init__(self, n: int = 3, word: str = "row", endless: bool = False, path: str = ""):
        self.n, self.word, self.endless, self.path = n, word, endless, path
    def __iter__(self): return ({"prompt": f"{self.word} {i}"} for i in range(self.n))
    def fingerprint(self): return Path(self.path).read_text() if self.path else None
class Stops:
    def __iter__(self):
        yield {"prompt": "p"}
        raise ValueError("oh\\nno")
def numbers(): return [1, 2]
def no_iterable(): return 3
'''

CHAIN = """\
name: chain
model: hub/base
seed: 100
stages:
  - {id: one, use: "./m.py:Count", params: {steps: 2}}
  - {id: two, use: "./m.py:Count", init: "stage:one", params: {steps: 5}}
  - id: scored
    use: ./m.py:score
    init: none
    data: [{use: stage, params: {id: two}}, {use: "./m.py:Rows", limit: 2}]
    rewards: [{use: "./m.py:yes", weight: 2.0}]
"""


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    @hookimpl
    def stage_started(self, stage_id: str, resumed: bool) -> None:
        self.events.append(("resumed" if resumed else "started", stage_id))

    @hookimpl
    def stage_skipped(self, stage_id: str) -> None:
        self.events.append(("skipped", stage_id))

    @hookimpl
    def stage_finished(self, stage_id: str, result: StageResult) -> None:
        self.events.append(("finished", stage_id))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    return tmp_path


def run(
    folder: Path, text: str, *hooks: object, changes: tuple[str, ...] = (), **options: Any
) -> dict[str, StageResult]:
    (folder / "m.yaml").write_text(text)
    return execute(plan_run(load_manifest(folder / "m.yaml", changes)), folder / "out", hooks, **options)


def one_stage(use: str, rest: str = "") -> str:
    return f"name: x\nstages:\n  - id: a\n    use: {use}\n    init: none\n{rest}"


def test_stages_build_on_each_other(folder: Path) -> None:
    recorder = Recorder()
    results = run(folder, CHAIN, recorder)
    assert results["two"].checkpoint is not None
    assert (results["two"].checkpoint / "sum").read_text() == str(2 + 100 + 5 + 100)
    assert results["scored"].metrics == {"reward": 6.0, "rows": 3}
    assert recorder.events[:2] == [("started", "one"), ("finished", "one")]
    assert not (folder / "out/stages/one/work").exists()
    record = read_json(folder / "out/run.json")
    assert record["versions"]["guerdon"]
    assert {plugin["name"] for plugin in record["plugins"]} >= {"Count", "yes", "Rows"}


def test_finished_stages_are_skipped(folder: Path) -> None:
    first = run(folder, CHAIN)
    recorder = Recorder()
    assert run(folder, CHAIN, recorder) == first
    assert recorder.events == [("skipped", "one"), ("skipped", "two"), ("skipped", "scored")]


def test_failed_stage_that_saved_nothing_takes_other_inputs(folder: Path) -> None:
    text = "name: broken\nstages:\n  - {id: one, use: './m.py:raises', init: none}\n"
    with pytest.raises(StageFailedError, match=r"raised KeyError: 'oh' \(m\.py:\d+\)\."):
        run(folder, text)
    assert run(folder, text.replace("raises", "one_model").replace("none", "some/model"))["one"].metrics == {
        "name": "some/model"
    }


def test_failed_stage_with_a_checkpoint_refuses_other_inputs(folder: Path) -> None:
    text = "name: sloppy\nstages:\n  - {id: one, use: './m.py:Sloppy', init: none}\n"
    with pytest.raises(InfrastructureError, match="No space left"):
        run(folder, text)
    with pytest.raises(UsageError, match="stage 'one' from other inputs"):
        run(folder, text.replace("init: none", "init: none, params: {table: {a: 1}}"))


def test_other_inputs_are_an_error_that_says_what_changed(folder: Path) -> None:
    run(folder, CHAIN)
    with pytest.raises(UsageError, match=r"stage 'two' from other inputs: stage.params.steps was 5 and is 6"):
        run(folder, CHAIN, changes=("stages.two.params.steps=6",))
    recorder = Recorder()
    run(folder, CHAIN, recorder, changes=("stages.two.params.steps=6",), redo=True)
    assert [event for event in recorder.events if event[0] != "finished"] == [
        ("skipped", "one"),
        ("started", "two"),
        ("started", "scored"),
    ]


def test_params_that_json_writes_otherwise_are_the_same_inputs(folder: Path) -> None:
    text = one_stage(
        "./m.py:Count", "    params: {steps: 1}\n    data: [{use: './m.py:Rows', add: {day: 2024-01-01}}]\n"
    )
    text += "  - {id: b, use: './m.py:Sloppy', init: none, params: {table: {1: .nan, 2: [x]}}}\n"
    with pytest.raises(InfrastructureError):
        run(folder, text)
    first = run(folder, text)
    recorder = Recorder()
    assert run(folder, text, recorder) == first
    assert recorder.events == [("skipped", "a"), ("skipped", "b")]


def test_what_a_failed_try_wrote_is_not_an_output(folder: Path) -> None:
    text = one_stage("./m.py:Sloppy")
    with pytest.raises(InfrastructureError):
        run(folder, text)
    dataset = run(folder, text)["a"].dataset
    assert dataset is not None
    assert [path.name for path in dataset.iterdir()] == ["rows-1.jsonl"]


def test_a_project_may_be_moved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run(folder, CHAIN)
    moved = folder.rename(tmp_path_factory.mktemp("elsewhere") / "project")
    recorder = Recorder()
    run(moved, CHAIN, recorder)
    assert {event for event, _ in recorder.events} == {"skipped"}


def test_a_torn_cache_is_begun_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "out/cache").mkdir(parents=True)
    (folder / "out/cache/scores.sqlite").write_text("torn by a power cut " * 99)
    assert run(folder, CHAIN)["scored"].metrics == {"reward": 6.0, "rows": 3}
    assert "starts empty again" in caplog.text


def test_a_sources_content_counts_as_input(folder: Path) -> None:
    (folder / "data").write_text("before")
    text = one_stage("./m.py:score", f"    data: [{{use: './m.py:Rows', params: {{path: {folder}/data}}}}]\n")
    text += "    rewards: [{use: './m.py:yes'}]\n"
    run(folder, text)
    (folder / "data").write_text("after")
    with pytest.raises(UsageError, match="content was 'before' and is 'after'"):
        run(folder, text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('no')", r"the fingerprint of source 'Marked' \(m.py\) raised ValueError: no"),
        ("return {1}", r"the fingerprint of source 'Marked' \(m.py\) returned a set, which is not JSON"),
    ],
)
def test_a_fingerprint_that_breaks_names_its_source(folder: Path, body: str, words: str) -> None:
    marked = f"class Marked(Rows):\n    def fingerprint(self): {body}\n"
    (folder / "m.py").write_text(f"{MODULE}\n{marked}")
    text = one_stage(
        "./m.py:score", "    data: [{use: './m.py:Marked'}]\n    rewards: [{use: './m.py:yes'}]\n"
    )
    with pytest.raises(PluginContractError, match=words):
        run(folder, text)


def test_a_killed_run_ends_as_an_uninterrupted_one(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = tmp_path_factory.mktemp("whole")
    (whole / "m.py").write_text(MODULE)
    text = CHAIN.replace("steps: 5", "steps: 8, pause: 0.05").replace("steps: 2", "steps: 2, pause: 0.05")
    for place in (whole, folder):
        (place / "m.yaml").write_text(text)
    command = [sys.executable, "-m", "guerdon", "run", "m.yaml", "-o", "out"]
    subprocess.run(command, cwd=whole, check=True)
    kills = 0
    for delay in (0.7, 0.9, 0.8, 1.0):
        process = subprocess.Popen(command, cwd=folder)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 1
    subprocess.run(command, cwd=folder, check=True)  # no kill: a busy machine may be slow
    for stage in ("one", "two", "scored"):
        assert read_json(folder / f"out/stages/{stage}/result.json") == read_json(
            whole / f"out/stages/{stage}/result.json"
        )
    for place in (whole, folder):
        events = [json.loads(line) for line in (place / "out/events.jsonl").read_text().splitlines()]
        steps = [(e["stage"], e["step"]) for e in events if e["event"] == "stage_progress"]
        assert steps == [("one", 1), ("one", 2), *(("two", step) for step in range(1, 9))]
        rollouts = (place / "out/stages/two/rollouts.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in rollouts] == list(range(8))


def test_two_runs_never_share_a_folder(folder: Path) -> None:
    text = one_stage("./m.py:Count", "    params: {steps: 1}\n")
    with locked(folder / "out"), pytest.raises(UsageError, match="in use by another guerdon"):
        run(folder, text)
    assert run(folder, text)["a"].metrics == {"sum": 1}


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        ("raises", StageFailedError, r"stage 'a' \(stage 'raises' .*raised KeyError: 'oh'"),
        (
            "full",
            InfrastructureError,
            r"stage 'a' stopped: .*No space left.*resumes from its newest checkpoint",
        ),
        ("nothing", StageFailedError, "returned a NoneType, not a StageResult"),
        ("leaves", StageFailedError, "raised SystemExit: 0"),
        ("odd_metrics", StageFailedError, "which JSON cannot hold"),
        ("lies", StageFailedError, "which is not there or not inside context.output"),
        ("one_model", UsageError, "starts from one model, and its init names none"),
        ("score", UsageError, "needs 'rewards', and has none"),
    ],
)
def test_a_stage_that_fails_is_named(folder: Path, use: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        run(folder, one_stage(f"./m.py:{use}"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{use: './m.py:Rows', params: {n: 0}}", "has no rows"),
        ("{use: './m.py:Rows', params: {n: 1}, split: heldout}", "has no rows on the heldout side"),
        ("{use: './m.py:Rows', params: {endless: true}}", "never ends. Give the data entry a 'limit'"),
        ("{use: './m.py:numbers'}", "yields, as row 0, 1"),
        ("{use: './m.py:Stops'}", "at row 1, raised ValueError: oh no"),
        ("{use: './m.py:Asks'}", "at row 0, raised ZeroDivisionError: at once"),
        ("{use: './m.py:no_iterable'}", "cannot be iterated"),
    ],
)
def test_data_that_is_not_data(folder: Path, source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        run(
            folder, one_stage("./m.py:score", f"    data: [{source}]\n    rewards: [{{use: './m.py:yes'}}]\n")
        )


def test_the_sides_of_a_split_never_overlap(folder: Path) -> None:
    from guerdon.run.data import is_heldout

    rows = [{"prompt": f"{i}"} for i in range(4000)]
    share = sum(is_heldout(row, 0.05) for row in rows) / len(rows)
    assert 0.03 < share < 0.07
    for row in rows[:200]:
        assert is_heldout({"prompt": "other words", "split_key": row["prompt"]}, 0.05) == is_heldout(
            row, 0.05
        )
        assert is_heldout(row | {"extra": 1}, 0.05) == is_heldout(row, 0.05)


def test_a_hook_that_raises_stops_nothing_but_itself(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Raises:
        @hookimpl
        def stage_started(self) -> None:
            raise RuntimeError("hook broke")

    recorder = Recorder()
    run(folder, CHAIN, Raises(), recorder)
    assert len(recorder.events) == 6
    assert caplog.text.count("hook broke") == 1


def test_a_hook_that_does_not_fit_is_an_error(folder: Path) -> None:
    class Misspelt:
        @hookimpl
        def stage_begun(self) -> None: ...

    class Wrong:
        @hookimpl
        def stage_started(self, stage_name: str) -> None: ...

    for plugin in (Misspelt(), Wrong()):
        with pytest.raises(PluginContractError, match="does not fit guerdon's hooks"):
            run(folder, CHAIN, plugin)


def test_a_metric_that_is_not_a_number_is_null(folder: Path) -> None:
    run(folder, one_stage("./m.py:nan"))
    assert read_json(folder / "out/stages/a/result.json")["metrics"] == {"x": None, "y": [1, [2.0, None]]}


@pytest.mark.parametrize("content", ["{}", "[1]", '{"checkpoint": 1, "dataset": null, "metrics": {}}', "{"])
def test_a_broken_result_file_is_named(folder: Path, content: str) -> None:
    run(folder, one_stage("./m.py:nan"))
    (folder / "out/stages/a/result.json").write_text(content)
    with pytest.raises(UsageError, match=r"result\.json is not"):
        run(folder, one_stage("./m.py:nan"))


def test_a_hook_that_hooks_nothing_is_an_error(folder: Path) -> None:
    with pytest.raises(PluginContractError, match="hooks nothing"):
        run(folder, CHAIN, object())


def test_an_unwritable_run_folder(folder: Path) -> None:
    (folder / "out").write_text("a file")
    with pytest.raises(InfrastructureError, match="cannot be written to"):
        run(folder, CHAIN)
    assert (folder / "out").is_file()


JUDGED = """\
name: judged
stages:
  - id: scored
    use: ./m.py:score
    init: none
    data: [{use: "./m.py:Rows"}]
    rewards: [{use: "./m.py:Nearness", params: {model: "stage:judge"}}]
  - {id: judge, use: "./m.py:Count", init: none, params: {steps: 2}}
"""


def test_a_reward_uses_the_checkpoint_of_a_stage(folder: Path) -> None:
    assert run(folder, JUDGED)["scored"].metrics["reward"] == 3 * 2
    with pytest.raises(UsageError, match="stage 'judge' from other inputs"):
        run(folder, JUDGED, changes=("stages.judge.params.steps=5",))
    # The scores of the old checkpoint, which stood in the same place, are not those of the new one.
    redone = run(folder, JUDGED, changes=("stages.judge.params.steps=5",), redo=True)
    assert redone["scored"].metrics["reward"] == 3 * 5


def test_a_reward_cannot_use_a_stage_without_a_checkpoint(folder: Path) -> None:
    text = JUDGED.replace('"./m.py:Count", init: none, params: {steps: 2}', '"./m.py:nan", init: none')
    with pytest.raises(UsageError, match="stage 'judge' leaves no checkpoint, so 'Nearness' cannot use it"):
        run(folder, text)
