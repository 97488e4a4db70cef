"""The report of a run that a user has made, finished or not, as the page says it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from viewed_runs import event, write_lines, write_run

from guerdon.cli.main import cli
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.index import RunIndex, grow_fully
from guerdon.index.metrics import metric_curve, stage_tokens
from guerdon.index.summing import rollout_curves
from guerdon.report import draw_curves, read_run, render_page

MODULE = """
import os
from guerdon import Rollout, Score, StageResult

def spicy(completion): return Score(len(completion) / 100, explanation="<img src=x onerror=alert(1)> & more")

def train(context):
    with context.open_rubric() as rubric:
        for step in range(4):
            rollouts = [Rollout("<b>2 + 2?</b>", text, {}, (1,) * 7) for text in ("wait, <i>4</i>", "4" * 9 * step)]
            judgements = rubric.score(rollouts, step)
            context.log_rollouts(step + 1, rollouts, judgements)
            context.progress(step + 1, 4, {
                "reward": 0.1 * step, "rewards/spicy/mean": 0.2 * step, "completions/mean_length": 7 + step,
                "entropy": 1 / (step + 1), "frac_reward_zero_std": 0.5, "num_tokens": 14 * (step + 1),
            })
    (context.output / "model").mkdir()
    return StageResult(context.output / "model", metrics={"reward": 0.3})

def evaluate(context):
    if os.environ.get("STOP"):
        raise KeyError("no luck today")
    rows = [{"model": m.name, "math_greedy": 0.25 * i} for i, m in enumerate(context.models)]
    return StageResult(metrics={"tables": {"evaluation": rows}})

def rows(): return [{"prompt": "p"}]
"""
MANIFEST = """
name: tiny
description: To be <em>reported</em>.
stages:
  - {id: zero, use: "./m.py:train", init: none, data: [{use: "./m.py:rows"}], rewards: [{use: "./m.py:spicy"}]}
  - {id: table, use: "./m.py:evaluate", init: ["stage:zero", "stage:zero"]}
