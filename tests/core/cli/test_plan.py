"""``guerdon plan``: the memory of a manifest's stages, and what a stranger mistypes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Qwen3Config

MANIFEST = """
name: planned
model: ./model
stages:
  - id: cold
    use: sft
    data: [{use: files, params: {path: rows.jsonl}}]
    params: {per_device_train_batch_size: 4, max_length: 64}
  - id: zero
    init: 'stage:cold'
    use: grpo
    data: [{use: arithmetic, limit: 64}]
    rewards: [{use: math}]
    params: {per_device_train_batch_size: 8, max_completion_length: 64}
  - {id: joined, init: [base, 'stage:zero'], use: merge}
"""


def save_config(folder: Path, width: int, dtype: str | None = None) -> None:
    Qwen3Config(
        vocab_size=3000,
        hidden_size=width,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        dtype=dtype,
    ).save_pretrained(folder)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    save_config(tmp_path / "model", 64)
    file = tmp_path / "m.yaml"
    file.write_text(MANIFEST)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return file


def planned(call: Any, *arguments: str, stage: str = "zero") -> dict[str, dict[str, int]]:
    ended = call("plan", "m.yaml", "--json", *arguments)
    assert ended.status == 0, ended.err
    moments: dict[str, dict[str, int]] = json.loads(ended.out)[stage]
    return moments


@pytest.mark.usefixtures("manifest")
def test_plan_prints_a_table_for_each_stage_and_names_the_others(call: Any) -> None:
    ended = call("plan", "m.yaml", "--gpu-memory", "1")
    assert ended.status == 0, ended.err
    assert "Stage 'zero', GiB on each GPU" in ended.out
    assert {"weights", "gradients", "optimizer", "micro-batch", "keys", "all"} <= set(ended.out.split())
    assert "Stage 'cold', GiB on each GPU" in ended.out
    assert "Not computed: joined." in ended.out


@pytest.mark.usefixtures("manifest")
def test_plan_of_a_stage_that_takes_too_much_ends_with_1(call: Any) -> None:
    ended = call("plan", "m.yaml", "--gpu-memory", "0.001")
    assert ended.status == 1
    assert "stage 'zero' takes" in ended.err
    assert "per_device_train_batch_size" in ended.err


@pytest.mark.usefixtures("manifest")
def test_plan_parts_follow_the_options(call: Any) -> None:
    alone = planned(call)
    update = alone["update"]
    assert set(alone["rollouts"]) == {"weights", "optimizer", "keys and values"}
    launched = planned(call, "--processes", "2")["update"]
    assert launched == {**update, "gradients to exchange": update["gradients"]}
    reference = planned(call, "--set", "stages.zero.params.beta=0.1")["update"]
    assert reference == {**update, "reference model": update["weights"]}
    longer = planned(call, "--prompt-tokens", "2048")
    assert longer["update"]["micro-batch"] > update["micro-batch"]
    assert longer["rollouts"]["keys and values"] > alone["rollouts"]["keys and values"]
    assert planned(call, "--set", "stages.zero.params.optim=sgd")["update"]["optimizer"] == 0


@pytest.mark.usefixtures("manifest")
def test_plan_of_fine_tuning_follows_its_options(call: Any) -> None:
    params = "stages.cold.params."
    moments = planned(call, stage="cold")
    assert set(moments) == {"update"}
    update = moments["update"]
    assert set(update) == {"weights", "optimizer", "gradients", "micro-batch"}
    assert update["optimizer"] == pytest.approx(2 * update["gradients"], rel=0.001)
    longer = planned(call, "--set", params + "max_length=1024", stage="cold")["update"]
    kept = planned(
        call,
        "--set",
        params + "max_length=1024",
        "--set",
        params + "gradient_checkpointing=false",
        stage="cold",
    )["update"]
    assert update["micro-batch"] < longer["micro-batch"] < kept["micro-batch"]
    adapters = planned(call, "--set", params + "peft={r: 4}", stage="cold")["update"]
    assert adapters["gradients"] < update["gradients"] / 10
    launched = planned(call, "--processes", "2", stage="cold")["update"]
    assert launched == {**update, "gradients to exchange": update["gradients"]}


@pytest.mark.usefixtures("manifest")
def test_plan_of_a_reference_model_of_its_own_has_that_models_weights(call: Any, tmp_path: Path) -> None:
    save_config(tmp_path / "wide", 128, "bfloat16")
    beta = ("--set", "stages.zero.params.beta=0.1")
    same = planned(call, *beta)
    other = planned(call, *beta, "--set", "stages.zero.init=['stage:cold', {path: ./wide}]")
    for moment in ("rollouts", "update"):
        assert same[moment].pop("reference model") == same[moment]["weights"]
        assert (
            0.8 < other[moment].pop("reference model") / same[moment]["weights"] < 1.2
        )  # twice as wide, half as deep
    assert other == same


def test_plan_of_a_distillation_holds_the_teacher(call: Any, manifest: Path, tmp_path: Path) -> None:
    save_config(tmp_path / "wide", 256)
    manifest.write_text("""
name: planned
model: ./model
stages:
  - id: taught
    init: [base, {path: ./wide}]
    use: distill
    data: [{use: arithmetic, limit: 64}]
    params: {per_device_train_batch_size: 4, max_completion_length: 64}
