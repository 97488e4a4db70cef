"""``prompt_hint``: what a verifier looks for, against the prompts that ``check`` samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import PluginContractError
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.plan import Plan
from guerdon.preflight import Finding, Level, preflight
from guerdon.preflight.findings import Site
from guerdon.preflight.hints import check_hints

MODULE = """
def stage(context, **params): ...
class Stage:
    def __init__(self, chat_template: str = "", examples: list = []): ...
    def run(self, context): ...
class Rows:
    def __init__(self, rows: list): self.rows = rows
    def __iter__(self): return iter(self.rows)
class Hints:
    def __init__(self, hint: object): self.hint = hint
    def prompt_hint(self, row):
        if self.hint == "raise": raise KeyError("level")
        return self.hint
    def __call__(self, completion): return len(completion) % 7 / 7
"""


def plan(folder: Path, rows: list[dict[str, Any]], reward: str, rest: str = "init: none") -> Plan:
    (folder / "m.py").write_text(MODULE)
    source = f"{{use: './m.py:Rows', params: {{rows: {json.dumps(rows)}}}}}"
    stage = f"{{id: a, use: './m.py:Stage', {rest}, data: [{source}]"
    (folder / "m.yaml").write_text(f"name: x\nstages:\n  - {stage}, rewards: [{reward}]}}\n")
    return plan_run(load_manifest(folder / "m.yaml"))


def warnings(folder: Path, rows: list[dict[str, Any]], reward: str, rest: str = "init: none") -> list[str]:
    planned = plan(folder, rows, reward, rest)
    (stage,) = planned.stages
    found: list[Finding] = []
    for entry in stage.entries:
        judged = [row for row in rows if entry.applies_to(row)]
        found += check_hints(Site.of(planned, stage), stage, entry, judged)
    assert all(one.level is Level.WARNING for one in found)
    return [one.message for one in found]


BOXED = {"prompt": "What is 2 + 3? Put the answer into \\boxed{}.", "reference": "5"}
BARE = {"prompt": "What is 2 + 3?", "reference": "5"}


def test_hints_warn_of_prompts_that_do_not_ask_for_the_mark(tmp_path: Path) -> None:
    (message,) = warnings(tmp_path, [BOXED, BARE, BARE], "{use: math}")
    assert message.startswith(
        "2 of 3 sampled prompts do not mention what it looks for. Row 1 lacks \\boxed{}:"
    )
    assert "'What is 2 + 3?'" in message
    assert not warnings(tmp_path, [BOXED], "{use: math}")
    assert not warnings(tmp_path, [BARE], "{use: math, params: {extraction: auto}}")
    assert warnings(tmp_path, [BOXED], "{use: math, params: {extraction: answer}}")


def test_hints_are_warnings_at_the_entry_s_line(tmp_path: Path) -> None:
    found = preflight(plan(tmp_path, [BARE], "{use: math}"))
    (finding,) = [one for one in found if "do not mention" in one.message]
    assert finding.level is Level.WARNING
    assert finding.where == "stage 'a', reward 'math'"


def test_hints_are_met_by_system_messages_and_by_the_stage_s_params(tmp_path: Path) -> None:
    told = [{"role": "system", "content": "Use \\BOXED{}."}, {"role": "user", "content": "What is 2 + 3?"}]
    assert not warnings(tmp_path, [{"prompt": told, "reference": "5"}], "{use: math}")
    rest = "init: none, params: {chat_template: '{{ messages }} Put the answer into a   boxed one.'}"
    assert not warnings(tmp_path, [BARE], "{use: math}", rest)
    rest = "init: none, params: {examples: [[{role: assistant, content: 'boxed{5}'}]]}"
    assert not warnings(tmp_path, [BARE], "{use: math}", rest)


def test_hints_are_met_by_a_local_model_s_template(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "chat_template.jinja").write_text("Put the answer into \\boxed{}. {{ messages }}")
    rest = f"init: {model}"
    assert not warnings(tmp_path, [BARE], "{use: math}", rest)
    (model / "chat_template.jinja").unlink()
    assert warnings(tmp_path, [BARE], "{use: math}", rest)
    (model / "tokenizer_config.json").write_text('{"chat_template": "Put the answer into <answer>\\nboxed."}')
    assert not warnings(tmp_path, [BARE], "{use: math}", rest)


def test_hints_are_for_the_rows_of_the_entry_only(tmp_path: Path) -> None:
    rows = [{**BARE, "task": "talk"}, {**BOXED, "task": "math"}]
    assert not warnings(tmp_path, rows, "{use: math, when: {task: math}}")


@pytest.mark.parametrize(
    ("hint", "row", "lacks"),
    [
        ("{use: format}", BARE, "<answer>"),
        ("{use: format, params: {tags: [think]}}", BARE, None),
        ("{use: format}", {"prompt": "In <answer> tags: 2 + 3?"}, None),
        ("{use: qa, params: {extraction: line}}", BARE, 'a line "Answer:"'),
        ("{use: qa, params: {extraction: line}}", {"prompt": "2 + 3？ 答案：", "reference": "5"}, None),
        (
            "{use: choice}",
            {"prompt": "Which?\nA. Lyon", "reference": "B", "options": ["Lyon", "Paris"]},
            "the option 'Paris'",
        ),
        (
            "{use: choice}",
            {"prompt": "A. LYON  B. Paris", "reference": "B", "options": ["Lyon", "Paris"]},
            None,
        ),
        ("{use: choice}", {"prompt": "A or B?", "reference": "B"}, None),
        (
            "{use: json_schema, params: {loose: true}}",
            {"prompt": "Give a user.", "schema": {"type": "object"}},
            "JSON",
        ),
        (
            "{use: json_schema, params: {loose: true}}",
            {"prompt": "As json.", "schema": {"type": "object"}},
            None,
        ),
        (
            "{use: citations, params: {gold: false}}",
            {"prompt": "What flows?", "sources": ["The Nile."]},
            "the source 1",
        ),
        ("{use: abstain}", BARE, "that the model may abstain"),
        ("{use: abstain, params: {mode: confidence}}", BARE, "a confidence"),
        ("{use: code_format, params: {answer_tag: answer}}", BARE, "<answer>"),
        ("{use: code_format}", BARE, None),
    ],
)
def test_hints_of_the_built_ins(tmp_path: Path, hint: str, row: Mapping[str, Any], lacks: str | None) -> None:
    found = warnings(tmp_path, [dict(row)], hint)
    assert len(found) == (lacks is not None)
    assert lacks is None or f"Row 0 lacks {lacks}: " in found[0]


@pytest.mark.parametrize("hint", ["[boxed]", "{a: boxed}", "{a: []}", "{a: [1]}", "3", "raise"])
def test_hints_of_another_shape_are_an_error_that_names_the_plugin(tmp_path: Path, hint: str) -> None:
    with pytest.raises(PluginContractError, match="the prompt_hint of plugin 'Hints'"):
        warnings(tmp_path, [BARE], f"{{use: './m.py:Hints', params: {{hint: {hint}}}}}")


@pytest.mark.parametrize("hint", ["null", "{}", "{a: [2 + 3]}"])
def test_hints_that_ask_for_nothing_more_are_silent(tmp_path: Path, hint: str) -> None:
    assert not warnings(tmp_path, [BARE], f"{{use: './m.py:Hints', params: {{hint: {hint}}}}}")


def test_hints_are_not_checked_where_another_stage_trained_the_model(tmp_path: Path) -> None:
    planned = plan(tmp_path, [BARE], "{use: math}")
    (stage,) = planned.stages
    later = replace(stage, ref=stage.ref.model_copy(update={"init": "stage:cold"}))
    assert not list(check_hints(Site.of(planned, later), later, later.entries[0], [BARE]))
