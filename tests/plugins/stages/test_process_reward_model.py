"""Process reward models: what is learned of labelled steps, what is held out, which rows are refused, and ``prm``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure, Model
from guerdon.errors import DataError, ParamsError, UsageError
from guerdon.models import load_process_reward_model
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import check_params
from guerdon_plugins.rewards.prm import ProcessReward
from guerdon_plugins.rewards.prm.reward import aggregated
from guerdon_plugins.shared.steps import steps_of, tokens_of_steps
from guerdon_plugins.stages.trl.process_reward_model import ProcessRewardModel

SHORT: dict[str, Any] = {"max_steps": 12, "per_device_train_batch_size": 16, "learning_rate": 5e-3}


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """A step is good if it adds, and bad if it guesses."""
    rng = Random(seed)
    found = []
    for _ in range(count):
        labels = [rng.random() < 0.5 for _ in range(rng.randint(1, 3))]
        steps = [f"add {rng.randint(0, 99)}" if good else f"guess {rng.randint(0, 99)}" for good in labels]
        found.append({"prompt": f"sum {rng.randint(0, 10**6)}", "completions": steps, "labels": labels})
    return found


def in_chat(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "prompt": [{"role": "user", "content": row["prompt"]}]}


@pytest.mark.parametrize("form", [dict, in_chat], ids=["text", "conversation"])
def test_process_reward_model_learns_steps_and_prm_scores_them(
    make_context: Callable[..., Any], small_model: Model, form: Callable[..., Any]
) -> None:
    context, log = make_context([form(row) for row in rows(120)], [small_model])
    result = ProcessRewardModel(**SHORT, heldout_rows=0.2).run(context)
    assert result.metrics["steps"] == 12
    assert result.metrics["heldout_steps"] > 10
    assert result.metrics["heldout_accuracy"] > 0.9 > result.metrics["heldout_majority"]
    assert [step for step, _, _ in log.progress][-1] == 12

    prompt = form(rows(1)[0])["prompt"]
    text = "add 3\n\n  guess 4 \n\nadd 5"
    score, empty, long = ProcessReward(str(result.checkpoint))(
        [prompt] * 3, [text, " \n\n", "add 1\n\n" * 2000]
    )
    assert [text[span.start : span.end] for span in score.spans] == ["add 3", "guess 4", "add 5"]
    first, second, third = (span.value for span in score.spans)
    assert first > 0.5 > second
    assert third > 0.5
    assert score.value == pytest.approx(second)
    assert (empty.value, empty.spans) == (0.0, ())
    assert long.failure is Failure.VERIFIER
    assert "Raise max_length" in long.explanation


def test_prm_values_do_not_depend_on_the_batch(make_context: Callable[..., Any], small_model: Model) -> None:
    context, _ = make_context(rows(20), [small_model])
    checkpoint = str(ProcessRewardModel(**SHORT | {"max_steps": 1}).run(context).checkpoint)
    texts = ["add 1", "add 1\n\nguess 2\n\nadd 12345", "guess"]
    together = ProcessReward(checkpoint)(["sum"] * 3, texts)
    alone = [ProcessReward(checkpoint, batch_size=1)(["sum"], [text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert [span.value for span in one.spans] == pytest.approx(
            [span.value for span in other.spans], abs=1e-5
        )

    model: Any = load_process_reward_model(Model("m", checkpoint))
    from guerdon.models import load_tokenizer

    tokens = tokens_of_steps(load_tokenizer(Model("m", checkpoint)), "sum", ["add 1"], "\n\n")
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokens.ids])).logits[0, tokens.ends[0]]
    assert together[0].value == pytest.approx(float(logits.float().softmax(-1)[1]), abs=1e-5)


def test_a_model_without_a_head_for_steps_scores_nothing(small_model: Model) -> None:
    with pytest.raises(UsageError, match="classifies no tokens"):
        ProcessReward(small_model.path).preflight()
    with pytest.raises(UsageError, match="is not a process reward model: it has no weights for score"):
        load_process_reward_model(small_model)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "labels": [True]}, "row 0 .* has no 'completions', only prompt, labels"),
        ({"prompt": "p", "completions": "a", "labels": [True]}, "'completions' of row 0 is 'a'"),
        ({"prompt": "p", "completions": [], "labels": []}, "'completions' of row 0 is \\[\\]"),
        ({"prompt": "p", "completions": ["a", ""], "labels": [1, 0]}, "'completions' of row 0"),
        ({"prompt": "p", "completions": ["a"], "labels": [2]}, "'labels' of row 0 is \\[2\\]"),
        ({"prompt": "p", "completions": ["a"], "labels": [None]}, "'labels' of row 0"),
        ({"prompt": "p", "completions": ["a", "b"], "labels": [1]}, "row 0 has 2 steps and 1 labels"),
    ],
)
def test_rows_of_another_form_are_refused_before_training(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ProcessRewardModel().preflight([row], [])


def test_rows_that_are_too_long_are_counted_and_none_left_is_an_error(
    make_context: Callable[..., Any], small_model: Model
) -> None:
    long = {"prompt": "sum", "completions": ["add 1 " * 40], "labels": [True]}
    context, _ = make_context([*rows(20), long], [small_model])
    result = ProcessRewardModel(**SHORT | {"max_steps": 1}, max_length=100, heldout_rows=0).run(context)
    assert (result.metrics["too_long_rows"], result.metrics["rows"]) == (1, 20)
    with pytest.raises(DataError, match="21 are longer than max_length, 2 tokens"):
        ProcessRewardModel(**SHORT, max_length=2).run(context)


def test_params_are_trl_s_options_without_those_of_pairs() -> None:
    def check(**params: Any) -> dict[str, Any]:
        found = find_plugin("process_reward_model", [Kind.STAGE])
        return check_params(Component(found, Kind.STAGE, params), ProcessRewardModel)

    assert check(learning_rate=1e-4, heldout_rows=0.2)
    with pytest.raises(ParamsError, match="unknown param 'center_rewards_coefficient'"):
        check(center_rewards_coefficient=0.01)
    for wrong in ({"heldout_rows": 1}, {"separator": ""}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ProcessRewardModel(**wrong)


@pytest.mark.parametrize("params", [{"separator": ""}, {"batch_size": 0}, {"max_length": 0}])
def test_prm_refuses_params_out_of_range(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        ProcessReward("m", **params)


@given(st.text(alphabet="ab \n", max_size=40), st.sampled_from(["\n", "\n\n", "ab"]))
def test_steps_are_the_text_between_separators_in_order(text: str, separator: str) -> None:
    places = steps_of(text, separator)
    steps = [text[start:end] for start, end in places]
    assert steps == [step.strip() for step in text.split(separator) if step.strip()]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))


def test_aggregates_of_steps() -> None:
    values = [0.9, 0.5, 0.8]
    assert [aggregated(values, how) for how in ("min", "last", "mean", "product")] == [
        0.5,
        0.8,
        pytest.approx(2.2 / 3),
        pytest.approx(0.36),
    ]
