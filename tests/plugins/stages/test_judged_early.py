"""Completions are judged while others are generated: the same rows, records and tables, and no case judged twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guerdon import Model
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.sampling.evaluate import Evaluate
from guerdon_plugins.stages.sampling.sample import Sample

if TYPE_CHECKING:
    from tests.plugins.stages.conftest import Teacher

MakeContext = Callable[..., Any]

MODULE = """
from pathlib import Path

from guerdon import Score

LOG = Path(__file__).with_name("asked.txt")


def tell(name, what):
    with open(LOG, "a") as file:
        file.write(f"{name} {what!r}\\n")


def even(completion):
    tell("even", completion)
    if len(completion) % 7 == 0:
        raise ConnectionError("down")
    return Score(float(len(completion) % 2 == 0), answer=completion[:1], usage={"requests": 1})


async def taste(completion):
    tell("taste", completion)
    return Score(min(1.0, len(completion) / 100), usage={"tokens": len(completion)})


def longest(completions):
    tell("longest", completions)
    return [float(len(one) == max(map(len, completions))) for one in completions]


longest.guerdon_kind = "group_reward"


def batch(completions, **kwargs):
    return [1.0 / len(completions) for _ in completions]
"""


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return list(islice(Arithmetic(levels=[2, 3]), 12))


Judged = tuple[Any, Any, Any, Counter[str]]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Judged]:
    """Runs a stage with a real rubric, with early calls or without, and gives all that it leaves."""
    (tmp_path / "judges.py").write_text(MODULE)

    def run(
        stage: Any, make_context: MakeContext, given: tuple[Any, ...], names: list[str], *, early: bool
    ) -> Judged:
        def entry(name: str) -> Entry:
            plugin = find_plugin(f"judges.py:{name}", SCORERS, tmp_path)
            return Entry(name, load_component(plugin, {}, tmp_path), retries=1)

        with monkeypatch.context() as patch, Rubric([entry(name) for name in names], workers=1) as rubric:
            if not early:
                patch.setattr(Rubric, "early_names", frozenset())
            context, log = make_context(*given, rubric)
            result = stage.run(context)
        for file in context.work.iterdir():
            file.unlink()
        lines = Counter((tmp_path / "asked.txt").read_text().splitlines())
        (tmp_path / "asked.txt").unlink()
        data = {file.name: file.read_text() for file in context.output.glob("*.jsonl")}
        return result.metrics, _without_times(log.records), data, lines

    return run


def _without_times(records: Any) -> Any:
    text = json.dumps(records, default=repr)

    def untimed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if not name.endswith("latency_ms")}

    return json.loads(text, object_pairs_hook=untimed)


RUBRICS = [["even", "taste"], ["even", "longest"], ["batch", "even"]]


@pytest.mark.parametrize("names", RUBRICS, ids="-".join)
def test_sample_is_the_same(
    make_context: MakeContext,
    rows: list[dict[str, Any]],
    teacher: Teacher,
    judged: Callable[..., Judged],
    names: list[str],
) -> None:
    endpoint = {"base_url": teacher.url, "model": "teacher", "concurrency": 3}
    last = names[-1] if names[0] == "even" else "batch"
    stage = Sample({"even": 1.0}, {last: 0.0}, num_generations=3, endpoint=endpoint)
    teacher.status_of = lambda prompt: 400 if prompt == rows[3]["prompt"][0]["content"] else 200
    early = judged(stage, make_context, (rows, []), names, early=True)
    assert early == judged(stage, make_context, (rows, []), names, early=False)
    assert early[0]["rows"] > 0


@pytest.mark.parametrize("names", RUBRICS, ids="-".join)
def test_evaluate_is_the_same(
    make_context: MakeContext,
    rows: list[dict[str, Any]],
    small_model: Model,
    judged: Callable[..., Judged],
    names: list[str],
) -> None:
    stage = Evaluate(num_generations=3, max_completion_length=24, per_device_eval_batch_size=5)
    given = (rows, [small_model, small_model])
    early = judged(stage, make_context, given, names, early=True)
    assert early == judged(stage, make_context, given, names, early=False)


def test_completions_are_judged_before_the_last_request_is_answered(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher, tmp_path: Path
) -> None:
    (tmp_path / "judges.py").write_text(MODULE)
    log = tmp_path / "asked.txt"
    known: list[int] = []
    there = threading.Event()

    def status(prompt: str) -> int:
        if prompt == rows[-1]["prompt"][0]["content"]:
            for _ in range(1000):  # the last one is answered when the others are judged
                known[:] = [len(log.read_text().splitlines()) if log.exists() else 0]
                if known[0] >= 21 or there.wait(0.01):
                    break
        return 200

    teacher.status_of = status
    plugin = find_plugin("judges.py:taste", SCORERS, tmp_path)
    with Rubric([Entry("taste", load_component(plugin, {}, tmp_path))], workers=1) as rubric:
        context, _ = make_context(rows, [], rubric)
        endpoint = {"base_url": teacher.url, "model": "teacher", "concurrency": 1}
        stage = Sample({}, num_generations=2, endpoint=endpoint)
        thread = threading.Thread(target=stage.run, args=(context,))
        thread.start()
        thread.join(60)
    assert known[0] >= 21
    assert len(log.read_text().splitlines()) == 24


def test_resumed_attempt_judges_what_the_logs_have(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher, judged: Callable[..., Judged]
) -> None:
    endpoint = {"base_url": teacher.url, "model": "teacher", "max_retries": 0}
    stage = Sample({"even": 1.0}, num_generations=2, endpoint=endpoint)
    whole = judged(stage, make_context, (rows, []), ["even", "taste"], early=True)
    teacher.requests.clear()
    teacher.status_of = lambda _: 200 if len(teacher.requests) < 9 else 503
    with pytest.raises(Exception, match="503"):
        judged(stage, make_context, (rows, []), ["even", "taste"], early=True)
    teacher.status_of = lambda _: 200
    (Path(make_context(rows)[0].work).parent / "asked.txt").unlink(missing_ok=True)
    assert judged(stage, make_context, (rows, []), ["even", "taste"], early=True) == whole
