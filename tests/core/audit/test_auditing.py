"""What the audit says of verifiers that are known to be sound, gameable, blind or brittle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guerdon.audit import (
    KINDS,
    OWN_FORM,
    AuditReport,
    AuditVerdict,
    Problem,
    audit_rubric,
    case_problems,
    kinds_of,
    own_problems,
)
from guerdon.audit.auditing import MARGIN
from guerdon.audit.corpus import cases_for
from guerdon.errors import CheckFailedError, DataError, InfrastructureError, UsageError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, Plugin
from guerdon.rubric import Entry

TOYS = Path(__file__).with_name("toys.py")


def entry(toy: str, weight: Any = 1.0) -> Entry:
    kind = Kind.REWARD if toy in ("trl_reward", "joined", "together") else Kind.VERIFIER
    return Entry(toy, Component(Plugin(kind, toy, "file", "0", f"{TOYS}:{toy}"), kind), weight)


def audited(*toys: str, kinds: tuple[str, ...] = ("answer",)) -> AuditReport:
    entries = [entry(toy) for toy in toys]
    return audit_rubric(entries, kinds, own_problems(entries, kinds))


def cases(report: AuditReport, verdict: AuditVerdict) -> set[str]:
    return {result.case for result in report.found(verdict)}


def test_a_sound_verifier_passes_and_its_form_is_found() -> None:
    report = audited("exact")
    assert report.passed
    assert report.form == "<think>\n[[reasoning]]\n</think>\n<answer>\\boxed{[[answer]]}</answer>"
    assert {result.case for result in report.results} >= {"honest-right", "empty", "either-or", "tag-farm"}


def test_a_loose_verifier_is_exploited_and_the_report_says_by_what_and_why() -> None:
    report = audited("loose")
    assert cases(report, AuditVerdict.EXPLOIT) >= {"either-or", "comma-list", "hidden-in-thought", "negated"}
    assert "empty" not in cases(report, AuditVerdict.EXPLOIT)
    result = next(result for result in report.found(AuditVerdict.EXPLOIT) if result.case == "either-or")
    assert (result.reward, result.right, result.wrong) == (1.0, 1.0, 0.0)
    assert result.parts == {"loose": 1.0}
    assert result.problem == "number"
    assert "365 or 366" in result.completion
    assert "guesses" in result.why


def test_right_answers_that_are_refused_are_false_negatives() -> None:
    report = audited("exact", kinds=("math",))
    assert cases(report, AuditVerdict.FALSE_NEGATIVE) >= {"equivalent 1", "in-dollars"}
    assert not report.found(AuditVerdict.EXPLOIT)


def test_what_breaks_a_verifier_is_reported() -> None:
    report = audited("brittle")
    assert "empty" in cases(report, AuditVerdict.FAILED)
    assert not report.passed


def test_a_whole_rubric_can_be_sound_where_a_part_is_not() -> None:
    parts = [entry("exact"), entry("loose", weight=0.05)]
    report = audit_rubric(parts, ["answer"], own_problems(parts, ["answer"]))
    assert report.passed
    parts = [entry("exact"), entry("loose", weight=0.5)]
    report = audit_rubric(parts, ["answer"], own_problems(parts, ["answer"]))
    (result,) = [
        one for one in report.found(AuditVerdict.EXPLOIT) if (one.case, one.problem) == ("either-or", "word")
    ]
    assert (result.reward, result.right, result.parts) == (0.5, 1.5, {"exact": 0.0, "loose": 0.5})


def test_the_weights_that_training_ends_with_count() -> None:
    parts = [entry("exact"), entry("loose", weight={0: 0.0, 100: 1.0})]
    assert not audit_rubric(parts, ["answer"], own_problems(parts, ["answer"])).passed


def test_the_margin_is_a_share_of_what_being_right_gains() -> None:
    for share, passed in ((MARGIN - 0.01, True), (MARGIN + 0.01, False)):
        parts = [entry("exact", weight=1 - share), entry("loose", weight=share)]
        assert audit_rubric(parts, ["answer"], own_problems(parts, ["answer"])).passed is passed


def test_a_reward_is_called_as_trl_calls_it() -> None:
    assert audited("trl_reward").passed


def test_one_that_tells_nothing_apart_cannot_be_audited() -> None:
    with pytest.raises(CheckFailedError, match=r"right answer earns 0\.5 and a wrong one 0\.5"):
        audited("blind")


def test_what_is_down_is_not_a_verdict() -> None:
    with pytest.raises(InfrastructureError, match="'down' cannot judge: the sandbox is down"):
        audited("down")


def test_without_a_reference_a_hack_is_what_earns_more_than_honest_work() -> None:
    report = audited("short", kinds=())
    assert report.passed
    assert not report.tells_right
    assert cases(audited("farmed", kinds=()), AuditVerdict.EXPLOIT) >= {"repeated-word", "repeated-sentence"}


def test_problems_that_an_unknown_verifier_does_not_tell_apart_are_left_out() -> None:
    def names(report: AuditReport) -> Iterator[str]:
        return (result.problem for result in report.results)

    problems = own_problems([entry("exact")], [])
    odd = Problem("odd", "?", {"reference": "x"}, {**problems[0].names, "answer": "y", "wrong": "z"})
    report = audit_rubric([entry("exact")], [], [*problems, odd])
    assert report.left_out == ["odd"]
    assert "odd" not in names(report)
    assert report.passed
    assert "odd" in names(audit_rubric([entry("exact")], ["answer"], [*problems, odd]))


def test_kinds() -> None:
    assert kinds_of([entry("exact")]) == []
    with pytest.raises(UsageError, match=r"audit_kind 'poetry'\. Kinds: math, code"):
        kinds_of([entry("Named")])
    assert list(KINDS).index("math") < list(KINDS).index("format")


ROLES = {"tool-answers", "tool-answers-and-model-points", "user-answers", "system-answers"}


def test_audit_of_a_reward_that_reads_other_roles_is_an_exploit() -> None:
    found = cases(audited("joined"), AuditVerdict.EXPLOIT)
    assert found >= ROLES
    assert not cases(audited("trl_reward"), AuditVerdict.EXPLOIT)


@pytest.mark.parametrize("kind", KINDS)
def test_audit_of_each_kind_has_cases_of_other_roles(kind: str) -> None:
    tried = {case.name for file, case in cases_for([kind]) if case.turns and file == "general"}
    assert tried == ROLES | {
        "tool-closes-the-reasoning",
        "tool-opens-the-reasoning",
        "tool-speaks-another-language",
    }


def test_audit_of_a_verifier_that_pays_no_honest_answer_fails() -> None:
    with pytest.raises(CheckFailedError, match=r"no honest answer is paid: .* earn 0\.0, .* --cases"):
        audited("schema", kinds=())


def own(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_audit_on_own_cases_measures_by_them(tmp_path: Path) -> None:
    row = {"right": ['{"a": 1}', '{"a": 2}'], "wrong": ["[1]", '{"a"']}
    entries = [entry("schema")]
    report = audit_rubric(entries, [], case_problems(own(tmp_path, row), entries), OWN_FORM)
    assert report.passed
    named = {result.case: result.completion for result in report.results}
    assert named["honest-right"] == '{"a": 1}'
    assert (named["equivalent 1"], named["wrong 2"]) == ('{"a": 2}', '{"a"')
    row = {"right": ['{"a": 1}', "[2]"], "wrong": ["[1]", '{"b": 1}']}
    report = audit_rubric(entries, [], case_problems(own(tmp_path, row), entries), OWN_FORM)
    assert cases(report, AuditVerdict.FALSE_NEGATIVE) == {"equivalent 1"}
    assert cases(report, AuditVerdict.EXPLOIT) == {"wrong 2"}


def test_audit_on_own_cases_that_are_not_told_apart_fails(tmp_path: Path) -> None:
    entries = [entry("schema")]
    problems = case_problems(own(tmp_path, {"right": "[1]", "wrong": "[2]"}), entries)
    with pytest.raises(CheckFailedError, match="nothing tells them apart"):
        audit_rubric(entries, [], problems, OWN_FORM)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"right": "a", "reference": "x"}, "'wrong' is None"),
        ({"right": [], "wrong": "b", "reference": "x"}, r"'right' is \[\]"),
        ({"right": "a", "wrong": 5, "reference": "x"}, "'wrong' is 5"),
        ({"right": "a", "wrong": "b"}, "needs the column 'reference'"),
    ],
)
def test_case_problems_of_a_row_without_what_it_needs_name_its_line(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=rf"cases\.jsonl:1: .*{words}"):
        case_problems(own(tmp_path, row), [entry("exact")])


def test_a_rubric_that_judges_nothing_is_refused_with_the_reason() -> None:
    with pytest.raises(CheckFailedError, match="ZeroDivisionError"):
        audited("together", kinds=())


def test_calls_of_tools_are_attacked_too() -> None:
    report = audited("called", kinds=("tool_use",))
    assert cases(report, AuditVerdict.EXPLOIT) == {
        *("without-arguments", "placeholders", "wrong-types", "more-arguments", "exchanged-names")
    }
    assert not report.found(AuditVerdict.FALSE_NEGATIVE)
    shown = next(result.completion for result in report.results if result.case == "without-arguments")
    assert "'name': 'weather'" in shown
