from pathlib import Path

import pytest

from guerdon.errors import ManifestError
from guerdon.manifest import Plan, load_manifest, plan_run
from guerdon.manifest.plan import NamedModel

MODULE = """
class Stage:
    def __init__(self, steps: int = 1): ...
    def run(self, context): ...
class Rows:
    def __init__(self, n: int): ...
    def __iter__(self): return iter([])
def judge(completion): return 1
class Asks:
    def __init__(self, model: str): ...
    def __call__(self, completion): return 1
def broken(: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(MODULE.replace("def broken(: ...\n", ""))
    (tmp_path / "bad.py").write_text(MODULE)
    return tmp_path


def plan(folder: Path, text: str) -> Plan:
    path = folder / "m.yaml"
    path.write_text(text)
    return plan_run(load_manifest(path))


def error(folder: Path, text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        plan(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_the_graph_decides_the_order_and_the_file_breaks_ties(folder: Path) -> None:
    made = plan(
        folder,
        """\
name: r1
model: base-model
stages:
  - {id: sft, use: "./m.py:Stage", data: [{use: stage, params: {id: harvest}}]}
  - {id: zero, use: "./m.py:Stage"}
  - {id: rl, use: "./m.py:Stage", init: "stage:cold"}
  - {id: harvest, use: "./m.py:Stage", init: "stage:rl"}
  - {id: cold, use: "./m.py:Stage"}
  - {id: table, use: "./m.py:Stage", init: [base, "stage:zero", {path: other}]}
""",
    )
    assert [stage.ref.id for stage in made.stages] == ["zero", "cold", "rl", "table", "harvest", "sft"]
    sft = made.stages[-1]
    assert (sft.init, sft.needs) == ([NamedModel(path="base-model", name="base")], ["harvest"])


def test_every_mistake_of_every_stage_with_its_line(folder: Path) -> None:
    message = error(
        folder,
        """\
name: x
stages:
  - id: a
    use: ./m.py:Stage
    params:
      step: 3
  - id: a
    use: ./nowhere.py:Stage
    init: stage:zero
    data:
      - {use: "./m.py:Rows", params: {n: many}}
      - {use: stage, params: {id: b}}
      - {use: "./bad.py:Rows", params: {n: 1}}
    rewards:
      - {use: "./m.py:judge"}
      - {use: "./m.py:judge"}
      - {use: mth}
""",
    )
    for line in [
        "m.yaml:6: unknown param 'step' of stage 'Stage'",
        "m.yaml:3: init is 'base', and the manifest has no 'model'",
        "m.yaml:8: './nowhere.py:Stage' names the file",
        "m.yaml:9: there is no stage 'zero'",
        "m.yaml:11: param 'n' of source 'Rows'",
        "m.yaml:12: there is no stage 'b'",
        "m.yaml:13: source 'Rows'",
        "m.yaml:16: another reward is named 'judge' too",
        "m.yaml:17: no verifier or reward is named 'mth'. Did you mean 'math'?",
        "m.yaml:7: another stage has the id 'a' too",
    ]:
        assert line in message
    numbers = [int(line.split(":")[1]) for line in message.splitlines()]
    assert numbers == sorted(numbers)


def test_a_circle_is_named(folder: Path) -> None:
    message = error(
        folder,
        """\
name: x
stages:
  - {id: a, use: "./m.py:Stage", init: "stage:b"}
  - {id: b, use: "./m.py:Stage", init: "stage:a"}
""",
    )
    assert "stages wait for each other in a circle" in message


def test_a_stage_named_without_the_word_stage(folder: Path) -> None:
    text = 'name: x\nstages:\n  - {id: a, use: "./m.py:Stage", init: none}\n  - {id: b, use: "./m.py:Stage", init: a}\n'
    assert "For the stage write 'stage:a'" in error(folder, text)


def test_what_a_stage_needs_is_missed_before_anything_runs(folder: Path) -> None:
    (folder / "m.py").write_text(
        MODULE.replace("def broken(: ...", "").replace(
            "class Stage:", "class Stage:\n    needs = ('model', 'data', 'rewards')"
        )
    )
    message = error(folder, "name: x\nstages:\n  - {id: a, use: './m.py:Stage', init: []}\n")
    assert "stage 'a' (Stage) needs an 'init' other than none" in message
    message = error(folder, "name: x\nstages:\n  - {id: a, use: './m.py:Stage', init: none}\n")
    assert "stage 'a' (Stage) needs an 'init' other than none" in message
    assert "needs 'data', and has none" in message
    assert "needs 'rewards', and has none" in message


def test_a_reward_waits_for_the_stage_whose_model_it_uses(folder: Path) -> None:
    text = """\
