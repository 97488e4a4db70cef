"""The grpo stage: what a manifest's author meets."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon import Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import DataError, ParamsError, StageFailedError, UsageError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, Plugin
from guerdon.plugins.params import find_problems
from guerdon.plugins.signatures import valid_params
from guerdon.training.evaluation import measured
from guerdon.types import Judgements
from guerdon_plugins.stages.trl.distill import Distill
from guerdon_plugins.stages.trl.grpo import Grpo

MakeContext = Callable[..., tuple[Any, Any]]
ROWS: list[dict[str, Any]] = [
    {"prompt": [{"role": "user", "content": f"{n} + {n}"}], "reference": str(2 * n)} for n in range(8)
]
SHORT: dict[str, Any] = {
    "max_steps": 2,
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 8,
    "learning_rate": 1e-3,
}


class Digits:
    """Rewards digits, without worker processes."""

    names = ("digits",)

    def weights(self, step: int) -> dict[str, float]:
        return {"digits": 2.0}

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        verdicts = [Verdict(Score(sum(map(str.isdigit, r.text)) / 8), 2.0, 0.1) for r in rollouts]
        return Judgements(Judgement.of({"digits": verdict}) for verdict in verdicts)


def weights_of(folder: Any) -> dict[str, Any]:
    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


@pytest.mark.parametrize("peft", [None, {"r": 2, "target_modules": "all-linear"}], ids=["full", "lora"])
def test_a_model_is_trained_and_saved_with_its_tokenizer(
    make_context: MakeContext, small_model: Model, peft: dict[str, Any] | None
) -> None:
    context, log = make_context(ROWS, [small_model], Digits())
    result = Grpo(**SHORT, peft=peft).run(context)

    trained, start = weights_of(result.checkpoint), weights_of(small_model.path)
    assert trained.keys() == start.keys()
    assert any((trained[name] != start[name]).any() for name in trained)
    assert AutoTokenizer.from_pretrained(result.checkpoint).chat_template
    assert result.metrics["steps"] == 2
    assert [step for step, _ in log.records] == [1, 2]
    records = log.records[0][1]
    assert [record["group"] for record in records] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert all(record["reward"] == 2 * record["scores"]["digits"]["value"] for record in records)
    assert log.progress[0] == (0, 2, {})
    assert log.progress[-1][:2] == (2, 2)


def test_trls_options_are_params_and_those_of_the_run_are_refused_with_a_reason() -> None:
    plugin = Plugin(Kind.STAGE, "grpo", "guerdon", "0", "guerdon_plugins.stages.trl.grpo:Grpo")
    good = Component(
        plugin, Kind.STAGE, {**SHORT, "epsilon_high": 0.3, "scale_rewards": False, "use_vllm": True}
    )
    assert find_problems(good, Grpo)[1] == []
    assert {"report_to", "loss_type", "peft", "share_prefix"} <= valid_params(Kind.STAGE, Grpo).keys()

    for name, word in (
        ("seed", "manifest's 'seed'"),
        ("reward_weights", "'weight'"),
        ("output_dir", "folder"),
    ):
        (problem,) = find_problems(Component(plugin, Kind.STAGE, {name: 1}), Grpo)[1]
        assert word in problem.message
    (problem,) = find_problems(Component(plugin, Kind.STAGE, {"epsilon_hihg": 0.3}), Grpo)[1]
    assert "Did you mean 'epsilon_high'?" in problem.message


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"num_generations": 3}, ParamsError, "divisible by num_generations"),
        ({"save_steps": 0.1}, ParamsError, "save_steps"),
        ({"per_device_train_batch_size": 64}, DataError, "8 prompts"),
        ({"peft": {"rank": 2}}, UsageError, "peft"),
        ({"loss_type": "pdao"}, Exception, "pdao"),
    ],
)
def test_params_that_cannot_work_are_errors(
    make_context: MakeContext, small_model: Model, params: dict[str, Any], error: type[Exception], words: str
) -> None:
    context, _ = make_context(ROWS, [small_model], Digits())
    with pytest.raises(error, match=words):
        Grpo(**{**SHORT, **params}).run(context)


def test_conversations_need_a_chat_template(
    make_context: MakeContext, small_model: Model, tmp_path: Any
) -> None:
    bare = tmp_path / "bare"
    AutoModelForCausalLM.from_pretrained(small_model.path).save_pretrained(bare)
    tokenizer = AutoTokenizer.from_pretrained(small_model.path)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(bare)
    context, _ = make_context(ROWS, [replace(small_model, path=str(bare))], Digits())
    with pytest.raises(UsageError, match="chat_template"):
        Grpo(**SHORT).run(context)
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert Grpo(**SHORT, chat_template=template).run(context).checkpoint


@pytest.mark.parametrize("rows", [[{"question": "?"}], [*ROWS, {"prompt": "text"}]])
def test_rows_that_do_not_fit_are_named(make_context: MakeContext, small_model: Model, rows: Any) -> None:
    context, _ = make_context(rows, [small_model], Digits())
    with pytest.raises(DataError, match="row"):
        Grpo(**SHORT).run(context)


def test_importing_the_stage_imports_no_torch() -> None:
    heavy = "{'torch', 'trl', 'transformers'}"
    check = f"import sys, guerdon_plugins.stages.trl.grpo; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_reference_is_the_revision_that_was_asked_for(
    make_context: MakeContext, small_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two revisions in a cache of the hub's layout; ``main`` is another model than the policy."""
    cache = tmp_path / "hub" / "models--org--tiny"
    commits = {"v1": "a" * 40, "main": "b" * 40}
    (cache / "refs").mkdir(parents=True)
    for name, commit in commits.items():
        shutil.copytree(small_model.path, cache / "snapshots" / commit)
        (cache / "refs" / name).write_text(commit)
    other = AutoModelForCausalLM.from_pretrained(cache / "snapshots" / commits["main"])
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    other.save_pretrained(cache / "snapshots" / commits["main"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loads = []
    original = AutoModelForCausalLM.from_pretrained

    def from_cache(path: str, **options: Any) -> Any:
        loads.append((path, options["revision"], options.get("attn_implementation")))
        return original(path, cache_dir=str(tmp_path / "hub"), local_files_only=True, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_cache)
    tokenizer = AutoTokenizer.from_pretrained(small_model.path, padding_side="left")
    monkeypatch.setattr("guerdon_plugins.stages.trl.grpo.load_tokenizer", lambda *_, **__: tokenizer)
    context, log = make_context(ROWS, [Model("tiny", "org/tiny")], Digits())
    options = {"revision": "v1", "attn_implementation": "eager"}
    Grpo(**SHORT, beta=0.1, model_init_kwargs=options).run(context)
    assert loads == [("org/tiny", "v1", "eager")] * 2  # the policy, the reference
    kl = next(metrics["kl"] for _, _, metrics in log.progress if "kl" in metrics)
    assert kl == pytest.approx(0.0, abs=1e-6)


def test_an_empty_prompt_is_an_error_that_names_its_row(
    make_context: MakeContext, small_model: Model
) -> None:
    context, _ = make_context([*ROWS[:3], {"prompt": [], "reference": "1"}], [small_model], Digits())
    with pytest.raises(DataError, match="row 3 of the training data has an empty prompt"):
        Grpo(**SHORT).run(context)


def test_a_prompt_that_fills_the_model_is_an_error_that_shows_it(
    make_context: MakeContext, small_model: Model
) -> None:
    rows = [{"prompt": [{"role": "user", "content": "12345 " * 2000}], "reference": "1"}] * 8
    context, _ = make_context(rows, [small_model], Digits())
    with pytest.raises(DataError, match=r"12345 12345.* positions for it and its completion"):
        Grpo(**SHORT).run(context)


@pytest.mark.parametrize("fast", [True, False])
def test_completions_end_where_the_model_has_no_position_left(
    make_context: MakeContext, small_model: Model, caplog: pytest.LogCaptureFixture, fast: bool
) -> None:
    context, log = make_context(ROWS, [small_model], Digits())
    options = {**SHORT, "max_completion_length": 64, "model_init_kwargs": {"max_position_embeddings": 24}}
    Grpo(**options, fast_rollouts=fast).run(context)
    assert "not at max_completion_length 64: the model has 24 positions" in caplog.text
    assert max(record["completion_tokens"] for _, records in log.records for record in records) < 24


@pytest.mark.parametrize("fast", [True, False])
def test_a_learning_rate_that_breaks_the_weights_is_one_clear_error(
    make_context: MakeContext, small_model: Model, fast: bool
) -> None:
    context, _ = make_context(ROWS, [small_model], Digits())
    with pytest.raises(StageFailedError, match="the loss is not finite at step 2"):
        Grpo(**{**SHORT, "learning_rate": 1e30}, fast_rollouts=fast).run(context)


def test_continuous_batching_samples_and_trains(make_context: MakeContext, small_model: Model) -> None:
    context, _ = make_context(ROWS, [small_model], Digits())
    options = {**SHORT, "max_steps": 1, "use_transformers_continuous_batching": True}
    options["transformers_continuous_batching_config"] = {
        "num_blocks": 16,
        "max_batch_tokens": 512,
    }  # else half the RAM
    assert Grpo(**options).run(context).metrics["steps"] == 1


def test_preflight_synced_reference_with_adapters_is_refused() -> None:
    options: dict[str, Any] = {"sync_ref_model": True, "beta": 0.1, "per_device_train_batch_size": 8}
    Grpo(**options).preflight(ROWS, True, [])
    with pytest.raises(ParamsError, match="sync_ref_model is true, and peft is set"):
        Grpo(peft={"r": 4}, **options).preflight(ROWS, True, [])


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({"max_rounds": 0}, "a number of at least 1"),
        ({"max_round": 3}, "max_rounds"),
        ({}, "at least 1 item"),
        (4, "give a mapping"),
        ({"max_rounds": 1.5}, "give a whole number"),
    ],
)
def test_dynamic_sampling_with_a_wrong_value_is_a_problem(value: Any, word: str) -> None:
    plugin = Plugin(Kind.STAGE, "grpo", "guerdon", "0", "guerdon_plugins.stages.trl.grpo:Grpo")
    (problem,) = find_problems(Component(plugin, Kind.STAGE, {"dynamic_sampling": value}), Grpo)[1]
    assert word in problem.message