"""


def run(folder: Path, **environment: str) -> Path:
    (folder / "m.py").write_text(MODULE)
    (folder / "tiny.yaml").write_text(MANIFEST)
    command = [sys.executable, "-m", "guerdon", "run", "tiny.yaml", "-o", "run"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"PATH": "", **environment}, check=False
    )
    assert done.returncode == (1 if environment else 0), done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


class Page(HTMLParser):
    """A page's text, its tags, and every address that it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self._pieces: list[str] = []
        self.feed(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self._pieces.append(data)


def indexed(folder: Path) -> RunIndex:
    index = RunIndex(folder, folder.parent / "index")
    grow_fully(index)
    return index


def rendered(folder: Path, steps: Sequence[int] = ()) -> str:
    return render_page(indexed(folder), steps)


def page(folder: Path, steps: Sequence[int] = ()) -> Page:
    return Page(rendered(folder, steps))


def test_page_shows_the_alarms_of_a_stage_whatever_they_say(folder: Path) -> None:
    assert "Alarm" not in page(folder).text
    message = "the entropy falls from 0.4 to 0.1 <img src=x>."
    alarm = {"kind": "entropy", "metric": "entropy", "step": 3, "before": 0.4, "now": 0.1, "message": message}
    with (folder / "events.jsonl").open("a") as log:
        log.write(json.dumps(event(0, "alarm_raised", stage="zero", **alarm)) + "\n")
        log.write(json.dumps(event(0, "alarm_raised", stage="zero", kind="entropy")) + "\n")
    shown = page(folder)
    assert f"Alarm in zero , step 3: {message}" in shown.text
    assert "1 line of the logs was cut off or not guerdon's" in shown.text
    assert "img" not in shown.tags


def test_the_page_shows_stages_tables_curves_and_verdicts(folder: Path) -> None:
    shown = page(folder)
    assert "zero ./m.py:train none finished" in shown.text
    assert "table ./m.py:evaluate zero, zero finished" in shown.text
    assert "model math greedy zero 0.000 zero 0.250" in shown.text
    assert shown.tags.count("svg") == 5
    for title in (
        "Reward",
        "Response length",
        "Words of self-correction",
        "Entropy",
        "Groups without variance",
    ):
        assert title in shown.text
    assert "step 1: reward 0.140 , 7 tokens" in shown.text
    assert "step 4: reward 0.270" in shown.text


def test_page_of_a_manifest_without_optional_fields_renders(tmp_path: Path) -> None:
    """A run's record leaves out what has its default: description, seed, and most keys of a stage."""
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "least.yaml").write_text(
        'name: least\nstages: [{id: table, use: "./m.py:evaluate", init: none}]\n'
    )
    command = [sys.executable, "-m", "guerdon", "run", "least.yaml", "-o", "run"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    recorded = read_run(tmp_path / "run").manifest
    assert "description" not in recorded
    shown = page(tmp_path / "run")
    assert "seed 0" in shown.text
    assert '"use": "./m.py:evaluate"' in shown.text


def test_what_a_model_or_a_verifier_writes_is_text(folder: Path) -> None:
    shown = page(folder)
    assert "wait, <i>4</i>" in shown.text
    assert "<b>2 + 2?</b>" in shown.text
    assert "<img src=x onerror=alert(1)> & more" in shown.text
    assert not {"script", "img", "i", "em", "link", "iframe"} & set(shown.tags)


def test_the_page_asks_for_nothing(folder: Path) -> None:
    assert all(address.startswith("#") for address in page(folder).addresses)


def test_the_same_run_is_the_same_page(folder: Path) -> None:
    assert rendered(folder) == rendered(folder)


def test_memory_time_and_tokens_are_the_stages_own(folder: Path) -> None:
    zero, _ = read_run(folder).stages
    assert stage_tokens(indexed(folder), "zero") == 56
    assert stage_tokens(indexed(folder), "table") is None
    assert zero.seconds > 0
    assert zero.peak_memory_bytes is not None
    assert 2**24 < zero.peak_memory_bytes < 2**34


def test_self_corrections_are_counted_by_step(folder: Path) -> None:
    curve = rollout_curves(indexed(folder), "zero", "self-correction")["self-correction"]
    assert curve == [(step, 0.5) for step in (1, 2, 3, 4)]


def test_a_run_that_goes_on_says_so(folder: Path) -> None:
    (folder / "stages/table/result.json").unlink()
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shown = page(folder)
    assert "This run is active" in shown.text
    assert "table ./m.py:evaluate zero, zero running" in shown.text
    assert "This run is active" not in page(folder).text


def test_a_run_that_stopped_says_why(tmp_path: Path) -> None:
    shown = page(run(tmp_path, STOP="1"))
    assert "This run failed. StageFailedError" in shown.text
    assert "no luck today" in shown.text
    assert "table ./m.py:evaluate zero, zero failed" in shown.text


def test_half_written_lines_are_left_out(folder: Path) -> None:
    for name in ("events.jsonl", "stages/zero/rollouts.jsonl"):
        with (folder / name).open("a") as log:
            log.write('{"step": 4, "time": "2026')
    assert "2 lines of the logs were cut off" in page(folder).text
    assert [step for step, _ in metric_curve(indexed(folder), "zero", "reward")] == [1, 2, 3, 4]


def test_a_run_without_logs_is_a_page_too(folder: Path) -> None:
    (folder / "events.jsonl").unlink()
    shutil.rmtree(folder / "stages")
    shown = page(folder)
    assert "zero ./m.py:train none waiting" in shown.text
    assert "not started" in shown.text


def test_logs_that_guerdon_did_not_write_are_counted(folder: Path) -> None:
    (folder / "events.jsonl").write_text('[1]\n{"event": "stage_progress"}\n\n"x"\n{"event": 1, "time": 2}\n')
    (folder / "stages/zero/rollouts.jsonl").write_text('{"step": "x"}\n[]\n{"step": 0, "completion": 5}\n')
    assert "8 lines of the logs were cut off" in page(folder).text


def test_hook_plugins_add_sections(folder: Path) -> None:
    (folder / "report").mkdir()
    section = {"title": "Costs", "text": "In <dollars>.", "rows": [{"stage": "zero", "cost": 1.5}]}
    (folder / "report/costs.json").write_text(json.dumps(section))
    (folder / "report/half.json").write_text('{"title"')
    shown = page(folder)
    assert "Costs In <dollars>. stage cost zero 1.500" in shown.text
    assert "1 line of the logs was cut off" in shown.text


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"not a run, it has no run\.json"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(UsageError, match="is not what 'guerdon run' writes"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match="is not valid JSON"):
        read_run(tmp_path)


def test_curves_are_files_of_their_own(folder: Path, tmp_path: Path) -> None:
    paths = draw_curves(indexed(folder), tmp_path / "curves")
    assert sorted(path.name for path in paths) == [
        "zero-entropy.svg",
        "zero-groups-without-variance-share.svg",
        "zero-response-length-tokens.svg",
        "zero-reward.svg",
        "zero-words-of-self-correction-in-a-response.svg",
    ]
    assert all(path.read_text().startswith("<svg") for path in paths)


@pytest.mark.parametrize("package", ["jinja2"])
def test_a_missing_library_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*guerdon\[report\]"):
        page(folder)


def test_the_command_writes_the_page_or_the_curves(folder: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    done = CliRunner().invoke(cli, ["report", str(folder)])
    assert done.output == f"Report: {folder / 'report.html'}\n"
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    done = CliRunner().invoke(cli, ["report", str(folder), "--curves", str(tmp_path / "c")])
    assert done.output == f"Curves: {tmp_path / 'c'} (5 files)\n"


def test_the_command_without_a_curve_says_why(folder: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    (folder / "events.jsonl").unlink()
    done = CliRunner().invoke(cli, ["report", str(folder), "--curves", str(tmp_path / "c")])
    assert "has no curve to draw. A curve needs a metric that a stage has logged at two steps" in str(
        done.exception
    )


def test_curves_of_a_stage_of_ones_own_are_its_metrics(tmp_path: Path) -> None:
    from click.testing import CliRunner

    run = write_run(tmp_path / "run", steps=4)
    (run / "events.jsonl").unlink()
    steps = [event(n, "stage_progress", stage="rl", step=n, total=3, metrics={"seen": n}) for n in (1, 2, 3)]
    write_lines(run / "events.jsonl", steps)
    CliRunner().invoke(cli, ["report", str(run), "--curves", str(tmp_path / "c")], catch_exceptions=False)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["rl-seen.svg"]


def test_a_folder_of_runs_is_not_a_run_and_names_one(folder: Path) -> None:
    with pytest.raises(UsageError, match=rf"It holds runs: name one of them, like {folder}"):
        read_run(folder.parent)


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium, and .ci/run installs it")
        pytest.skip("there is no Chromium")
    return [
        *(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path / 'profile'}",
    ]


def test_a_browser_shows_it(folder: Path, chromium: list[str]) -> None:
    (folder / "report.html").write_text(rendered(folder), encoding="utf-8")
    address = (folder / "report.html").as_uri()
    done = subprocess.run(
        [*chromium, "--dump-dom", "--enable-logging=stderr", address],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = Page(done.stdout)
    assert "model math greedy zero 0.000 zero 0.250" in shown.text
    assert shown.tags.count("svg") == 5
    assert "CONSOLE" not in done.stderr  # such as a breach of the page's own content policy


def test_every_group_of_a_chosen_step_is_on_the_page(folder: Path) -> None:
    shown = page(folder, [2, 3])
    assert "Rollouts of step 2 2 rollouts" in shown.text
    assert "Rollouts of step 3 2 rollouts" in shown.text
    assert "step 4: reward" not in shown.text
    with pytest.raises(UsageError, match=r"no stage has rollouts of step 9\. Stage 'zero' has 1 to 4"):
        rendered(folder, [9])


def test_groups_of_a_step_are_apart(folder: Path) -> None:
    log = folder / "stages/zero/rollouts.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text(
        "".join(json.dumps({**record, "group": place % 2}) + "\n" for place, record in enumerate(records))
    )
    shown = page(folder, [4])
    assert "Group 0 of step 4 1 rollout" in shown.text
    assert "Group 1 of step 4 1 rollout" in shown.text


def test_page_shows_hidden_characters_by_their_codes(folder: Path) -> None:
    log = folder / "stages/zero/rollouts.jsonl"
    log.write_text(log.read_text().replace("<i>4</i>", "a\\u202eb\\u0000\\ud800"))
    shown = page(folder).text
    for code in ("U+202E", "U+0000", "U+D800"):
        assert code in shown
    assert "\u202e" not in shown


def peak_of_rendering(folder: Path) -> int:
    """Return the peak of Python's memory in bytes while a run is read and its page is made."""
    index = indexed(folder)
    tracemalloc.start()
    read_run(folder)
    render_page(index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_of_a_report_does_not_grow_with_the_logs(folder: Path) -> None:
    page(folder)  # the templates are compiled once
    before = peak_of_rendering(folder)
    event = {"time": "2026-01-01T00:00:00.000+00:00", "event": "stage_progress", "stage": "zero", "total": 9}
    with (folder / "events.jsonl").open("a") as log:
        for step in range(5, 1_500):
            metrics = {"reward": 0.5, **{f"more-{place}": 1.0 for place in range(30)}}
            log.write(json.dumps({**event, "step": step, "metrics": metrics}) + "\n")
    record = json.loads((folder / "stages/zero/rollouts.jsonl").read_text().splitlines()[-1])
    with (folder / "stages/zero/rollouts.jsonl").open("a") as log:
        for step in range(5, 15):
            log.write(json.dumps({**record, "step": step, "completion": "a b " * 25_000}) + "\n")
    assert peak_of_rendering(folder) < before + 2**20  # the metrics alone would be 5 MiB
