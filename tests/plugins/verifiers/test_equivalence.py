"""``equivalence``: a preset of ``first_of``, from a manifest, by name and in an audit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from chat_server import said, served
from click.testing import CliRunner

from guerdon import Rollout
from guerdon.cli.plugins_test import test as plugins_test
from guerdon.errors import ManifestError, ParamsError, PluginContractError, UsageError
from guerdon.manifest.loading import load_manifest
from guerdon.manifest.plan import plan_rubric, plan_run
from guerdon.manifest.rubrics import plugin_entries, resolve_rubric
from guerdon.rubric import Entry, Rubric

ENDPOINT = {"base_url": "http://localhost:1/v1", "model": "m"}


def verdict(body: dict[str, Any]) -> dict[str, Any]:
    """A judge that accepts words for the reference's number."""
    question = body["messages"][-1]["content"]
    return said({"reasoning": "so", "score": int("forty-two" in question)})


def scored(entries: list[Entry], *texts: str, reference: Any = "42") -> list[dict[str, Any]]:
    rollouts = [Rollout("What is 40 + 2?", text, {"reference": reference}) for text in texts]
    with Rubric(entries) as rubric:
        return [judgement.to_dict() for judgement in rubric.score(rollouts)]


def test_equivalence_asks_the_judge_only_where_the_rule_does_not_pay() -> None:
    with served(verdict) as url:
        entries = plugin_entries("equivalence", {"endpoint": {"base_url": f"{url}/v1", "model": "m"}})
        by_rule, by_judge, wrong = scored(entries, r"\boxed{42}", "It is forty-two.", r"\boxed{41}")
    assert [one["reward"] for one in (by_rule, by_judge, wrong)] == [1.0, 1.0, 0.0]
    assert list(by_rule["scores"]) == ["equivalence_math", "equivalence"]
    assert by_judge["scores"]["equivalence"]["metadata"]["decided_by"] == "equivalence_judge"
    assert by_judge["scores"]["equivalence_judge"]["usage"]["requests"] == 1
    assert "usage" not in by_judge["scores"]["equivalence"]


def test_equivalence_with_an_unreadable_reference_leaves_the_verdict_to_the_judge() -> None:
    with served(verdict) as url:
        entries = plugin_entries("equivalence", {"endpoint": {"base_url": f"{url}/v1", "model": "m"}})
        (one,) = scored(entries, "It is forty-two.", reference={"answer": "42"})
    assert one["scores"]["equivalence_math"]["outcome"] == "failed"
    assert one["reward"] == 1.0


def test_equivalence_with_a_judge_that_is_gone_fails_and_is_never_0() -> None:
    gone = plugin_entries("equivalence", {"endpoint": {**ENDPOINT, "max_retries": 0}})
    by_rule, lost = scored(gone, r"\boxed{42}", "It is forty-two.")
    assert by_rule["reward"] == 1.0
    assert lost["reward"] is None
    assert lost["scores"]["equivalence"]["failure"] == "infrastructure"


def test_equivalence_passes_params_to_both_members() -> None:
    rule, judge = plugin_entries(
        "equivalence",
        {
            "endpoint": ENDPOINT,
            "rule": "qa",
            "rule_params": {"metric": "f1"},
            "reference": "gold",
            "judge_params": {"repeats": 3, "vote": "majority"},
        },
    )
    assert (rule.name, rule.component.plugin.name) == ("equivalence_qa", "qa")
    assert rule.component.params == {"metric": "f1"}
    assert judge.component.params["repeats"] == 3
    assert judge.component.params["reference"] == "gold"
    assert judge.component.params["scale"] == [0, 1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "needs the param 'endpoint'"),
        ({"endpoint": ENDPOINT, "rule": "mat"}, "Did you mean 'math'"),
        ({"endpoint": ENDPOINT, "rule_params": {"extract": "box"}}, "unknown param 'extract'"),
        ({"endpoint": ENDPOINT, "judge_params": {"repeat": 3}}, "unknown param 'repeat'"),
    ],
)
def test_equivalence_refuses_wrong_params_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plugin_entries("equivalence", params)