def test_dynamic_sampling_with_tools_is_refused_before_the_run() -> None:
    with pytest.raises(ParamsError, match="dynamic_sampling is set, and the stage has tools"):
        Grpo(**SHORT, dynamic_sampling={"max_rounds": 2}).preflight(ROWS, 8, [], ["python"])


def test_dynamic_sampling_without_fresh_prompts_is_refused_before_the_run() -> None:
    stage = Grpo(**SHORT, dynamic_sampling={"max_rounds": 2})
    stage.preflight(ROWS, 8, [])
    with pytest.raises(DataError, match="dynamic_sampling has no fresh prompts: there are 2"):
        stage.preflight(ROWS[:2], 2, [])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_steps": -1}, "streaming is true, and max_steps is not set"),
        ({"dynamic_sampling": {"max_rounds": 2}}, "dynamic_sampling is set, and streaming is true"),
    ],
)
def test_check_and_run_refuse_a_stream_that_cannot_be(
    make_context: MakeContext, small_model: Model, options: dict[str, Any], reason: str
) -> None:
    stage = Grpo(**{**SHORT, **options}, streaming=True)
    with pytest.raises(ParamsError, match=reason):
        stage.preflight(ROWS, 8, [])
    context, _ = make_context(ROWS, [small_model])
    with pytest.raises(ParamsError, match=reason):
        stage.run(context)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_steps": -1}, "curriculum_by is set, and max_steps is not"),
        ({"streaming": True}, "curriculum_by is set together with streaming"),
        ({"dynamic_sampling": {"max_rounds": 2}}, "curriculum_by is set together with dynamic_sampling"),
        ({"shuffle_dataset": False}, "curriculum_by is set together with shuffle_dataset: false"),
        ({"dataloader_num_workers": 1}, "curriculum_by is set together with dataloader_num_workers"),
    ],
)
def test_check_and_run_refuse_a_curriculum_that_cannot_be(
    make_context: MakeContext, small_model: Model, options: dict[str, Any], reason: str
) -> None:
    stage = Grpo(**{**SHORT, **options}, curriculum_by="reference")
    with pytest.raises(ParamsError, match=reason):
        stage.preflight(ROWS, 8, [])
    context, _ = make_context(ROWS, [small_model])
    with pytest.raises(ParamsError, match=reason):
        stage.run(context)


