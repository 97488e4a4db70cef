"""The built-ins pass their own audit; what is gameable by its purpose fails it where docs/reference/audit.md says."""

from __future__ import annotations

from typing import Any

import pytest

from guerdon.audit import AuditVerdict, audit_rubric, kinds_of, own_problems
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry


def entry(use: str, weight: float = 1.0, **params: Any) -> Entry:
    return Entry(use, load_component(find_plugin(use, SCORERS), params, None), weight)


def exploits(*entries: Entry, kinds: tuple[str, ...] = ()) -> set[str]:
    chosen = list(kinds) or kinds_of(entries)
    report = audit_rubric(entries, chosen, own_problems(entries, chosen))
    assert not report.found(AuditVerdict.FALSE_NEGATIVE)
    assert not report.found(AuditVerdict.FAILED)
    return {result.case for result in report.found(AuditVerdict.EXPLOIT)}


@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("math", {}),
        ("math", {"extraction": "answer"}),
        ("math", {"extraction": "auto"}),
        ("abstain", {}),
        ("abstain", {"mode": "confidence"}),
        ("boxes", {}),
        ("boxes", {"threshold": 0.5}),
        ("choice", {}),
        ("choice", {"extraction": "answer"}),
        ("citations", {}),
        ("citations", {"every_sentence": True}),
        ("format", {}),
        ("format", {"prefilled": True}),
        ("format", {"partial_credit": True}),
        ("format", {"tags": ["think"], "free_answer": True}),
        ("format", {"tags": ["plan", "think", "answer"], "numbered_steps": True}),
        ("language", {}),
        ("language", {"target": "de"}),
        ("tag_count", {}),
        ("code_format", {}),
        ("length", {"max_words": 200}),
        ("instructions", {}),
        ("instructions", {"loose": True}),
        ("json_schema", {}),
        ("json_schema", {"partial_credit": True}),
        ("match", {}),
        ("overlap", {}),
        ("overlap", {"metric": "chrf++"}),
        ("overlap", {"metric": "bleu"}),
        ("overlap", {"metric": "rouge_l"}),
        ("overlap", {"metric": "wer"}),
        ("qa", {}),
        ("qa", {"extraction": "answer"}),
        ("reasoning_steps", {}),
        ("readable", {}),
        ("sql", {}),
        ("tokens", {"target": 100}),
        ("tool_use", {}),
        ("tool_use", {"order": False}),
        ("repetition_penalty", {}),
        ("soft_overlong_punishment", {"max_completion_len": 300, "soft_punish_cache": 100}),
    ],
)
def test_alone(use: str, params: dict[str, Any]) -> None:
    assert exploits(entry(use, **params)) == set()


@pytest.mark.docker
@pytest.mark.parametrize("scoring", ["all", "fraction"])
def test_code(scoring: str) -> None:
    assert exploits(entry("code", scoring=scoring)) == set()


def test_what_is_gameable_by_its_purpose() -> None:
    assert exploits(entry("length", min_words=80)) == {"repeated-word", "repeated-sentence"}
    assert exploits(entry("match", mode="ends")) >= {"either-or", "negated"}
    assert exploits(entry("overlap", metric="cer")) == {"frequent-letters"}
    # A share of the words is a share of the reward.
    assert exploits(entry("qa", metric="f1")) == {
        "comma-list",
        "either-or",
        "either-or-right-first",
        "negated",
    }
    assert "wrong-answer-repeated" in exploits(entry("cosine"), kinds=("math",))
    # Reasoning in Latin letters cannot be told from code.
    assert exploits(entry("language", target="zh")) == {"foreign-in-code", "foreign-in-formula"}


def test_what_mends_it() -> None:
    assert exploits(entry("length", min_words=80), entry("repetition_penalty")) == set()


def test_the_rule_rewards_of_r1_together() -> None:
    assert exploits(entry("math"), entry("format", 0.5), entry("language", 0.2)) == set()


def test_arithmetic_left_undone_is_the_exploit_that_its_param_opens() -> None:
    assert exploits(entry("math", calculations=True)) == {"restated-question"}