""")
    moments = planned(call, stage="taught")
    kept = {"weights", "optimizer", "teacher"}
    assert set(moments["rollouts"]) == kept | {"keys and values"}
    assert set(moments["update"]) == kept | {"gradients", "micro-batch"}
    assert moments["update"]["teacher"] > 2 * moments["update"]["weights"]
    narrow = planned(call, "--set", "stages.taught.init.1.dtype=bfloat16", stage="taught")["update"]
    assert narrow["teacher"] == pytest.approx(moments["update"]["teacher"] / 2, rel=0.01)
    longer = planned(call, "--set", "stages.taught.params.max_completion_length=512", stage="taught")
    assert longer["update"]["micro-batch"] > moments["update"]["micro-batch"]
    adapters = planned(call, "--set", "stages.taught.params.peft={r: 4}", stage="taught")["update"]
    assert adapters["gradients"] < moments["update"]["gradients"] / 10
    ended = call("plan", "m.yaml", "--set", "stages.taught.params.fsdp=full_shard")
    assert "stage 'taught': the memory of a sharded model" in ended.err


def test_plan_of_a_process_reward_model_takes_one_row_for_a_completion(call: Any, manifest: Path) -> None:
    manifest.write_text("""
name: planned
model: ./model
stages:
  - id: steps
    use: process_reward_model
    data: [{use: files, params: {path: rows.jsonl}}]
    params: {per_device_train_batch_size: 8, max_length: 64}
  - id: pairs
    use: reward_model
    data: [{use: files, params: {path: rows.jsonl}}]
    params: {per_device_train_batch_size: 4, max_length: 64}
""")
    steps, pairs = (planned(call, stage=stage)["update"] for stage in ("steps", "pairs"))
    assert set(steps) == {"weights", "optimizer", "gradients", "micro-batch"}
    assert steps["weights"] - pairs["weights"] == 4 * (64 + 2)  # a second label and the bias
    assert steps["micro-batch"] == pytest.approx(pairs["micro-batch"], rel=0.1)


@pytest.mark.usefixtures("manifest")
def test_plan_of_a_token_budget_takes_the_micro_batch_of_so_many_rows(call: Any) -> None:
    params = "stages.zero.params."
    rows = planned(call, "--prompt-tokens", "100", "--set", params + "max_tokens_per_micro_batch=400")
    two = planned(call, "--prompt-tokens", "100", "--set", params + "max_tokens_per_micro_batch=228")
    whole = planned(call, "--prompt-tokens", "100")
    assert two["update"]["micro-batch"] < rows["update"]["micro-batch"] < whole["update"]["micro-batch"]


@pytest.mark.usefixtures("manifest")
def test_plan_with_vllm_contains_its_share_of_the_device(call: Any) -> None:
    params = "stages.zero.params."
    colocated = ("--gpu-memory", "10", "--set", params + "use_vllm=true")
    share = 3 * 1024**3
    moments = planned(call, *colocated)
    assert {moment: parts["vLLM"] for moment, parts in moments.items()} == {
        "rollouts": pytest.approx(share),
        "update": pytest.approx(share),
    }
    asleep = planned(call, *colocated, "--set", params + "vllm_enable_sleep_mode=true")
    assert "vLLM" in asleep["rollouts"]
    assert "vLLM" not in asleep["update"]
    server = planned(call, *colocated, "--set", params + "vllm_mode=server")
    assert all("vLLM" not in parts for parts in server.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "stages.zero.params.fused_loss=false"], "Set fused_loss to true"),
        (["--set", "stages.zero.init=[base, base, base]"], "init names 3 models"),
        (["--set", "stages.cold.init=[base, base]"], "init names 2 models"),
        (["--set", "stages.zero.params.fsdp=full_shard"], "sharded"),
        (["--set", "stages.cold.params.fsdp=full_shard"], "stage 'cold': the memory of a sharded model"),
        (["--set", "stages.cold.params.activation_offloading=true"], "activation_offloading"),
        (["--set", "stages.cold.params.label_smoothing_factor=0.1"], "label_smoothing_factor"),
        (["--set", "stages.cold.params.max_length=null"], "max_length is null"),
        (["--set", "model=./none"], "none"),
        (["--set", "stages.zero.params.optim=adamw_8bit"], "adamw_8bit"),
        (["--set", "stages.zero.params.optim=adam"], "optim"),
        (["--gpu-memory", "0"], "--gpu-memory"),
        (["--prompt-tokens", "0"], "--prompt-tokens"),
    ],
)
@pytest.mark.usefixtures("manifest")
def test_plan_of_what_cannot_be_computed_is_one_line(call: Any, arguments: list[str], message: str) -> None:
    ended = call("plan", "m.yaml", *arguments)
    assert ended.status in (2, 3)
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_plan_of_a_model_that_the_run_makes_says_how_to_name_one(call: Any) -> None:
    ended = call("plan", "r1-zero-mini")
    assert ended.status == 2
    assert "--set stages.zero.init=base" in ended.err


def test_plan_without_a_stage_that_computes_is_a_usage_error(call: Any, manifest: Path) -> None:
    manifest.write_text(
        f"{MANIFEST.split('  - id: cold')[0]}  - {{id: joined, init: [base, base], use: merge}}\n"
    )
    ended = call("plan", "m.yaml")
    assert ended.status == 2
    assert "no stage computes its memory" in ended.err


@pytest.mark.parametrize("returned", ["5", "{'a': {'b': 'c'}}", "{'a': {'b': -1}}", "None"])
def test_a_memory_plan_of_another_type_names_its_plugin(
    call: Any, manifest: Path, tmp_path: Path, returned: str
) -> None:
    (tmp_path / "m.py").write_text(
        "class Stage:\n"
        "    def run(self, context): ...\n"
        f"    def plan_memory(self, models, *, prompt_tokens, device_bytes, processes): return {returned}\n"
    )
    manifest.write_text("name: x\nmodel: ./model\nstages: [{id: a, use: './m.py:Stage'}]\n")
    ended = call("plan", "m.yaml")
    assert ended.status == 2
    assert f"the memory plan of stage 'Stage' (m.py) returned {returned}." in ended.err