def test_check_and_run_refuse_a_curriculum_by_a_column_that_no_row_has(
    make_context: MakeContext, small_model: Model
) -> None:
    stage = Grpo(**SHORT, curriculum_by="hardness")
    with pytest.raises(DataError, match="curriculum_by names the column 'hardness', which no row has"):
        stage.preflight(ROWS, 8, [])
    context, _ = make_context(ROWS, [small_model])
    with pytest.raises(DataError, match="curriculum_by names the column 'hardness', which no row has"):
        stage.run(context)


def test_metrics_by_the_prompt_name_the_prompts(make_context: MakeContext, small_model: Model) -> None:
    rows = [{**row, "prompt": row["prompt"][0]["content"]} for row in ROWS[:2]]
    context, log = make_context(rows, [small_model], Digits())
    Grpo(**SHORT, metrics_by="prompt").run(context)
    names = {name for _, _, metrics in log.progress for name in metrics if name.startswith("prompt=")}
    assert {f"prompt={row['prompt']}/reward" for row in rows} <= names
    assert not any("None" in name for name in names)
    judged = [(Rollout("1 + 1", "2", {}), Judgement(1.0, {}))]
    assert measured(judged, ["prompt"])["prompt=1 + 1/reward"] == 1.0


@pytest.mark.parametrize(("stage", "init"), [(Grpo, ["policy"]), (Distill, ["student", "teacher"])])
def test_batches_that_one_process_sends_to_the_others_are_refused(stage: Any, init: list[str]) -> None:
    with pytest.raises(ParamsError, match="accelerator_config has dispatch_batches: true"):
        stage(accelerator_config={"dispatch_batches": True}).preflight(ROWS, 8, [], init=init)


def test_each_prompt_may_be_a_bucket_of_a_curriculum(make_context: MakeContext, small_model: Model) -> None:
    context, log = make_context(ROWS, [small_model], Digits())
    Grpo(**SHORT, curriculum_by="prompt").run(context)
    shares = [
        value
        for name, value in log.progress[-1][2].items()
        if name.startswith("curriculum/") and name.endswith("/drawn")
    ]
    assert len(shares) == len(ROWS)
    assert sum(shares) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"fused_loss": False}, "fused_loss is false"),
        ({"optim": "adalomo"}, "the optimizer adalomo updates the weights in each backward pass"),
    ],
)
def test_preflight_refuses_a_token_budget_that_cannot_be_kept(options: dict[str, Any], reason: str) -> None:
    stage = Grpo(**SHORT, max_tokens_per_micro_batch=64, **options)
    with pytest.raises((ParamsError, UsageError), match=reason):
        stage.preflight(ROWS, 8, [])
