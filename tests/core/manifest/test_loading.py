from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import ManifestError
from guerdon.manifest import load_manifest

GOOD = """\
name: demo
model: org/base
stages:
  - id: zero
    use: grpo
    params: {learning_rate: 1e-5, num_generations: 8}
    data:
      - {use: arithmetic, split: train, limit: 10}
    rewards:
      - {use: math}
      - use: format
        weight: {0: 0.0, 100: 0.5}
        when: {task: reasoning}
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "m.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def error(path: Path, *overrides: str) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, overrides)
    return str(caught.value).replace(str(path), "m.yaml")


def test_a_manifest_is_read_as_yaml_1_2(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path, GOOD)).manifest
    assert manifest.stages[0].params["learning_rate"] == 1e-5
    assert manifest.stages[0].rewards[1].weight == {0: 0.0, 100: 0.5}
    assert manifest.stages[0].init == "base"


def test_shared_params_are_merged_and_each_use_is_set_alone(tmp_path: Path) -> None:
    text = """\
name: demo
stages:
  - {id: a, use: grpo, params: &shared {beta: 0.0, max_steps: 5}}
  - id: b
    use: grpo
    params:
      <<: *shared
      max_steps: 7
  - {id: c, use: grpo, params: *shared}
"""
    path = write(tmp_path, text)
    loaded = load_manifest(path, ["stages.a.params.beta=0.5"])
    assert [stage.params for stage in loaded.manifest.stages] == [
        {"beta": 0.5, "max_steps": 5},
        {"beta": 0.0, "max_steps": 7},
        {"beta": 0.0, "max_steps": 5},
    ]
    assert loaded.lines["stages", 1, "params", "max_steps"] == 8


def test_all_mistakes_at_once_each_with_its_line_and_the_nearest_spelling(tmp_path: Path) -> None:
    text = GOOD.replace("model:", "modle:").replace("weight:", "wieght:").replace("limit: 10", "limit: 0")
    message = error(write(tmp_path, text))
    assert "m.yaml:2: unknown key 'modle'" in message
    assert "Did you mean 'model'?" in message
    assert "m.yaml:12: unknown key 'wieght'" in message
    assert "Did you mean 'weight'?" in message
    assert "m.yaml:8: 'stages.0.data.0.limit' is 0" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "m.yaml:1: is not valid YAML"),
        ("name: a\nname: b\n", "m.yaml:2: is not valid YAML: found duplicate key"),
        ("", "a manifest is a mapping"),
        ("- a\n", "a manifest is a mapping"),
        ("name: x\n", "'stages' is missing"),
        ("name: x\nstages: []\n", "'stages'"),
        ("name: ../x\nstages: [{id: a, use: b}]\n", "use letters, digits"),
        ("name: x\nstages: [{id: a}]\n", "'stages.0.use' is missing"),
        ("name: x\nseed: soon\nstages: [{id: a, use: b}]\n", "m.yaml:2: 'seed' is 'soon'"),
        (b"name: \xff\xfe\n", "m.yaml:1: is not UTF-8"),
        ("a: &a [*a]\n", "m.yaml"),
        ("name: " + "[" * 1000, "m.yaml"),
        (
            "a: &a [x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghij")),
            "alias",
        ),
        ("name: x\nstages: [{id: a, use: b, rewards: [{use: c, weight: {}}]}]\n", "weight"),
        ("name: x\nstages: [{id: a, use: b, rewards: [{use: c, weight: .nan}]}]\n", "weight"),
        ("name: x\nstages: [{id: a, use: b, rewards: [{use: c, weight: {-5: 1}}]}]\n", "steps from 0 on"),
        (f"name: x\nstages: [{{id: {'a' * 129}, use: b}}]\n", "at most 128 characters"),
        ("name: x\nstages: [{id: a, use: b, rewards: [{use: c, timeout: .inf}]}]\n", "timeout"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in error(write(tmp_path, text))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in error(tmp_path / "m.yaml")
    assert "cannot be read" in error(tmp_path)


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    changes = [
        "seed=7",
        "stages.zero.params.max_steps=5",
        "stages.0.rewards.math.weight=2",
        "stages.zero.data.0.limit=3",
    ]
    manifest = load_manifest(path, changes).manifest
    stage = manifest.stages[0]
    assert (manifest.seed, stage.params["max_steps"], stage.rewards[0].weight, stage.data[0].limit) == (
        7,
        5,
        2.0,
        3,
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "is not of the form path=value"),
        ("=1", "is not of the form path=value"),
        ("stages.one.use=x", "stages has no item 'one'. Items: "),
        ("name.x=1", "name has nothing to set"),
        ("sede=1", "unknown key 'sede'"),
        ("seed=[", "is not valid YAML"),
        ("stages.5=x", "has no item '5'"),
    ],
)
def test_bad_overrides(tmp_path: Path, override: str, words: str) -> None:
    assert words in error(write(tmp_path, GOOD), override)


@given(st.text(max_size=300))
def test_any_text_is_a_manifest_or_a_manifest_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("m") / "m.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ManifestError):
        load_manifest(path)


def test_load_manifest_key_in_a_wrong_place_says_its_place(tmp_path: Path) -> None:
    stage = "{id: a, use: b, max_steps: 3, weight: 1, failure_budget: 0.2, data: [{use: c, every: 2}]}"
    told = error(write(tmp_path, f"rewards: []\nsplit: train\nname: x\nstages: [{stage}]\n"))
    for hint in (
        "'rewards' is a key of a stage, in the list 'stages'.",
        "'split' is a key of an entry of 'data'.",
        "evaluation, params. Params of the plugin belong under 'params'.",
        "'weight' is a key of an entry of 'rewards'.",
        "'failure_budget' is a key of the manifest, beside 'stages'.",
        "'every' is a key of a stage's 'evaluation'.",
    ):
        assert hint in told


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("model: [1]", "'model' is [1]: give a model's path, or a mapping with its 'path'."),
        ("model: 3", "'model' is 3: give a model's path, or a mapping with its 'path'."),
        (
            "model: {pth: x}",
            "unknown key 'pth'. Valid: path, gguf_file, revision, dtype. Did you mean 'path'?",
        ),
    ],
)
def test_load_manifest_wrong_model_is_told_once_in_its_own_words(
    tmp_path: Path, keys: str, message: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"name: x\n{keys}\nstages: [{{id: a, use: evaluate}}]\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert f"m.yaml:2: {message}" in str(caught.value)
    assert "ModelRef'" not in str(caught.value)


STAGE = "name: x\nstages: [{{id: a, use: b, {}}}]\n"
FIRST_OF = "rewards: [{{name: r, first_of: [{}, {{use: d}}], {}}}]"


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            "rewards: [{use: c, needs: math}]",
            "'stages.0.rewards.0.needs' is 'math': give a list, such as [math].",
        ),
        ("rewards: {use: c}", "is {'use': 'c'}: give a list, such as [{...}]."),
        ("data: arithmetic", "'stages.0.data' is 'arithmetic': give a list, such as [{use: arithmetic}]."),
        ("params: [3]", "'stages.0.params' is [3]: give a mapping, such as {key: value}."),
        (
            "data: [arithmetic]",
            "'stages.0.data.0' is 'arithmetic': give a mapping, such as {use: arithmetic}.",
        ),
        ("rewards: [math]", "is 'math': give a mapping, such as {use: math}."),
        ("rewards: [{name: r, first_of: math}]", "is 'math': give a list, such as [{use: math}]."),
        ("rewards: [{name: r, first_of: [{use: c}]}]", "give at least 2 items, not 1."),
    ],
)
def test_a_value_of_the_wrong_shape_is_answered_with_the_right_one(
    tmp_path: Path, stage: str, words: str
) -> None:
    message = error(write(tmp_path, STAGE.format(stage)))
    assert words in message
    assert "should" not in message
    assert "validation" not in message


def test_retry_of_a_first_of_belongs_to_its_members(tmp_path: Path) -> None:
    retry = "on_failure: {retry: 2, then: skip}"
    message = error(write(tmp_path, STAGE.format(FIRST_OF.format("{use: c}", retry))))
    assert "give skip, zero or abort. For a first_of, set {retry: 2, then: skip} in its members." in message
    load_manifest(write(tmp_path, STAGE.format(FIRST_OF.format(f"{{use: c, {retry}}}", "weight: 1"))))
    member = error(write(tmp_path, STAGE.format(FIRST_OF.format("{use: c, on_failure: never}", "weight: 1"))))
    assert "give skip, zero or abort, or {retry: 2, then: skip}" in member
    whole = error(write(tmp_path, STAGE.format(FIRST_OF.format("{use: c}", "on_failure: never"))))
    assert "'on_failure' is 'never': give skip, zero or abort. For a first_of, set" in whole


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=x", "--set seed=x: 'seed' is 'x': give a whole number."),
        ("name=3", "--set name=3: 'name' is 3: give text."),
        ("stages.zero.foo=1", "--set stages.zero.foo=1: unknown key 'foo'."),
        (
            "stages.zero.data.0.limit=0",
            "--set stages.zero.data.0.limit=0: 'stages.0.data.0.limit' is 0: give a number",
        ),
        ("stages.zero.rewards.math.weight=x", "--set stages.zero.rewards.math.weight=x: 'weight' is neither"),
        (f"seed={'9' * 5000}", "the value is not valid YAML."),
    ],
)
def test_mistake_of_an_override_names_the_override(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in error(write(tmp_path, GOOD), override)


def test_mistake_of_the_file_beside_an_override_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("limit: 10", "limit: 0"))
    message = error(path, "seed=x", "stages.zero.params.beta=0.1")
    assert "m.yaml:8: 'stages.0.data.0.limit' is 0" in message
    assert "--set seed=x: 'seed'" in message
