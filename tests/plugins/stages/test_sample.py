"""Rejection sampling: what is kept and why the rest is dropped, resumed at any point, from any engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guerdon import Failure, Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import DataError, InfrastructureError, UsageError
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.sampling.prompting import Prompting
from guerdon_plugins.stages.sampling.sample import Sample

if TYPE_CHECKING:
    from tests.plugins.stages.conftest import Teacher

MakeContext = Callable[..., Any]


class Rubric:
    """``even`` passes texts of even length, ``digit`` those with a digit; ``taste`` judges the length, at a cost."""

    names = ("even", "digit", "taste")
    entries = ()

    def __init__(self) -> None:
        self.tasted: list[str] = []

    def score(
        self, rollouts: Sequence[Rollout], step: int = 0, *, names: Collection[str] | None = None
    ) -> list[Judgement]:
        return [self._judge(rollout, names or self.names) for rollout in rollouts]

    def _judge(self, rollout: Rollout, names: Collection[str]) -> Judgement:
        scores: dict[str, Score] = {}
        if "even" in names:
            scores["even"] = Score(float(len(rollout.text) % 2 == 0))
        if "digit" in names:
            skipped = rollout.columns["level"] == 2
            scores["digit"] = (
                Score.skipped() if skipped else Score(float(any(map(str.isdigit, rollout.text))))
            )
        if "taste" in names:
            self.tasted.append(rollout.text)
            scores["taste"] = Score(len(rollout.text) / 100)
        verdicts = {name: Verdict(score, 1.0, 0.0) for name, score in scores.items()}
        return Judgement(sum(score.value or 0.0 for score in scores.values()), verdicts)


def stage(**params: Any) -> Sample:
    given = {"keep": {"even": 1.0, "digit": 1.0}, "num_generations": 4, "max_completion_length": 60}
    return Sample(**{**given, "per_device_eval_batch_size": 5, **params})


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return list(islice(Arithmetic(levels=[2, 3]), 12))


def read(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()
    ]


def text_of(row: dict[str, Any]) -> str:
    completion = row["completion"]
    return str(completion if isinstance(completion, str) else completion[0]["content"])


def test_what_passes_is_kept_with_its_provenance_and_the_rest_is_counted(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]]
) -> None:
    rubric = Rubric()
    context, log = make_context(rows, [small_model], rubric)
    result = stage(second_filter={"taste": 0.1}).run(context)
    assert result.dataset == context.output
    kept = read(context.output)
    assert 0 < len(kept) == result.metrics["rows"] < 48

    for row in kept:
        text = text_of(row)
        assert len(text) % 2 == 0
        assert row["level"] == 2 or any(map(str.isdigit, text))
        assert len(text) >= 10
        origin = row["provenance"]
        assert (origin["stage"], origin["model"]) == ("stage", "small")
        assert set(origin["scores"]) == {"even", "digit", "taste"}
        source = rows[[r["prompt"] for r in rows].index(row["prompt"])]
        assert {name: row[name] for name in source} == source

    (_, records) = log.records[0]
    assert len(records) == 48, "every sample is logged"
    dropped = Counter(record["dropped"] or "kept" for record in records)
    table = {line["outcome"]: line["samples"] for line in result.metrics["tables"]["samples"]}
    assert table == dropped
    assert sum(line["share"] for line in result.metrics["tables"]["samples"]) == pytest.approx(1)
    assert set(dropped) > {"kept", "even below 1"}
    tasted = [record for record in records if record["dropped"] in (None, "taste below 0.1")]
    assert len(rubric.tasted) == len(tasted), "the second filter judges only what passes the first"


def test_no_prompt_keeps_a_text_twice_and_max_per_prompt_keeps_the_best(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]]
) -> None:
    context, _ = make_context(rows, [small_model], Rubric())
    stage(keep={"even": 1}, num_generations=16).run(context)
    everything = read(context.output)
    keys = [(str(row["prompt"]), text_of(row)) for row in everything]
    assert len(set(keys)) == len(keys)

    stage(keep={"even": 1}, num_generations=16, max_per_prompt=1).run(context)
    best = {str(row["prompt"]): row["provenance"]["reward"] for row in read(context.output)}
    for row in everything:
        assert row["provenance"]["reward"] <= best[str(row["prompt"])]
    assert len(best) == len(read(context.output))


@pytest.mark.parametrize("cut", [1, 7, 11])
def test_a_killed_harvest_goes_on_and_ends_the_same(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]], cut: int
) -> None:
    context, _ = make_context(rows, [small_model], Rubric())
    whole = stage().run(context)
    expected = read(context.output)
    log = context.work / "completions-00000.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:cut]) + lines[cut][:20])
    (context.output / "rows-00000.jsonl").unlink()
    again, _ = make_context(rows, [small_model], Rubric())
    assert stage().run(again) == whole
    assert read(context.output) == expected


def test_shards_are_one_data_set(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guerdon_plugins.stages.sampling.sample.SHARD_PROMPTS", 5)
    context, log = make_context(rows, [small_model], Rubric())
    result = stage().run(context)
    assert len(list(context.output.glob("rows-*.jsonl"))) == len(log.records) == 3
    assert len(read(context.output)) == result.metrics["rows"]
    assert [report[:2] for report in log.progress][-1] == (12, 12)


def test_a_score_that_failed_keeps_the_sample_out_by_its_own_name(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]]
) -> None:
    class Broken(Rubric):
        def _judge(self, rollout: Rollout, names: Collection[str]) -> Judgement:
            judgement = super()._judge(rollout, names)
            if rollout.columns["level"] == 3:
                failed = Verdict(Score.failed(Failure.INFRASTRUCTURE, "down"), 1.0, 0.0)
                return Judgement(None, {**judgement.verdicts, "digit": failed})
            return judgement

    context, _ = make_context(rows, [small_model], Broken())
    table = stage().run(context).metrics["tables"]["samples"]
    assert "digit failed: infrastructure" in {line["outcome"] for line in table}
    assert {row["level"] for row in read(context.output)} == {2}


def test_an_empty_harvest_says_why(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]]
) -> None:
    context, _ = make_context(rows, [small_model], Rubric())
    with pytest.raises(DataError, match=r"keeps none of its samples \(.*even below 2: \d+"):
        stage(keep={"even": 2.0}).run(context)


def test_names_that_the_rubric_lacks_are_told_before_anything_is_sampled(
    make_context: MakeContext, small_model: Model, rows: list[dict[str, Any]]
) -> None:
    context, _ = make_context(rows, [small_model], Rubric())
    with pytest.raises(UsageError, match="names maths, and the stage's rewards are even, digit, taste"):
        stage(keep={"maths": 1.0}).run(context)
    assert not list(context.work.iterdir())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_generations": 0}, "num_generations"),
        ({"max_per_prompt": 0}, "max_per_prompt"),
        ({"temperature": 0.0}, "temperature"),
        ({"keep": {"a": 1}, "second_filter": {"a": 1}}, "name it once"),
        ({"vllm": {}, "endpoint": {"base_url": "http://localhost", "model": "m"}}, "both given"),
        ({"endpoint": {"url": "http://localhost"}}, "it takes base_url"),
        ({"endpoint": {"base_url": "localhost", "model": "m"}}, "http://"),
        ({"examples": [{"prompt": "5"}]}, "example 0"),
    ],
)
def test_bad_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage(**params)


def test_the_prompt_is_put_in_other_words_for_the_model() -> None:
    examples = [{"prompt": "1?", "completion": "one"}]
    asked = Prompting("Translate: {prompt} ({language})", "Be brief.", examples)
    row = {"prompt": [{"role": "user", "content": "你好"}], "language": "zh"}
    assert asked(row, 0) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "Translate: 你好 (zh)"},
    ]
    assert Prompting("Q: {prompt}\nA:")({"prompt": "5"}, 0) == "Q: 5\nA:"
    with pytest.raises(DataError, match=r"row 3: KeyError: 'topic'.*Columns: prompt"):
        Prompting("{topic}")({"prompt": "5"}, 3)


def asking(teacher: Teacher, **endpoint: Any) -> Sample:
    options = {"base_url": teacher.url, "model": "teacher", "max_retries": 2, **endpoint}
    return stage(keep={}, system="You are wise.", num_generations=2, endpoint=options)


def test_a_teacher_behind_an_endpoint_answers_each_prompt(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher
) -> None:
    teacher.status_of = lambda _: 503 if teacher.asked <= 2 else 200
    context, log = make_context(rows, [], Rubric())
    result = asking(teacher).run(context)
    assert result.metrics["rows"] == len(teacher.requests) == 24
    for row in read(context.output):
        assert text_of(row).startswith(row["prompt"][0]["content"]), "each prompt has its own answer"
        assert row["provenance"]["model"] == "teacher"
        assert len(row["prompt"]) == 1, "the data set has the plain prompt"
    assert {request["messages"][0]["content"] for request in teacher.requests} == {"You are wise."}
    assert {record["completion_tokens"] for record in log.records[0][1]} == {7}


def test_a_teacher_that_goes_down_loses_nothing(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher
) -> None:
    whole, _ = make_context(rows, [], Rubric())
    asking(teacher).run(whole)
    expected = read(whole.output)
    for file in whole.work.iterdir():
        file.unlink()
    teacher.requests.clear()

    context, _ = make_context(rows, [], Rubric())
    teacher.status_of = lambda _: 200 if len(teacher.requests) < 9 else 503
    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1.* fails: 503 busy\..*run the same command"):
        asking(teacher, max_retries=0).run(context)
    assert len(teacher.requests) == 9
    teacher.status_of = lambda _: 200
    assert asking(teacher).run(context).metrics["rows"] == 24
    assert len(teacher.requests) == 24, "no answer is asked for twice, not even one that was under way"
    assert read(context.output) == expected


def test_what_a_teacher_refuses_is_dropped_and_counted_by_what_it_says(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guerdon_plugins.stages.sampling.sample.SHARD_PROMPTS", 11)
    refused = {
        rows[number]["prompt"][0]["content"] for number in (3, 11)
    }  # the second one has a shard for itself
    teacher.status_of = lambda prompt: 400 if prompt in refused else 200
    teacher.error = "Content Exists Risk (request 7af3-01)."
    context, log = make_context(rows, [], Rubric())
    result = asking(teacher).run(context)
    outcomes = {line["outcome"]: line["samples"] for line in result.metrics["tables"]["samples"]}
    assert outcomes == {"kept": 20, "refused: Content Exists Risk (request #": 4}
    dropped = [record for _, records in log.records for record in records if record["dropped"] is not None]
    assert {record["prompt"][0]["content"] for record in dropped} == refused
    asked = teacher.asked
    assert asking(teacher).run(context) == result
    assert teacher.asked == asked, "neither is what was refused asked for twice"


def test_a_teacher_that_refuses_everything_is_the_requests_fault_and_can_be_mended(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher
) -> None:
    teacher.status_of = lambda _: 400
    teacher.error = "max_tokens must be at most 8192"
    context, _ = make_context(rows, [], Rubric())
    with pytest.raises(
        UsageError, match=r"127\.0\.0\.1.* refuses each of 24 requests, .*at most 8192\. Correct"
    ):
        asking(teacher).run(context)
    teacher.status_of = lambda _: 200
    assert asking(teacher).run(context).metrics["rows"] == 24


def test_a_refused_key_is_the_users_to_mend(
    make_context: MakeContext, rows: list[dict[str, Any]], teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = make_context(rows, [], Rubric())
    with pytest.raises(UsageError, match="TEACHER_KEY, which api_key_env names, is not set"):
        asking(teacher, api_key_env="TEACHER_KEY").run(context)
    monkeypatch.setenv("TEACHER_KEY", "wrong")
    teacher.status_of = lambda _: 401
    with pytest.raises(UsageError, match="refuses the key in TEACHER_KEY"):
        asking(teacher, api_key_env="TEACHER_KEY").run(context)