MANIFEST = """\
name: m
model: {path: gpt2}
stages:
  - id: rl
    use: grpo
    data: [{use: files, params: {path: rows.jsonl}}]
    rewards:
      - %s
      - {use: format, needs: [same], weight: 0.5}
"""


def manifest(folder: Path, entry: str) -> Path:
    file = folder / "m.yaml"
    file.write_text(MANIFEST % entry)
    return file


ENTRY = (
    "{use: equivalence, name: same, weight: 2, on_failure: {retry: 1, then: zero}, timeout: 9, when: {task: math}, "
    "params: {endpoint: {base_url: 'http://localhost:1/v1', model: m}%s}}"
)


def test_a_preset_s_entry_keeps_its_weight_routes_and_reaction(tmp_path: Path) -> None:
    _, entries = plan_rubric(load_manifest(manifest(tmp_path, ENTRY % "")))
    names = [entry.name for entry in entries]
    assert names == ["same_math", "same_judge", "format"]
    whole = entries[0].within
    assert whole is not None
    assert entries[1].within == whole
    assert (whole.name, whole.weight, whole.when) == ("same", 2.0, {"task": "math"})
    assert whole.on_failure == "zero"
    assert [(entry.retries, entry.timeout_s) for entry in entries[:2]] == [(1, 9.0), (1, 9.0)]
    assert resolve_rubric(str(tmp_path / "m.yaml")).entries == entries


def test_a_preset_with_a_wrong_member_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"m\.yaml:8: unknown param 'repeat' of verifier 'judge'"):
        plan_run(load_manifest(manifest(tmp_path, ENTRY % ", judge_params: {repeat: 2}")))
    with pytest.raises(ManifestError, match=r"m\.yaml:8: .*nothing is named 'mat'.*|m\.yaml:8: .*'mat'"):
        plan_run(load_manifest(manifest(tmp_path, ENTRY % ", rule: mat")))


def test_a_preset_is_not_a_member(tmp_path: Path) -> None:
    member = "{use: equivalence, params: {endpoint: {base_url: 'http://localhost:1/v1', model: m}}}"
    entry = f"{{name: same, first_of: [{{use: match}}, {member}]}}"
    with pytest.raises(ManifestError, match="is short for a first_of, so it cannot be a member of one"):
        plan_run(load_manifest(manifest(tmp_path, entry)))


PRESET = """\
class Preset:
    def __init__(self, members: object = None) -> None:
        self.members = members

    def first_of(self):
        if self.members == "raise":
            raise RuntimeError("no members today")
        return self.members
"""


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (None, "Return two members or more"),
        ([], "Return two members or more"),
        ([{"use": "match"}], "Return two members or more"),
        ([{"use": "match"}, {"params": {}}], "a member in the first_of"),
        ([{"use": "match"}, {"use": "qa", "weight": 2}], "a member in the first_of"),
        ("raise", "no members today"),
    ],
)
def test_a_preset_of_no_members_is_an_error(tmp_path: Path, members: Any, message: str) -> None:
    file = tmp_path / "preset.py"
    file.write_text(PRESET)
    with pytest.raises(PluginContractError, match=re.escape(message)):
        plugin_entries(f"{file}:Preset", {"members": members})


def test_a_preset_needs_no_call_and_a_misspelt_one_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "preset.py"
    file.write_text(PRESET.replace("first_of", "firstof"))
    with pytest.raises((ParamsError, PluginContractError), match=r"neither a verifier|cannot be called"):
        plugin_entries(f"{file}:Preset", {})


def test_a_preset_has_no_kit(tmp_path: Path) -> None:
    (tmp_path / "preset.py").write_text(PRESET)
    result = CliRunner().invoke(plugins_test, [f"{tmp_path}/preset.py:Preset"])
    assert isinstance(result.exception, UsageError)
    assert "is short for a first_of, and is never called itself" in str(result.exception)