name: x
model: b
stages:
  - {id: rl, use: "./m.py:Stage", rewards: [{use: "./m.py:Asks", params: {model: "stage:rm"}}]}
  - {id: rm, use: "./m.py:Stage"}
"""
    made = plan(folder, text)
    assert [stage.ref.id for stage in made.stages] == ["rm", "rl"]
    assert made.stages[1].needs == ["rm"]
    assert "m.yaml:4: there is no stage 'mr'. Stages: rl, rm." in error(
        folder, text.replace("stage:rm", "stage:mr")
    )
    assert "stages wait for each other in a circle" in error(folder, text.replace("stage:rm", "stage:rl"))


@pytest.mark.parametrize("use", ["stage:first", "first"])
def test_source_that_names_a_stage_gets_the_form_of_the_source(folder: Path, use: str) -> None:
    message = error(
        folder,
        f"""\
name: r1
stages:
  - {{id: first, use: "./m.py:Stage", init: none}}
  - {{id: second, use: "./m.py:Stage", init: none, data: [{{use: "{use}"}}]}}
""",
    )
    assert f"m.yaml:4: '{use}' names no source." in message
    assert "write {use: stage, params: {id: first}}" in message
    assert "No module" not in message


def test_source_that_is_not_installed_lists_the_source_stage(folder: Path) -> None:
    text = "name: x\nstages:\n  - {id: a, use: './m.py:Stage', init: none, data: [{use: stagee}]}\n"
    assert ", stage, " in error(folder, text)


@pytest.mark.parametrize(
    ("use", "key", "words"),
    [
        ("first_argument", "stage", "rename its first argument 'ctx' to 'context'"),
        ("one_text", "rewards", "rename its first argument 'completion' to 'completions'"),
        ("Maze", "tools", "has a method 'reset', so it is an environment. List it under 'environments'."),
        (
            "Paid",
            "environments",
            "has a member 'compute_reward', which the model may call as a tool. Did you mean 'get",
        ),
        ("Lost", "environments", "has no method 'reset'. An environment begins each rollout in reset"),
        ("Lost", "rewards", "'reset' an environment, which is listed under 'environments'"),
    ],
)
def test_plugin_of_a_wrong_shape_says_what_to_change(folder: Path, use: str, key: str, words: str) -> None:
    (folder / "w.py").write_text('''
def first_argument(ctx): ...
def one_text(completion): ...
one_text.guerdon_kind = "group_reward"
class Agent:
    uses_tools = True
    def run(self, context): ...
class Lost:
    def look(self) -> str:
        """Look."""
        return "a box"
class Maze(Lost):
    def reset(self, **row): ...
class Paid(Maze):
    def compute_reward(self) -> float:
        """Pay."""
        return 1.0
''')
    stage, part = (use, "") if key == "stage" else ("Agent", f", {key}: [{{use: './w.py:{use}'}}]")
    text = f"name: x\nstages:\n  - {{id: a, use: './w.py:{stage}', init: none{part}}}\n"
    assert words in error(folder, text)


@pytest.mark.parametrize("seed", [-1, 2**31, 10**20])
def test_a_seed_that_a_library_refuses(folder: Path, seed: int) -> None:
    message = error(
        folder, f"name: x\nseed: {seed}\nstages:\n  - {{id: a, use: './m.py:Stage', init: none}}\n"
    )
    assert f"'seed' is {seed}: give a number of at" in message


@pytest.mark.parametrize(
    "entry",
    [
        "{use: './m.py:judge', name: reward}",
        "{use: './m.py:reward'}",
        "{name: reward, first_of: [{use: './m.py:judge'}, {use: math}]}",
        "{name: both, first_of: [{use: './m.py:judge', name: reward}, {use: math}]}",
    ],
)
def test_no_entry_has_the_name_of_the_rubrics_reward(folder: Path, entry: str) -> None:
    (folder / "m.py").write_text(MODULE.replace("def broken(: ...\n", "reward = judge\n"))
    message = error(
        folder, f"name: x\nstages:\n  - {{id: a, use: './m.py:Stage', init: none, rewards: [{entry}]}}\n"
    )
    assert "'reward' is the name of the rubric's reward. Give the entry another 'name'." in message
