"""SFT by TRL's trainer: its options from the manifest, rows in TRL's forms, and a kill that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon import Model
from guerdon.errors import DataError, ParamsError, StageFailedError, UsageError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import check_params
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.trl.sft import Sft


def check(**params: Any) -> dict[str, Any]:
    return check_params(Component(find_plugin("sft", [Kind.STAGE]), Kind.STAGE, params), Sft)


def test_params_are_trl_s_options() -> None:
    assert check(learning_rate=1e-3, packing=True) == {"learning_rate": 1e-3, "packing": True}
    with pytest.raises(ParamsError, match="Did you mean 'learning_rate'"):
        check(learning_rat=1e-3)
    with pytest.raises(ParamsError, match="the run's folder decides it"):
        check(output_dir="elsewhere")


def test_a_model_learns_the_completions(make_context: Callable[..., Any], small_model: Model) -> None:
    rows = list(islice(Arithmetic("solutions", levels=[2]), 64))
    context, log = make_context(rows, [small_model])
    stage = Sft(
        max_steps=12, per_device_train_batch_size=16, learning_rate=3e-3, lr_scheduler_type="constant"
    )
    result = stage.run(context)
    losses = [metrics["loss"] for _, _, metrics in log.progress if "loss" in metrics]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert result.metrics["steps"] == 12
    assert result.metrics["rows"] == 64
    assert AutoModelForCausalLM.from_pretrained(str(result.checkpoint)).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(result.checkpoint).chat_template


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "5", "reference": "17"}], "only prompt, reference. SFT needs"),
        ([{"prompt": "5", "completion": "17"}, {"text": "5"}], "row 1 .* has another form than row 0"),
        ([{"text": "5"}, {"text": None}], "row 1"),
    ],
)
def test_rows_of_no_form_are_refused(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]], message: str
) -> None:
    context, _ = make_context(rows, [small_model])
    with pytest.raises(DataError, match=message):
        Sft(max_steps=1).run(context)


@pytest.mark.parametrize("end", ["2", "{{ eos_token }}"])
def test_a_template_that_ends_no_reply_is_refused(
    make_context: Callable[..., Any], small_model: Model, end: str
) -> None:
    chat = [{"role": "user", "content": "5"}, {"role": "assistant", "content": "17"}]
    context, _ = make_context([{"messages": chat}], [small_model])
    stage = Sft(max_steps=1, chat_template="{% for m in messages %}{{ m.content }}" + end + "{% endfor %}")
    if "eos" in end:
        assert stage.run(context).checkpoint
    else:
        with pytest.raises(UsageError, match=r"the model would never stop after a reply. Set 'eos_token'"):
            stage.run(context)


def test_a_chat_template_is_not_a_file() -> None:
    with pytest.raises(ParamsError, match=r"'chat\.jinja': this is not a Jinja template"):
        check(chat_template="chat.jinja")


def test_a_killed_training_ends_as_an_unbroken_one(
    run_killed_and_whole: Callable[..., tuple[Path, Path]], small_model: Model
) -> None:
    killed, whole = run_killed_and_whole("sft", small_model.path)
    ours, theirs = (load_file(folder / "output" / "model.safetensors") for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    assert json.loads((killed / "metrics.json").read_text()) == json.loads(
        (whole / "metrics.json").read_text()
    )


def test_rows_longer_than_max_length_are_counted_and_named(
    make_context: Callable[..., Any], small_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"text": "1 + 1"}] * 3 + [{"text": "2 + 2 = 4, " * 30}, {"text": "3"}, {"text": "5 + 5, " * 40}]
    context, _ = make_context(rows, [small_model])
    result = Sft(max_steps=1, per_device_train_batch_size=2, max_length=16).run(context)
    assert result.metrics["rows"] == 6
    assert result.metrics["cut_rows"] == 2
    assert result.metrics["left_out_rows"] == 0
    assert "2 of 6 rows (train) are longer than max_length, 16 tokens" in caplog.text
    assert "numbers 3, 5" in caplog.text


def test_a_prompt_that_fills_max_length_leaves_its_row_out(
    make_context: Callable[..., Any], small_model: Model
) -> None:
    rows = [{"prompt": "1 + 1", "completion": "2"}] * 4 + [{"prompt": "1 + " * 40, "completion": "2"}]
    context, _ = make_context(rows, [small_model])
    result = Sft(max_steps=1, per_device_train_batch_size=2, max_length=16).run(context)
    assert (result.metrics["cut_rows"], result.metrics["left_out_rows"]) == (1, 1)


def test_a_loss_that_is_not_finite_ends_the_stage(
    make_context: Callable[..., Any], small_model: Model
) -> None:
    context, _ = make_context([{"text": "1 + 1"}] * 8, [small_model])
    stage = Sft(max_steps=5, per_device_train_batch_size=2, learning_rate=1e30, max_grad_norm=0.0)
    with pytest.raises(StageFailedError, match="the loss is not finite at step"):
        stage.run(context)
