"""The corpus is sound data: every file reads, every case says why, every template can be filled."""

from __future__ import annotations

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guerdon.audit.corpus import KINDS, Attack, Template, cases_for, fill, load_corpus, missing_names, write
from guerdon.audit.forms import forms

FILES = sorted(
    file.name.removesuffix(".yaml")
    for file in (resources.files("guerdon.audit") / "corpora").iterdir()
    if file.name.endswith(".yaml") and file.name != "texts.yaml"
)


def test_every_kind_has_a_file() -> None:
    assert set(KINDS) < set(FILES)
    assert all(load_corpus(kind).problems for kind in KINDS)


@pytest.mark.parametrize("name", FILES)
def test_every_case_says_why_once(name: str) -> None:
    cases = load_corpus(name).cases
    assert cases
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.why.endswith((".", ").")) and len(case.why) > 20 for case in cases)


@pytest.mark.parametrize("kind", KINDS)
def test_each_case_of_a_kind_comes_once_and_the_general_ones_first(kind: str) -> None:
    cases = cases_for([kind, kind])
    names = [case.name for _, case in cases]
    assert names[0] == "empty"
    assert len(set(names)) == len(names)
    assert {file for file, _ in cases} >= {"general", kind}


def test_a_template_says_one_thing() -> None:
    for wrong in ({}, {"completion": "a", "answer": "b"}):
        with pytest.raises(ValidationError, match="either 'completion'"):
            Template(**wrong)
    with pytest.raises(ValidationError):
        Attack(name="x", why="y", answer="a", repeat=0)


@given(st.dictionaries(st.sampled_from(["prompt", "answer", "wrong", "reasoning"]), st.text()))
def test_what_is_filled_in_is_taken_as_it_is(names: dict[str, str]) -> None:
    template = Template(completion="<[[answer]]|[[unknown]]>")
    assert missing_names(template, names) == {"answer", "unknown"} - names.keys()
    assert write(template, "", names) == f"<{names.get('answer', '[[answer]]')}|[[unknown]]>"


def test_values_with_placeholders_in_them_are_not_filled_again() -> None:
    assert fill("[[answer]]", {"answer": "[[wrong]]", "wrong": "7"}) == "[[wrong]]"
    assert write(Template(answer="\\frac{[[answer]]}{2}"), "\\boxed{[[answer]]}", {"answer": "7"}) == (
        "\\boxed{\\frac{7}{2}}"
    )


def test_forms_show_the_reasoning_first_and_are_all_different() -> None:
    found = list(forms(["think", "answer"], ["\\boxed{[[answer]]}"]))
    assert found[0] == "<think>\n[[reasoning]]\n</think>\n\\boxed{[[answer]]}"
    assert "[[answer]]" in found
    assert len(set(found)) == len(found)
    assert all("[[answer]]" in form for form in found)
