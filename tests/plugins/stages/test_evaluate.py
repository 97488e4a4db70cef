"""Evaluation: the table says what the logged rollouts say, and a killed evaluation does no round twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from math import fsum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guerdon import Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import DataError, UsageError
from guerdon.models import load_tokenizer
from guerdon.text import self_corrections
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.sampling.evaluate import Evaluate
from guerdon_plugins.stages.sampling.measures import majority_value
from guerdon_plugins.verifiers.math import MathVerifier

SAMPLES = 3


class First:
    """Tells that 1 and 2 are the same answer, of those that it judges alike."""

    def same_answer(self, first: str, second: str) -> bool:
        return {first, second} == {"1", "2"}


def _member(name: str, *, of: object) -> Any:
    return getattr(of, name, None)


class Rubric:
    """Judges by the first character and by the length; the latter skips what is short."""

    names = ("first", "length")
    entries = tuple(
        SimpleNamespace(
            name=name, within=None, component=SimpleNamespace(kind="verifier", build=build, member=_member)
        )
        for name, build in (("first", First), ("length", object))
    )

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> list[Judgement]:
        judgements = []
        for rollout in rollouts:
            answer = next((c for c in rollout.text if c.isdigit()), None)
            first = Score(float(answer == rollout.columns["reference"][0]), answer=answer)
            length = Score(len(rollout.text) / 100) if len(rollout.text) > 10 else Score.skipped("too short")
            scores = {"first": first, "length": length}
            judgements.append(
                Judgement(0.0, {name: Verdict(score, 1.0, 0.0) for name, score in scores.items()})
            )
        return judgements


def stage(**params: Any) -> Evaluate:
    return Evaluate(num_generations=SAMPLES, max_completion_length=24, per_device_eval_batch_size=5, **params)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return list(islice(Arithmetic(), 12))


def mean(values: Sequence[float | None]) -> float:
    judged = [value for value in values if value is not None]
    return fsum(judged) / len(judged)


def test_the_table_says_what_the_rollouts_say(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]]
) -> None:
    other = replace(small_model, name="other")
    context, log = make_context(rows, [small_model, other], Rubric())
    metrics = stage().run(context).metrics
    (first, second) = metrics["tables"]["evaluation"]
    assert {**second, "model": "small"} == first, "the same model, prompts and seed"

    step, records = log.records[0]
    assert step == 1
    assert {record["model"] for record in records} == {"small"}
    greedy = [record for record in records if record["greedy"]]
    sampled = [record for record in records if not record["greedy"]]
    assert (len(greedy), len(sampled)) == (12, 12 * SAMPLES)
    assert len({str(record["completion"]) for record in sampled}) > 12, "samples differ"

    def values(chosen: Sequence[Any], name: str) -> list[float | None]:
        return [record["scores"][name]["value"] for record in chosen]

    votes = []
    for group in range(12):
        members = [record["scores"]["first"] for record in sampled if record["group"] == group]
        right = rows[group]["reference"][0]
        answers = [score["answer"] for score in members if score["answer"] is not None]
        if right not in ("1", "2"):
            answers = ["1" if answer == "2" else answer for answer in answers]
        winner = Counter(answers).most_common(1)[0][0] if answers else None
        votes.append(float(winner == right))
    (difference,) = metrics["tables"]["differences"]
    assert difference.pop("pair") == "other - small"
    assert {value for name, value in difference.items() if not name.endswith("_p")} == {0.0}
    assert {value for name, value in difference.items() if name.endswith("_p")} == {1.0}
    assert metrics["prompts"] == 12
    solved = [
        any(r["scores"]["first"]["value"] == 1 for r in sampled if r["group"] == group) for group in range(12)
    ]
    measured = {name: value for name, value in first.items() if not name.endswith(("_low", "_high"))}
    assert {
        f"{name}{end}" for name in measured for end in ("_low", "_high") if name != "model"
    } < first.keys()
    assert measured == {
        "model": "small",
        "first_pass@3": mean([float(one) for one in solved]),
        "length_pass@3": 0.0,
        "first_greedy": mean(values(greedy, "first")),
        "first_mean@3": mean(values(sampled, "first")),
        "first_maj@3": mean(votes),
        "length_greedy": mean(values(greedy, "length")),
        "length_mean@3": mean(values(sampled, "length")),
        "completion_tokens": mean([record["completion_tokens"] for record in sampled]),
        "self_corrections": 0.0,
    }
    assert [report[0] for report in log.progress][-1] == log.progress[-1][1] == 2 * 2 * 12


@pytest.mark.parametrize(
    ("answers", "reference", "majority"),
    [
        (["3", "3", r"\frac{1}{2}", "0.5", r"\dfrac12", "1/2"], r"\frac12", 1.0),
        (["3", "0.5", "6/2", "1/2", "3.0"], r"\frac12", 0.0),
        (["B. 12", "C", "(B)", "C. 13", r"\text{B}"], "B", 1.0),
        (["12 + 30", "12 + 30", "42"], "42", 0.0),
        (["?!", "?!", "42"], "42", 0.0),
        ([None, None, "42"], "42", 1.0),
        ([None, None], "42", 0.0),
        (["7", "42"], "42", 0.0),
    ],
)
def test_a_majority_is_of_answers_and_not_of_spellings(
    answers: list[str | None], reference: str, majority: float
) -> None:
    math = MathVerifier()
    scores = [math("?" if answer is None else f"\\boxed{{{answer}}}", reference) for answer in answers]
    group = [Judgement(score.value, {"math": Verdict(score, 1.0, 0.0)}) for score in scores]
    assert majority_value(group, "math", math.same_answer) == majority


def test_finished_batches_of_a_killed_try_are_kept(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model = replace(small_model, path=str(tmp_path / "model"))
    shutil.copytree(small_model.path, model.path)
    context, _ = make_context(rows, [model], Rubric())
    whole = stage().run(context)
    log_file = context.work / "0-1.jsonl"
    log_file.write_text(log_file.read_text()[:-10], encoding="utf-8")
    context, _ = make_context(rows, [model], Rubric())
    assert stage().run(context) == whole
    shutil.rmtree(model.path)
    assert stage().run(context) == whole


def test_a_sweep_evaluates_each_model_with_each_budget_of_thinking(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]]
) -> None:
    other = replace(small_model, name="other")
    budgets = [{"max_tokens": 3}, {"max_tokens": 9, "waits": 1, "wait": " wait,"}]
    context, log = make_context(rows, [small_model, other], Rubric())
    metrics = stage(thinking=budgets, against="other, thinks 3").run(context).metrics
    labels = ["small, thinks 3", "small, thinks 9, waits 1", "other, thinks 3", "other, thinks 9, waits 1"]
    assert [row["model"] for row in metrics["tables"]["evaluation"]] == labels
    assert [row["pair"] for row in metrics["tables"]["differences"]] == [
        f"{label} - other, thinks 3" for label in (labels[0], labels[1], labels[3])
    ]
    assert [report[0] for report in log.progress][-1] == log.progress[-1][1] == 4 * 2 * 12
    (end,) = load_tokenizer(small_model).encode("</think>", add_special_tokens=False)
    for number, budget in enumerate([3, 9, 3, 9]):
        lines = [
            line
            for turn in (0, 1)
            for line in (context.work / f"{number}-{turn}.jsonl").read_text().splitlines()
        ]
        made = [json.loads(line)["completion"]["ids"] for line in lines]
        assert len(made) == 12 * (1 + SAMPLES)
        assert all(ids.index(end) <= budget for ids in made if end in ids)
        assert any(ids[budget:][:1] == [end] and len(ids) > budget + 1 for ids in made), (
            "cut, and then an answer"
        )


def test_a_killed_sweep_resumes(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model = replace(small_model, path=str(tmp_path / "model"))
    shutil.copytree(small_model.path, model.path)
    swept = stage(thinking=[{"max_tokens": 3}, {"max_tokens": 9}])
    context, _ = make_context(rows, [model], Rubric())
    whole = swept.run(context)
    log_file = context.work / "1-1.jsonl"
    log_file.write_text(log_file.read_text()[:-10], encoding="utf-8")
    context, _ = make_context(rows, [model], Rubric())
    assert swept.run(context) == whole
    shutil.rmtree(model.path)
    assert swept.run(context) == whole


def test_budgets_that_cannot_be_are_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="thinking is an empty list"):
        stage(thinking=[])
    with pytest.raises(UsageError, match="thinking is set, and the stage has the tools add"):
        stage(thinking={"max_tokens": 3}).preflight(rows, [], ["first"], tools=["add"])


@pytest.mark.parametrize("plain", [True, False])
def test_prompts_are_texts_or_conversations(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]], plain: bool
) -> None:
    if plain:
        rows = [{**row, "prompt": row["prompt"][0]["content"]} for row in rows]
    context, log = make_context(rows, [small_model], Rubric())
    stage().run(context)
    assert isinstance(log.records[0][1][0]["completion"], str if plain else list)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12 plus 9 is 11. wait, 12 plus 9 is 21.", 1),
        ("12加9得11。等等，12加9得21。", 1),
        ("Wait. Let me verify this, and double-check.", 3),
        ("The waiter awaits you.", 0),
        ("不对，重新计算。", 2),
    ],
)
def test_self_correction_words(text: str, count: int) -> None:
    assert self_corrections(text) == count


def test_rows_without_prompts_are_refused(make_context: Callable[..., Any], small_model: Model) -> None:
    context, _ = make_context([{"prompt": "5"}, {"question": "17"}], [small_model], Rubric())
    with pytest.raises(DataError, match="row 1 of the data of stage 'stage' has no 'prompt', only question"):
        stage().run(context)


def test_no_model_is_an_error(make_context: Callable[..., Any], rows: list[dict[str, Any]]) -> None:
    context, _ = make_context(rows, [], Rubric())
    with pytest.raises(UsageError, match="no model to evaluate"):
        stage().run(context)


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.0},
        {"num_generations": 0},
        {"max_completion_length": 0},
        {"k": 5},
        {"k": [0, 1]},
    ],
)
def test_bad_params_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        Evaluate(**params)


def test_a_prompt_too_long_for_the_model_is_left_out_and_counted(
    make_context: Callable[..., Any], small_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    rows = list(islice(Arithmetic("problems"), 3))
    long = {**rows[1], "prompt": [{"role": "user", "content": "1 + " * 3000}]}
    context, log = make_context([rows[0], long, rows[2]], [small_model], Rubric())
    result = stage().run(context)
    (line,) = result.metrics["tables"]["evaluation"]
    assert line["refused_prompts"] == 1
    assert "row 1 is dropped: the prompt has" in caplog.text
    judged = [r for _, records in log.records for r in records if r["scores"]]
    assert len(judged) == 2 * (SAMPLES + 1)


def test_best_and_votes_by_an_entry_and_groups_by_a_column_are_in_the_tables(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]]
) -> None:
    rows = [{**row, "task": "even" if number % 2 == 0 else "odd"} for number, row in enumerate(rows)]
    context, _ = make_context(rows, [small_model], Rubric())
    params = {"k": [1, 3], "best_by": ["length", "reward"], "vote_by": "length", "metrics_by": "task"}
    tables = stage(**params).run(context).metrics["tables"]
    (row,) = tables["evaluation"]
    assert {"first_best@1_by_length", "first_best@3_by_reward", "first_maj@3_by_length"} <= row.keys()
    assert row["first_pass@1"] == pytest.approx(row["first_mean@3"])
    assert row["first_best@3_by_reward"] == pytest.approx(row["first_mean@3"]), "all rewards are equal"
    assert [(one["group"], one["prompts"]) for one in tables["by_task"]] == [
        ("task=even", 6),
        ("task=odd", 6),
    ]
    assert "differences" not in tables


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"best_by": "stile"}, "best_by names 'stile', and the stage's rewards are first, length"),
        ({"vote_by": ["first", "x"]}, "vote_by names 'x'"),
        ({"against": "bas"}, "against names 'bas', and the stage's models are small"),
    ],
)
def test_names_that_are_not_there_are_refused_before_a_model_is_loaded(
    small_model: Model, params: dict[str, Any], words: str
) -> None:
    rows = [{"prompt": "5"}]
    with pytest.raises(UsageError, match=words):
        stage(**params).preflight(rows, [small_model], ["first", "length"])


def test_two_models_of_one_name_have_a_row_each(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]]
) -> None:
    context, _ = make_context(rows[:2], [small_model, small_model], Rubric())
    tables = stage(against="small #2").run(context).metrics["tables"]
    assert [row["model"] for row in tables["evaluation"]] == ["small", "small #2"]
    assert [row["pair"] for row in tables["differences"]] == ["small - small #2"]


def test_a_column_to_group_by_that_is_not_there_is_refused(small_model: Model) -> None:
    with pytest.raises(DataError, match="metrics_by names the column 'tusk'"):
        stage(metrics_by="tusk").preflight([{"prompt": "5", "task": "a"}], [small_model], ["first"])
