"""The index of a run: it grows with the run's files, is built again if lost or damaged, and answers filters."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.errors import UsageError
from guerdon.index import Filters, RunIndex, grow, grow_fully
from guerdon.index.groups import find_group, neighbours
from guerdon.index.histograms import reward_histogram
from guerdon.index.metrics import metric_curve, metric_names, run_events
from guerdon.index.paging import find
from guerdon.index.rows import find_line, read_records
from guerdon.index.summing import (
    entry_health,
    overview,
    prompt_history,
    rollout_curves,
)

FAILED = {"value": None, "outcome": "failed", "failure": "timeout", "weight": 1.0, "latency_ms": 900.0}


def scored(value: float, latency: float = 1.0) -> dict[str, Any]:
    return {"value": value, "outcome": "scored", "failure": None, "weight": 1.0, "latency_ms": latency}


def rollout(
    step: int, group: int, reward: float | None, text: str = "so four", **more: Any
) -> dict[str, Any]:
    scores = {"math": FAILED if reward is None else scored(reward), "format": scored(1.0)}
    record = {
        "step": step,
        "group": group,
        "advantage": 0.5,
        "prompt": f"What is {group}?",
        "completion": text,
    }
    columns = {"task": ("sums", "words")[group % 2]}
    return {
        **record,
        "columns": columns,
        "completion_tokens": len(text),
        "reward": reward,
        "scores": scores,
        **more,
    }


def log(run: Path, stage: str = "rl") -> Path:
    path = run / "stages" / stage / "rollouts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write(run: Path, records: list[dict[str, Any]], stage: str = "rl", mode: str = "a") -> None:
    with log(run, stage).open(mode, encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def progress(step: int, **metrics: float) -> dict[str, Any]:
    event = {"time": f"2026-01-01T00:00:{step:02}.000+00:00", "event": "stage_progress", "stage": "rl"}
    return {**event, "step": step, "total": 9, "metrics": metrics}


def write_events(run: Path, events: list[dict[str, Any]], mode: str = "a") -> None:
    with (run / "events.jsonl").open(mode, encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


STEPS = [rollout(step, group, (step + group) % 3 / 2) for step in (1, 2, 3) for group in (0, 1, 2, 2)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, STEPS)
    return folder


@pytest.fixture
def index(run: Path, tmp_path: Path) -> RunIndex:
    made = RunIndex(run, tmp_path / "index")
    grow_fully(made)
    return made


def lines(index: RunIndex, **filters: Any) -> list[int]:
    return [row.line for row in find(index, Filters(**filters)).rows]


def test_index_leaves_the_run_as_it_is(index: RunIndex, run: Path) -> None:
    assert sorted(path.name for path in run.rglob("*") if path.is_file()) == ["rollouts.jsonl"]
    assert [json.loads(line) for line in log(run).read_text().splitlines()] == STEPS


def test_index_is_private_to_its_user(index: RunIndex) -> None:
    assert index.path.stat().st_mode & 0o777 == 0o600


def test_grow_reads_only_complete_new_lines(index: RunIndex, run: Path) -> None:
    with log(run).open("a") as file:
        file.write(json.dumps(rollout(4, 0, 1.0)))
    assert not grow(index).changed
    assert overview(index).rollouts == {"rl": 12}
    with log(run).open("a") as file:
        file.write("\n")
    assert grow(index).changed
    assert overview(index).rollouts == {"rl": 13}
    assert overview(index).steps == {"rl": (1, 4)}


def test_grow_of_a_resumed_stage_forgets_dropped_lines(index: RunIndex, run: Path) -> None:
    write(run, [*STEPS[:8], rollout(3, 0, 0.25, "another try"), *STEPS[9:]], mode="w")
    grow_fully(index)
    assert find(index, Filters(text="another try")).total == 1
    assert overview(index).rollouts == {"rl": 12}
    histogram = reward_histogram(index, "rl")
    assert histogram is not None
    assert sum(sum(column) for column in histogram.counts) == 12


def test_grow_of_a_stage_that_began_again_forgets_it(index: RunIndex, run: Path) -> None:
    log(run).unlink()
    grow_fully(index)
    assert overview(index).rollouts == {}
    write(run, [rollout(1, 0, 1.0, "fresh")])
    grow_fully(index)
    assert lines(index) == [1]
    assert lines(index, text="four") == []


@pytest.mark.parametrize("damage", [b"not a database", b""])
def test_damaged_index_is_built_again(index: RunIndex, damage: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{index.path}{suffix}").unlink(missing_ok=True)
    index.path.write_bytes(damage)
    assert find(index, Filters()).rows == []
    grow_fully(index)
    assert len(find(index, Filters()).rows) == 12


def test_index_with_damaged_pages_is_built_again(index: RunIndex) -> None:
    content = bytearray(index.path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    index.path.write_bytes(bytes(content))
    grow_fully(index)
    find(index, Filters())
    grow_fully(index)
    assert len(find(index, Filters()).rows) == 12


def test_index_of_another_version_is_built_again(index: RunIndex) -> None:
    index.write(lambda db: db.execute("pragma user_version = 999"))
    grow_fully(index)
    assert len(find(index, Filters()).rows) == 12


def test_lines_that_are_not_rollouts_are_counted(index: RunIndex, run: Path) -> None:
    with log(run).open("a") as file:
        file.write(
            '[]\n{"step": "x"}\n{"step": 1, "completion": 5}\n{"step": 1e3}\n\n{"step":1,"scores":[1]}\n'
        )
    grow_fully(index)
    assert overview(index).unreadable == 6
    assert overview(index).rollouts == {"rl": 12}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"stage": "other"}, []),
        ({"step_min": 2, "step_max": 2}, [5, 6, 7, 8]),
        ({"group": 1}, [2, 6, 10]),
        ({"task": "words"}, [2, 6, 10]),
        ({"prompt_text": "is 1"}, [2, 6, 10]),
        ({"reward_min": 1.0}, [2, 5, 11, 12]),
        ({"unscored": True}, [13]),
        ({"outcome": "failed"}, [13]),
        ({"entry": "math", "failure": "timeout"}, [13]),
        ({"entry": "format", "failure": "timeout"}, []),
        ({"entry": "math", "failure": "verifier"}, []),
        ({"entry": "math", "value_min": 1.0}, [2, 5, 11, 12]),
        ({"entry": "none", "outcome": "scored"}, []),
        ({"text": "乘以七"}, [13]),
        ({"text": "<answer>13"}, [13]),
        ({"text": "tool said"}, [13]),
        ({"text": '" or 1'}, []),
        ({"length_min": 8}, [13]),
    ],
)
def test_filters_let_through(
    index: RunIndex, run: Path, filters: dict[str, Any], expected: list[int]
) -> None:
    turns = [
        {"role": "assistant", "content": "六乘以七 <answer>13</answer>"},
        {"role": "tool", "content": "the tool said so"},
    ]
    write(run, [rollout(4, 4, None, completion=turns, completion_tokens=30)])
    grow_fully(index)
    assert lines(index, **filters) == expected
    assert find(index, Filters(**filters)).total == len(expected)


REWARDS = st.none() | st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-9, 9)
TEXTS = ("so four", "so five", "then four is the answer")


@settings(max_examples=60, deadline=None)
@given(
    drawn=st.lists(st.tuples(REWARDS, st.sampled_from(TEXTS), st.integers(0, 1)), min_size=1, max_size=120),
    sort=st.sampled_from(["line", "reward", "length", "value"]),
    descending=st.booleans(),
    text=st.sampled_from(["", "four", "absent"]),
    task=st.sampled_from(["", "sums"]),
)
def test_pages_have_every_chosen_rollout_once_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[float | None, str, int]],
    sort: str,
    descending: bool,
    text: str,
    task: str,
) -> None:
    folder = tmp_path_factory.mktemp("run")
    write(folder, [rollout(1, group, reward, words) for reward, words, group in drawn])
    index = RunIndex(folder, folder / "index")
    grow_fully(index)
    filters = Filters(text=text, task=task, sort=sort, descending=descending, entry="math", size=7)
    pages = [find(index, filters)]
    while pages[-1].after:
        pages.append(find(index, replace(filters, after=pages[-1].after)))

    sign = -1 if descending else 1
    expected: list[tuple[bool, float, int]] = []
    for line, (reward, words, group) in enumerate(drawn, start=1):
        if text in words and (not task or group == 0):
            keys = {"line": line, "length": len(words)}
            key = keys.get(sort, reward)
            expected.append((key is None, 0.0 if key is None else sign * key, sign * line))
    found = [row.line for page in pages for row in page.rows]
    assert {page.total for page in pages} == {len(found)}
    assert found == [sign * line for _, _, line in sorted(expected)]
    for earlier, later in pairwise(pages):
        back = find(index, replace(filters, before=later.before))
        assert [row.id for row in back.rows] == [row.id for row in earlier.rows]


@pytest.mark.parametrize(
    "query",
    [
        {"step_min": "x"},
        {"reward_min": "nan"},
        {"reward_max": "1e999"},
        {"sort": "id; drop table rollouts"},
        {"outcome": "maybe"},
        {"failure": "x"},
        {"prompt": "zz"},
        {"after": "1"},
        {"size": "1000000"},
        {"group": "9" * 30},
    ],
)
def test_filters_of_a_wrong_query_are_a_usage_error(query: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(query)).replace("after", "cursor")):
        Filters.of(query)


def test_filters_and_their_query_are_the_same() -> None:
    from urllib.parse import parse_qsl

    filters = Filters(stage="a&b", step_min=0, reward_min=-0.5, unscored=True, text="é<", sort="reward")
    assert Filters.of(dict(parse_qsl(filters.query()))) == filters
    assert Filters().query() == ""


def test_groups_have_neighbours_and_records(index: RunIndex) -> None:
    group = find_group(index, "rl", 2, 2, "")
    assert [row.line for row in group] == [7, 8]
    assert neighbours(index, "rl", 2, 2).before == (2, 1)
    assert neighbours(index, "rl", 2, 2).after == (3, 0)
    assert neighbours(index, "rl", 1, 0).before is None
    assert [record["completion"] for record in read_records(index, group)] == ["so four"] * 2
    found = find_line(index, "rl", 7)
    assert found is not None
    assert found.digest == group[0].digest
    assert find_line(index, "rl", 99) is None


def test_record_of_a_file_that_changed_is_empty(index: RunIndex, run: Path) -> None:
    rows = find(index, Filters()).rows
    log(run).write_text("short\n")
    assert read_records(index, rows[5:6]) == [{}]


def test_sums_over_the_rollouts(index: RunIndex, run: Path) -> None:
    write(run, [rollout(4, 0, None)])
    grow_fully(index)
    health = {one.entry: one for one in entry_health(index)}
    assert health["math"].outcomes == {"scored": 12, "failed: timeout": 1}
    assert health["math"].failed == 1
    assert health["math"].slowest_ms == pytest.approx(900, rel=0.1)
    assert health["format"].mean == 1.0
    assert dict(rollout_curves(index, "rl", "reward")["reward"])[1] == pytest.approx((0.5 + 1.0 + 0 + 0) / 4)
    by_task = rollout_curves(index, "rl", "math", by_task=True)
    assert set(by_task) == {"sums", "words"}
    assert by_task["words"] == [(1, 1.0), (2, 0.0), (3, 0.5)]
    digest = find(index, Filters(group=2)).rows[0].digest
    text, attempts = prompt_history(index, digest)
    assert text == "What is 2?"
    assert [(one.step, one.count, one.mean) for one in attempts] == [(1, 2, 0.0), (2, 2, 0.5), (3, 2, 1.0)]


@pytest.mark.parametrize("rewards", [(-1.7e308, 0.0, 1.7e308), (1e308, 1e308, 1e308), (0.0, 0.5, 1.0)])
def test_histogram_has_every_reward_between_its_edges(tmp_path: Path, rewards: tuple[float, ...]) -> None:
    write(tmp_path, [rollout(1, 0, reward) for reward in rewards])
    index = RunIndex(tmp_path, tmp_path / "index")
    grow_fully(index)
    histogram = reward_histogram(index, "rl")
    assert histogram is not None
    (column,) = histogram.counts
    assert sum(column) == 3
    assert histogram.edges[0] == min(rewards)
    assert column[0] == rewards.count(min(rewards))


def test_metrics_and_events_are_indexed(index: RunIndex, run: Path) -> None:
    start = {
        "time": "2026-01-01T00:00:00.000+00:00",
        "event": "stage_started",
        "stage": "rl",
        "resumed": False,
    }
    write_events(run, [start, progress(1, loss=1.0), progress(2, loss=0.5, bad=float("nan"))])
    grow_fully(index)
    assert metric_names(index) == {"rl": ["loss"]}
    assert metric_curve(index, "rl", "loss") == [(1, 1.0), (2, 0.5)]
    assert run_events(index).seconds == {"rl": 2.0}
    write_events(run, [start, progress(1, loss=1.0), progress(2, loss=0.75)], mode="w")
    grow_fully(index)
    assert metric_curve(index, "rl", "loss") == [(1, 1.0), (2, 0.75)]


def test_index_in_a_folder_that_cannot_be_written_says_so(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="XDG_CACHE_HOME"):
        RunIndex(run, tmp_path / "file" / "index")
