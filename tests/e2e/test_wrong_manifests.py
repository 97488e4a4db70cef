"""Wrong manifests, targets and overrides end in one line that names the place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from wrong_inputs import MODEL, STAGE, Guerdon, only_line, stage, stages, write

ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)

MANIFESTS: dict[str, tuple[str | bytes, str]] = {
    "unclosed bracket": ("name: x\nstages: [\n", r":3: is not valid YAML"),
    "tab": ("name: x\n\tseed: 1\n", r":2: is not valid YAML: found character '\\t'"),
    "key twice": ("name: x\nname: y\n", r':2: is not valid YAML: found duplicate key "name"'),
    "not UTF-8": (b"name: \xff\n", r":1: is not UTF-8 text"),
    "empty": ("", r":1: a manifest is a mapping"),
    "NUL": ("name: a\0b\n", r": is not valid YAML"),
    "nested too deeply": ("name: " + "[" * 500, r": is nested too deeply"),
    "alias bomb": (ALIAS_BOMB, r": has more than 100000 keys and items"),
    "a list": ("- a\n", r":1: a manifest is a mapping"),
    "no stages": (MODEL, r":1: 'stages' is missing"),
    "empty stages": (MODEL + "stages: []\n", r":3: 'stages' is \[\]"),
    "unknown key": (STAGE + "sed: 1\n", r":4: unknown key 'sed'.* Did you mean 'seed'\?"),
    "wrong type": (STAGE + "seed: many\n", r":4: 'seed' is 'many'"),
    "id with a path": (stages("id: ../a, use: ./p.py:Stage"), r":4: .*id' is '\.\./a'"),
    "one id twice": (
        stages("id: a, use: ./p.py:Stage", "id: a, use: ./p.py:Stage"),
        r":5: another stage has the id 'a'",
    ),
    "unknown stage": (stages("id: a, use: gropo"), r":4: no stage is named 'gropo'.*Did you mean 'grpo'\?"),
    "plugin of another kind": (stages("id: a, use: math"), r":4: no stage is named 'math'"),
    "no such file": (stages("id: a, use: ./q.py:Stage"), r":4: .*the file .*q\.py, which does not exist"),
    "broken plugin": (
        stages("id: a, use: ./p.py:Stag"),
        r":4: .*p\.py defines no 'Stag'\. Did you mean 'Stage'\?",
    ),
    "unknown param": (stage("params: {step: 1}"), r":3: unknown param 'step' of .* Did you mean 'steps'\?"),
    "ill-typed param": (stage("params: {steps: many}"), r":3: param 'steps' .* is 'many'"),
    "missing param": (stage("data: [{use: files}]"), r":3: source 'files' .* needs the param 'path'"),
    "cyclic graph": (
        stages("id: a, use: ./p.py:Stage, init: 'stage:b'", "id: b, use: ./p.py:Stage, init: 'stage:a'"),
        r":4: stages wait for each other in a circle: a -> b -> a",
    ),
    "stage from itself": (stage("init: 'stage:a'"), r":3: stages wait for each other in a circle: a -> a"),
    "stage from no stage": (stage("init: 'stage:b'"), r":3: there is no stage 'b'"),
    "stage as a path": (stage("init: a"), r":3: .*For the stage write 'stage:a'"),
    "data of no stage": (stage("data: [{use: stage, params: {id: b}}]"), r":3: there is no stage 'b'"),
    "no base model": (
        STAGE.replace("model: model\n", ""),
        r":2: init is 'base', and the manifest has no 'model'",
    ),
    "one reward twice": (
        stage("rewards: [{use: format}, {use: format}]"),
        r":3: another reward is named 'format'",
    ),
    "unknown verifier": (
        stage("rewards: [{use: formt}]"),
        r":3: no verifier .*'formt'. Did you mean 'format'\?",
    ),
    "endless timeout": (stage("rewards: [{use: format, timeout: .inf}]"), r":3: .*timeout' is inf"),
    "negative timeout": (stage("rewards: [{use: format, timeout: -1}]"), r":3: .*timeout' is -1"),
}


@pytest.mark.parametrize(("manifest", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests(guerdon: Guerdon, manifest: str | bytes, message: str) -> None:
    write("m.yaml", manifest)
    for command in ("check", "run"):
        ended = guerdon(command, "m.yaml")
        assert ended.status == 2
        assert re.match(rf"ManifestError: m\.yaml{message}", only_line(ended)), ended.err
    assert not Path("runs").exists()


def test_all_mistakes_of_a_manifest_are_told_at_once(guerdon: Guerdon) -> None:
    write(
        "m.yaml",
        MODEL + "stages:\n  - {id: a, use: gropo}\n  - {id: b, use: ./p.py:Stage, params: {step: 1}}\n",
    )
    ended = guerdon("check", "m.yaml")
    assert ended.status == 2
    assert re.match(
        r"ManifestError: m\.yaml:4: .*'gropo'.*\nm\.yaml:5: unknown param 'step' of .*\n$", ended.err
    )


@pytest.mark.parametrize(
    ("target", "override", "message"),
    [
        ("gone.yaml", "", "ManifestError: gone.yaml: cannot be read: No such file"),
        (".", "", "ManifestError: .: cannot be read: Is a directory"),
        ("r2-zero", "", "ManifestError: there is no file 'r2-zero', and no recipe is named 'r2-zero'"),
        ("./p.py:Stage", "", "ManifestError: './p.py:Stage' is neither a manifest nor a recipe"),
        ("no_such_package:x", "", "ManifestError: 'no_such_package:x' is neither a manifest nor a recipe"),
        ("m.yaml", "seed", "ManifestError: --set seed: is not of the form path=value"),
        ("m.yaml", "stages.b.id=c", "ManifestError: --set stages.b.id=c: stages has no item 'b'"),
        ("m.yaml", "seed=[", "ManifestError: --set seed=[: the value is not valid YAML"),
        ("m.yaml", "sed=1", "ManifestError: --set sed=1: unknown key 'sed'"),
    ],
)
def test_targets_and_overrides(guerdon: Guerdon, target: str, override: str, message: str) -> None:
    write("m.yaml", STAGE)
    ended = guerdon("check", target, *(["--set", override] if override else []))
    assert ended.status == 2
    assert only_line(ended).startswith(message)
