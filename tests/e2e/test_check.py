"""What `run` would refuse before its first step, `check` refuses: one line each, with the manifest's line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Guerdon = Callable[..., Any]

PLUGINS = Path(__file__).parents[1] / "fixtures" / "checked_plugins.py"

MANIFEST = """\
name: sums
model: model
stages:
  - id: rl
    use: grpo
    data:
      - {use: files, params: {path: rows.jsonl}}
    rewards:
      - {use: "./p.py:tidy"}
    params:
      max_steps: 1
      per_device_train_batch_size: 4
      num_generations: 4
      max_completion_length: 8
"""


def write_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def sums(**changed: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"{n} + {n} =", "reference": str(2 * n), **changed} for n in range(12)]


@pytest.fixture
def guerdon(call: Guerdon, tmp_path: Path) -> Guerdon:
    """The command line, in a folder with plugins, rows, a manifest and what looks like a model."""
    shutil.copy(PLUGINS, tmp_path / "p.py")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 64}')
    (model / "model.safetensors").write_bytes(b"")
    (model / "tokenizer_config.json").write_text("{}")
    (tmp_path / "m.yaml").write_text(MANIFEST)
    write_rows(sums())
    return call


def test_check_sound_manifest_is_fit_to_run(guerdon: Guerdon) -> None:
    ended = guerdon("check", "m.yaml")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == "m.yaml: fit to run. Stages in order: rl.\n"


OPTIONS: dict[str, tuple[str, str]] = {
    "loss_type": ("loss_type=gpro", r"param 'loss_type' .* is 'gpro': give .*\. Did you mean 'grpo'\?"),
    "scheduler": ("lr_scheduler_type=cosin", r"Did you mean 'cosine'\?"),
    "optimizer": ("optim=adamw_torh", r"Did you mean 'adamw_torch'\?"),
    "level": ("importance_sampling_level=tokens", r"Did you mean 'token'\?"),
    "no group": ("num_generations=0", r"a number of at least 2"),
    "null group": ("num_generations=null", r"give a whole number"),
    "uneven groups": ("num_generations=3", r"num_generations is 3, and the 4 completions"),
    "no batch": ("per_device_train_batch_size=0", r"a number of at least 1"),
    "large batch": ("per_device_train_batch_size=4096", r"there are 12 prompts, and one batch .* takes 1024"),
    "two batches": (
        "generation_batch_size=8 stages.rl.params.steps_per_generation=2",
        r"generation_batch_size and steps_per_generation are both given",
    ),
    "cold": ("temperature=0", r"give a number above 0\."),
    "infinite": ("learning_rate=.inf", r"finite number"),
    "long": ("max_completion_length=400", r"model 'model' has 64 positions"),
    "tracker": ("report_to=tensorbord", r"not a tracker\. Did you mean 'tensorboard'\?"),
    "missing tracker": ("report_to=clearml", r"needs the package 'clearml', which is not installed"),
    "vllm": ("use_vllm=true", r"pip install 'guerdon\[vllm\]'"),
    "bitsandbytes": ("optim=adamw_bnb_8bit", r"needs the package 'bitsandbytes'"),
    "flash": (
        "model_init_kwargs={attn_implementation: flash_attention_2}",
        r"needs the package 'flash_attn'",
    ),
    "adapter": ("peft={rr: 8}", r"LoraConfig does not have\. Did you mean 'r'\?"),
    "adapter's value": ("peft={r: 0}", r"the option r: 0: give a number of at least 1"),
    "init dtype": ("model_init_kwargs={dtype: float23}", r"Did you mean 'float32'\?"),
    "reference": ("sync_ref_model=true", r"sync_ref_model is true, and beta is 0"),
    "halves": ("fp16=true stages.rl.params.bf16=true", r"fp16 and bf16 are both true"),
    "plateau": (
        "lr_scheduler_type=reduce_lr_on_plateau",
        r"follows TRL's own evaluation, and a stage has none",
    ),
    "owned": ("eval_strategy=steps", r"is not a stage's to set"),
}


@pytest.mark.parametrize(("override", "message"), OPTIONS.values(), ids=OPTIONS)
def test_check_option_that_the_trainer_refuses_is_refused(
    guerdon: Guerdon, override: str, message: str
) -> None:
    pytest.importorskip("trl")
    first, *more = override.split(" stages")
    overrides = [f"stages.rl.params.{first}", *(f"stages{one}" for one in more)]
    ended = guerdon("check", "m.yaml", *(word for one in overrides for word in ("--set", one)))
    assert ended.status in (1, 2, 3)
    assert re.search(message, ended.err), ended.err
    assert re.search(r"m\.yaml:\d+: |--set stages\.rl\.params\.\w+=.*?: ", ended.err), ended.err


def test_check_stage_without_an_evaluation_is_told_nothing_of_one(guerdon: Guerdon) -> None:
    pytest.importorskip("trl")
    ended = guerdon("check", "m.yaml", "--set", "stages.rl.params.max_completion_length=400")
    assert ended.err.count("has 64 positions") == 1
    assert "evaluation" not in ended.err
    rows = [{"prompt": f"{n} =", "completion": str(n)} for n in range(12)]
    write_rows(rows)  # SFT's answers of 256 tokens are those of an evaluation
    Path("m.yaml").write_text(
        "name: copy\nmodel: model\nstages:\n"
        "  - {id: a, use: sft, data: [{use: files, params: {path: rows.jsonl}}], params: {max_steps: 1}}\n"
    )
    ended = guerdon("check", "m.yaml")
    assert (ended.status, ended.err) == (0, "")


ROWS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no prompt": ([{"question": "q", "reference": "1"}], r"row 0 of the data has no 'prompt', only question"),
    "a number": (sums(prompt=3), r"the prompt of row 0 of the data is 3"),
    "two forms": (
        [*sums(), {"prompt": [{"role": "user", "content": "?"}], "reference": "1"}],
        r"the prompt of row 12 of the data has another form",
    ),
    "empty": ([*sums(), {"prompt": " ", "reference": "1"}], r"the prompt of row 12 of the data is ' '"),
    "no role": ([{"prompt": [{"content": "?"}], "reference": "1"}], r"messages with 'role' and 'content'"),
    "no template": (
        [{"prompt": [{"role": "user", "content": "?"}], "reference": "1"}],
        r"model 'model' has no chat template",
    ),
    "a hole": (
        [*sums(), {"prompt": "?"}],
        r"m\.yaml:9: .*needs the column 'reference', which row 12 lacks and row 0 has",
    ),
}


@pytest.mark.parametrize(("rows", "message"), ROWS.values(), ids=ROWS)
def test_check_rows_that_the_stage_refuses_are_refused(
    guerdon: Guerdon, rows: list[dict[str, Any]], message: str
) -> None:
    write_rows(rows)
    ended = guerdon("check", "m.yaml")
    assert ended.status in (1, 2)
    assert re.search(message, ended.err), ended.err


MODELS: dict[str, tuple[str, str]] = {
    "a file": ("./rows.jsonl", r"the model './rows\.jsonl' is a file"),
    "not there": ("./gone", r"the model's folder './gone' does not exist"),
    "no hub id": ("a/b/c", r"neither a folder that exists nor a hub id"),
    "no package": ("package:no_such_package", r"no package 'no_such_package' is installed"),
    "a dtype": ("{path: model, dtype: float23}", r"dtype is 'float23'\. Did you mean 'float32'\?"),
    "no gguf": ("{path: model, gguf_file: a.gguf}", r"has no file 'a\.gguf'"),
    "an adapter": ("adapter", r"has no 'base_model_name_or_path'\. Write the base model's folder"),
    "no weights": ("light", r"holds no weights"),
    "an unknown type": ("odd", r"model_type 'lama'.*Did you mean"),
    "no model": ("plain", r"has no 'model_type'"),
}


@pytest.mark.parametrize(("model", "message"), MODELS.values(), ids=MODELS)
def test_check_model_that_does_not_load_is_refused(guerdon: Guerdon, model: str, message: str) -> None:
    for name, file, content in (
        ("adapter", "adapter_config.json", "{}"),
        ("light", "config.json", '{"model_type": "llama"}'),
        ("odd", "config.json", '{"model_type": "lama"}'),
        ("plain", "config.json", "{}"),
    ):
        Path(name).mkdir()
        Path(name, file).write_text(content)
    ended = guerdon("check", "m.yaml", "--set", f"model={model}")
    assert ended.status == 1
    assert re.search(rf"error: --set model=.*?: stage 'rl': .*{message}", ended.err), ended.err


PLUGIN_MISTAKES: dict[str, tuple[str, str, str]] = {
    "attribute": (":tidy", ":tydy", r"m\.yaml:9: .*p\.py defines no 'tydy'\. Did you mean 'tidy'\?"),
    "members": (":tidy", ":Misspelt", r"m\.yaml:9: .*'gold_completions', which nothing reads"),
    "stage": ("use: grpo", "use: ./p.py:Stage", r"m\.yaml:5: .*has no method 'run'\. Did you mean 'runn'"),
    "hook": (
        "stages:",
        "hooks: [{use: ./p.py:Bell}]\nstages:",
        r"m\.yaml:3: .*Did you mean 'run_finished'\?",
    ),
    "hook's key": (
        "stages:",
        "hooks: [{use: ./p.py:Keyless}]\nstages:",
        r"m\.yaml:3: .*no key in the environment",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), PLUGIN_MISTAKES.values(), ids=PLUGIN_MISTAKES)
def test_check_plugin_with_a_mistake_is_refused(guerdon: Guerdon, old: str, new: str, message: str) -> None:
    Path("m.yaml").write_text(MANIFEST.replace(old, new, 1))
    for command in ("check", "run"):
        ended = guerdon(command, "m.yaml")
        assert ended.status in (1, 2)
        assert re.search(message, ended.err), ended.err
    assert not Path("runs").exists()


def test_check_independent_mistakes_are_told_at_once(guerdon: Guerdon) -> None:
    write_rows(sums()[:2])
    Path("m.yaml").write_text(
        MANIFEST.replace("max_steps", "max_step").replace("model: model", "model: ./gone")
        + "  - {id: other, use: gropo, init: none}\n"
        + "sed: 1\n"
    )
    ended = guerdon("check", "m.yaml", "--set", "stages.rl.rewards=[{use: './p.py:tidy', weigth: 2}]")
    assert ended.status == 2
    for message in (
        r"error: m\.yaml:2: stage 'rl': the model's folder './gone' does not exist",
        r"--set stages\.rl\.rewards=.*: unknown key 'weigth'",
        r"m\.yaml:11: unknown param 'max_step'",
        r"m\.yaml:15: no stage is named 'gropo'",
        r"m\.yaml:16: unknown key 'sed'",
    ):
        assert re.search(message, ended.err), (message, ended.err)


@pytest.mark.parametrize(
    ("param", "told", "not_told"),
    [
        # the wrong param has nothing to do with the batch or the prompts
        ("learning_rat: 1", ["there are 2 prompts", "row 0 of the data has no 'prompt'"], []),
        ("beta: much", ["there are 2 prompts", "row 0 of the data has no 'prompt'"], []),
        # nothing is said of a param whose value is not known
        ("max_completion_lenght: 8", ["there are 2 prompts"], ["64 positions"]),
    ],
)
def test_check_stage_with_a_wrong_param_still_checks_the_rest_of_it(
    guerdon: Guerdon, param: str, told: list[str], not_told: list[str]
) -> None:
    pytest.importorskip("trl")
    write_rows([{"question": "?", "reference": "1"}] * 2)
    manifest = MANIFEST.replace("      max_completion_length: 8\n", f"      {param}\n")
    Path("m.yaml").write_text(manifest.replace("batch_size: 4", "batch_size: 32"))
    ended = guerdon("check", "m.yaml")
    assert ended.status == 2
    assert re.search(rf"m\.yaml:14: .*param '{param.partition(':')[0]}'", ended.err), ended.err
    for message in told:
        assert message in ended.err, ended.err
    for message in not_told:
        assert message not in ended.err


@pytest.mark.parametrize(
    ("part", "value", "mistake"),
    [
        ("data.0.limit", "0", "'stages.0.data.0.limit' is 0: give a number above 0"),
        ("data.0.limit", "many", "'stages.0.data.0.limit' is 'many': give a whole number"),
        ("data.0.limit", "[3]", "'stages.0.data.0.limit' is [3]: give a whole number"),
        ("params", "4", "'stages.0.params' is 4: give a mapping, such as {key: value}"),
        ("init", "5", "'init' is 5: give base, none, 'stage:<id>', a model's path"),
    ],
)
def test_check_a_wrong_value_is_not_replaced_by_its_default(
    guerdon: Guerdon, part: str, value: str, mistake: str
) -> None:
    Path("m.yaml").write_text(
        "name: m\n"
        "stages:\n"
        "  - {id: s, use: pretrain, init: none, params: {max_steps: 1},"
        " data: [{use: arithmetic, params: {kind: pages}, limit: 9}]}\n"
    )
    ended = guerdon("check", "m.yaml", "--set", f"stages.s.{part}={value}")
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert line.startswith(f"ManifestError: --set stages.s.{part}={value}: {mistake}")


def test_check_required_param_of_a_wrong_type_is_told_once(guerdon: Guerdon) -> None:
    data = "[{use: files, params: {path: rows.jsonl}}]"
    stage = f"{{id: base, use: pretrain, init: none, data: {data}, params: {{max_steps: x}}}}"
    Path("m.yaml").write_text(f"name: sums\nstages:\n  - {stage}\n")
    ended = guerdon("check", "m.yaml")
    assert ended.status == 2
    assert ended.err.count("max_steps") == 1, ended.err


def test_check_stage_whose_rows_are_wrong_is_not_blamed_for_their_number(guerdon: Guerdon) -> None:
    ended = guerdon("check", "m.yaml", "--set", "stages.rl.data.0.use=fils")
    assert ended.status == 2
    assert "no source is named 'fils'" in ended.err
    assert "prompts" not in ended.err


def test_check_folder_that_is_not_a_run_is_refused(guerdon: Guerdon) -> None:
    for command in ("check", "run"):
        ended = guerdon(command, "m.yaml", "-o", "model")
        assert ended.status == 2
        assert "the folder model is not a run's, and holds config.json" in ended.err
    assert sorted(path.name for path in Path("model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
    ]


def test_check_headline_counts_what_was_not_checked(guerdon: Guerdon) -> None:
    ended = guerdon("check", "m.yaml", "--set", "model=some/hub-model")
    assert ended.status == 0
    assert (
        "note: --set model=some/hub-model: stage 'rl': not checked: the model 'some/hub-model' would come from the hub."
        in ended.err
    )
    assert ended.out == "m.yaml: fit to run; 1 thing was not checked. Stages in order: rl.\n"


@pytest.mark.parametrize(
    ("reward", "rows", "warning"),
    [
        ("tidy", sums(), ""),
        ("shout", sums(), ""),
        ("half", sums(), "gives 0.5 to every one"),
        ("longest", sums(level=2), "its param 'level' (by default 40) is taken from the column 'level'"),
        ("tidy", [*sums(), {"prompt": "?", "reference": "N/A"}], "such as 'N/A' in row 12"),
    ],
)
def test_check_warns_only_of_what_looks_like_a_mistake(
    guerdon: Guerdon, reward: str, rows: list[dict[str, Any]], warning: str
) -> None:
    write_rows(rows)
    Path("m.yaml").write_text(MANIFEST.replace(":tidy", f":{reward}"))
    ended = guerdon("check", "m.yaml")
    assert ended.status == 0
    assert ("warning: " in ended.err) == bool(warning)
    assert warning in ended.err


def test_check_verifier_that_pays_for_nothing_tried_is_noted(guerdon: Guerdon) -> None:
    Path("m.yaml").write_text(MANIFEST.replace(":tidy", ":haiku"))
    ended = guerdon("check", "m.yaml")
    assert ended.status == 0
    assert "warning" not in ended.err
    assert "not checked: whether it tells completions apart" in ended.err


def test_check_imports_no_library_of_models_or_services(guerdon: Guerdon, tmp_path: Path) -> None:
    import subprocess
    import sys

    guerdon("check", "m.yaml")  # fills the cache of TRL's options, for versions that guerdon does not ship
    code = (
        "import sys; sys.argv = ['guerdon', 'check', 'm.yaml']\n"
        "from guerdon.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0, stop.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'accelerate', 'datasets', 'numpy', 'pandas', 'pyarrow',"
        " 'scipy', 'sympy', 'jinja2', 'httpx', 'aiohttp', 'starlette', 'uvicorn', 'langdetect', 'docker', 'ray'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
