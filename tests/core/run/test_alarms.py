"""The alarms: none on a stationary training, always one on a policy that exploits its reward."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.hookspecs import Alarm, RunInfo, hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.rubric import Entry
from guerdon.run.alarms import Watch
from guerdon.run.events import Events
from guerdon.run.execution import execute
from guerdon.run.log import RunLog, read_events
from guerdon.run.progress import StageProgress

Metrics = dict[str, float]


def training(
    random: Random, steps: int, ends: Mapping[str, tuple[float, float]], noise: float = 0.1
) -> list[Metrics]:
    """Return the metrics of a training, each of which moves from one mean to another, with noise."""
    return [
        {
            name: start + (end - start) * step / (steps - 1) + random.gauss(0, noise * max(start, end))
            for name, (start, end) in ends.items()
        }
        for step in range(steps)
    ]


def alarms_of(steps: list[Metrics]) -> list[Alarm]:
    watch = Watch(["math"], ["judge"])
    return [alarm for number, metrics in enumerate(steps, 1) for alarm in watch.see(number, metrics)]


STEADY = {
    "reward": (0.5, 0.5),
    "rewards/judge/mean": (0.6, 0.6),
    "rewards/math/failure_rate": (0.1, 0.1),
    "completions/mean_length": (40.0, 40.0),
    "entropy": (0.5, 0.5),
}


@st.composite
def stationary(draw: st.DrawFn) -> list[Metrics]:
    """Return a training whose metrics have one distribution at all steps, and resemble the step before."""
    random = Random(draw(st.integers(0, 2**32)))
    correlation = draw(st.sampled_from([0.0, 0.3, 0.6]))
    noise = draw(st.sampled_from([0.01, 0.1, 0.5, 1.0]))
    shape = draw(st.sampled_from(["normal", "two values", "rare", "heavy"]))
    innovation = math.sqrt(1 - correlation**2)
    state = {name: random.gauss(0, 1) for name in STEADY}

    def value(name: str, mean: float) -> float:
        state[name] = correlation * state[name] + innovation * random.gauss(0, 1)
        if shape == "normal":
            return mean * (1 + noise * state[name])
        if shape == "heavy":
            return mean * math.exp(noise * state[name])
        return mean if state[name] > (0.0 if shape == "two values" else 1.6) else 0.0

    steps = [{name: value(name, mean) for name, (mean, _) in STEADY.items()} for _ in range(120)]
    if draw(st.booleans()):  # what the policy gains at one entry by chance, it loses at the other
        steps = [{**metrics, "rewards/judge/mean": 1 - metrics["reward"]} for metrics in steps]
    return steps


@settings(max_examples=30, derandomize=True)
@given(stationary())
def test_watch_of_a_stationary_training_raises_no_alarm(steps: list[Metrics]) -> None:
    assert alarms_of(steps) == []


@settings(max_examples=20, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.05, 0.1]))
def test_watch_of_a_reward_that_rises_while_a_held_out_verifier_falls_raises_one_alarm(
    seed: int, noise: float
) -> None:
    ends = {**STEADY, "reward": (0.5, 0.9), "rewards/judge/mean": (0.7, 0.2)}
    (alarm,) = alarms_of(training(Random(seed), 150, ends, noise))
    assert (alarm.kind, alarm.metric) == ("held_out_falls", "rewards/judge/mean")
    assert alarm.now < alarm.before
    assert "'judge', which has weight 0, falls" in alarm.message


def test_watch_of_a_held_out_verifier_that_first_rises_raises_the_alarm_after_the_peak() -> None:
    random = Random(0)
    up = training(random, 100, {"reward": (0.3, 0.6), "rewards/judge/mean": (0.3, 0.7)})
    down = training(random, 150, {"reward": (0.6, 0.9), "rewards/judge/mean": (0.7, 0.35)})
    (alarm,) = alarms_of([*up, *down])
    assert alarm.step > 100
    assert alarm.before > 0.5


@pytest.mark.parametrize(
    "ends",
    [
        {"reward": (0.5, 0.9), "rewards/judge/mean": (0.4, 0.8)},
        {"reward": (0.9, 0.4), "rewards/judge/mean": (0.8, 0.3)},
        {"reward": (0.5, 0.5), "rewards/judge/mean": (0.8, 0.3)},
        {"reward": (0.5, 0.9), "rewards/trained/mean": (0.8, 0.3)},
        {"reward": (0.5, 0.9), "completions/mean_length": (40.0, 60.0), "entropy": (0.6, 0.25)},
        {"rewards/math/failure_rate": (0.5, 0.1)},
        {"completions/max_length": (40.0, 400.0)},
    ],
)
def test_watch_of_what_may_change_raises_no_alarm(ends: Mapping[str, tuple[float, float]]) -> None:
    assert alarms_of(training(Random(1), 150, ends, 0.05)) == []


@pytest.mark.parametrize(
    ("metric", "ends", "kind", "verb"),
    [
        ("completions/mean_length", (40.0, 120.0), "length", "rises from"),
        ("completions/mean_length", (120.0, 30.0), "length", "falls from"),
        ("entropy", (0.5, 0.05), "entropy", "falls from"),
        ("entropy", (0.2, 1.6), "entropy", "rises from"),
        ("rewards/math/failure_rate", (0.02, 0.3), "failure_rate", "'math' rises from"),
    ],
)
def test_watch_of_a_drift_raises_one_alarm(
    metric: str, ends: tuple[float, float], kind: str, verb: str
) -> None:
    (alarm,) = alarms_of(training(Random(2), 150, {**STEADY, metric: ends}, 0.05))
    assert (alarm.kind, alarm.metric) == (kind, metric)
    assert verb in alarm.message


def evaluated(mean: float, count: int = 120) -> Metrics:
    name = "evaluation/rewards/judge"
    return {f"{name}/mean": mean, f"{name}/std": math.sqrt(mean * (1 - mean)), f"{name}/count": count}


def with_evaluations(means: list[float], reward: tuple[float, float], count: int = 120) -> list[Alarm]:
    """Return the alarms of a training of 20 steps for each evaluation after the first one."""
    watch, found = Watch(["math"], []), []
    steps = training(Random(3), 20 * (len(means) - 1), {"reward": reward})
    for number, mean in enumerate(means):
        for step in range(20 * number - 19, 20 * number + 1) if number else ():
            found += watch.see(step, steps[step - 1])
        found += watch.see(20 * number, evaluated(mean, count))
    return found


def test_watch_of_an_evaluation_that_falls_while_the_reward_rises_raises_one_alarm() -> None:
    (alarm,) = with_evaluations([0.69, 0.66, 0.55, 0.42, 0.33, 0.29], (0.5, 0.9))
    assert (alarm.kind, alarm.metric) == ("held_out_falls", "evaluation/rewards/judge/mean")
    assert "'judge' of the evaluation falls" in alarm.message


@pytest.mark.parametrize(
    ("means", "reward", "count"),
    [
        ([0.69, 0.66, 0.72, 0.7, 0.68, 0.71], (0.5, 0.9), 120),
        ([0.69, 0.66, 0.55, 0.42, 0.33, 0.29], (0.5, 0.5), 120),
        ([1.0, 1.0, 0.75, 0.5, 0.25, 0.0], (0.5, 0.9), 4),
    ],
)
def test_watch_of_an_evaluation_that_says_too_little_raises_no_alarm(
    means: list[float], reward: tuple[float, float], count: int
) -> None:
    assert with_evaluations(means, reward, count) == []


@settings(max_examples=15, derandomize=True)
@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
def test_watch_of_evaluations_of_one_policy_beside_a_rising_reward_raises_no_alarm(
    seed: int, rate: float
) -> None:
    random = Random(seed)
    means = [sum(random.random() < rate for _ in range(120)) / 120 for _ in range(16)]
    assert with_evaluations(means, (0.2, 0.9)) == []


def test_watch_of_the_miniature_whose_policy_games_its_reward_model_raises_one_alarm() -> None:
    """The last stage of r1-mini with seed 3, before its reward model knew requests that a reply misses."""
    lines = (Path(__file__).parent / "gamed_r1_mini.jsonl").read_text().splitlines()
    watch = Watch(["math", "format", "language", "preference"], ["polite", "to_the_point"])
    found = [alarm for line in map(json.loads, lines) for alarm in watch.see(line["step"], line["metrics"])]
    assert [alarm.metric for alarm in found] == ["evaluation/rewards/to_the_point/mean"]
    assert "'preference' rises" in found[0].message
    assert "'to_the_point' of the evaluation falls (0.75 to 0.55)" in found[0].message


def test_watch_leaves_out_values_that_are_not_finite_and_steps_that_are_not_later() -> None:
    watch = Watch(["math"], ["judge"])
    steps = training(Random(4), 100, STEADY)
    for number, metrics in enumerate(steps, 1):
        assert watch.see(number, metrics) == []
        assert watch.see(number, {"entropy": math.nan, "reward": math.inf}) == []
        assert watch.see(1, {"entropy": 1e9}) == []


class Heard:
    def __init__(self) -> None:
        self.alarms: list[tuple[str, Alarm]] = []

    @hookimpl
    def alarm_raised(self, stage_id: str, alarm: Alarm) -> None:
        self.alarms.append((stage_id, alarm))


def report_of(run: RunInfo, log: RunLog, heard: Heard) -> StageProgress:
    component = load_component(find_plugin("math", [Kind.VERIFIER]), {}, None)
    entries = [Entry("math", component), Entry("judge", component, weight=0.0)]
    return StageProgress(run, "rl", entries, Events([heard], log))


def test_progress_of_a_resumed_stage_raises_the_alarms_of_an_uninterrupted_one(tmp_path: Path) -> None:
    ends = {**STEADY, "reward": (0.5, 0.9), "rewards/judge/mean": (0.7, 0.2), "entropy": (0.5, 0.01)}
    steps = training(Random(5), 150, ends)

    def events(folder: Path, stops: tuple[int, ...]) -> list[dict[str, Any]]:
        folder.mkdir()
        run, heard, first = RunInfo("x", folder, {}, ["rl"]), Heard(), 0
        for stop, saved in ((*stops, first), (len(steps), None)) if stops else ((len(steps), None),):
            start = first
            report = report_of(run, RunLog(), heard)
            report(start, 150, {})
            for step in range(start + 1, stop + 1):
                report(step, 150, steps[step - 1])
            first = stop - 7 if saved is not None else stop  # the newest checkpoint is 7 steps old
        lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "time"} for line in lines]

    whole = events(tmp_path / "whole", ())
    found = [line for line in whole if line["event"] == "alarm_raised"]
    assert {line["kind"] for line in found} == {"held_out_falls", "entropy"}
    for alarm in found:
        for stop in (alarm["step"] - 1, alarm["step"], alarm["step"] + 3, alarm["step"] + 20):
            folder = tmp_path / f"{alarm['kind']}-{stop}"
            assert events(folder, (stop,)) == whole
    logged = read_events(tmp_path / "whole" / "events.jsonl").alarms
    assert [alarm.metric for alarm in logged["rl"]] == [line["metric"] for line in found]


def test_progress_after_a_kill_between_a_step_and_its_alarm_raises_the_alarm(tmp_path: Path) -> None:
    steps = training(Random(6), 150, {**STEADY, "entropy": (0.5, 0.01)})
    run, heard = RunInfo("x", tmp_path, {}, ["rl"]), Heard()
    report = report_of(run, RunLog(), heard)
    report(0, 150, {})
    for step, metrics in enumerate(steps, 1):
        report(step, 150, metrics)
    ((_, alarm),) = heard.alarms
    path = tmp_path / "events.jsonl"
    kept = [line for line in path.read_text().splitlines() if "alarm_raised" not in line]
    path.write_text("".join(f"{line}\n" for line in kept[: alarm.step]))
    again = Heard()
    report_of(run, RunLog(), again)(alarm.step, 150, {})
    assert again.alarms == [("rl", alarm)]


STAGE = """
from guerdon import StageResult

def train(context):
    for step in range(1, 61):
        context.progress(step, 60, {"reward": 0.5 + step / 200, "rewards/other/mean": 0.9 - step / 100})
    return StageResult()

def rows(): return [{"prompt": "p"}]
def paid(completion): return 1.0
"""


@pytest.mark.parametrize(("weight", "count"), [(0.0, 1), (0.5, 0)])
def test_run_tells_hooks_and_its_log_of_an_alarm(tmp_path: Path, weight: float, count: int) -> None:
    (tmp_path / "m.py").write_text(STAGE)
    (tmp_path / "m.yaml").write_text(
        "name: x\nstages:\n- {id: rl, use: './m.py:train', init: none, data: [{use: './m.py:rows'}], "
        f"rewards: [{{use: './m.py:paid'}}, {{use: './m.py:paid', name: other, weight: {weight}}}]}}\n"
    )
    heard = Heard()
    execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / "run", [heard])
    assert len(heard.alarms) == count
    logged = read_events(tmp_path / "run" / "events.jsonl").alarms
    assert [("rl", alarm) for alarm in logged.get("rl", [])] == heard.alarms
