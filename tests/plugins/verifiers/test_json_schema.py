"""Documents that fit a schema: five formats, loose schemas, and documents that attack their parsers."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon.errors import MissingDependencyError
from guerdon_plugins.verifiers.json_schema import JsonSchema

PERSON = {
    "type": "object",
    "required": ["name", "born"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "born": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
ROWS = {"type": "array", "minItems": 1, "items": PERSON}


@pytest.mark.parametrize(
    ("format", "answer", "schema"),
    [
        ("json", '{"name": "Ada", "born": 1815}', PERSON),
        ("json", 'Here:\n```json\n{"name": "艾达", "born": 1815}\n```', PERSON),
        ("yaml", "name: Ada\nborn: 1815\ntags: [a, b]", PERSON),
        ("yaml", "```yml\nname: Ada\nborn: 1815\n```", PERSON),
        ("toml", 'name = "Ada"\nborn = 1815', PERSON),
        (
            "xml",
            "<p><name>Ada</name><born>1815</born><tags>a</tags></p>",
            {"type": "object", "required": ["p"], "properties": {"p": PERSON}},
        ),
        ("csv", 'name,born\n"Lovelace, Ada",1815\n', ROWS),
    ],
)
def test_json_schema_document_that_fits_scores_1(format: Any, answer: str, schema: Any) -> None:
    verifier = JsonSchema(format=format)
    assert verifier(answer, schema).value == 1.0
    assert verifier(answer, None, json.dumps(schema)).value == 1.0
    assert JsonSchema(schema, format)(f"<think>so</think>{answer}").value == 1.0
    assert verifier(answer.replace("1815", "soon"), schema).value == 0.0


@pytest.mark.parametrize(
    ("format", "answer"),
    [
        ("json", '{"name": "Ada", "born": NaN}'),
        ("json", '{"name": "Ada", "born": 1, "born": 2}'),
        ("json", '{"name": "Ada", "born": 1} {}'),
        ("json", "[" * 50_000),
        ("json", "[" * 400 + "]" * 400),
        ("json", '{"name": "' + "a" * 200_000 + '", "born": 1}'),
        ("yaml", "a: &a [x, x]\nb: &b [*a, *a]\nname: Ada\nborn: 1"),
        ("yaml", "- " * 20_000),
        ("yaml", "[" * 20_000),
        ("yaml", "name: Ada\nborn: 1\n---\nname: B\nborn: 2"),
        ("yaml", "!!python/object/apply:os.system ['true']"),
        ("yaml", "name: Ada\nname: Bob\nborn: 1"),
        ("toml", "name = "),
        ("xml", '<!DOCTYPE p [<!ENTITY a "b">]><p><name>&a;</name><born>1</born></p>'),
        ("xml", "<a>" * 5000),
        ("xml", "<a>" * 500 + "</a>" * 500),
        ("csv", "name,born\nAda"),
        ("csv", "name,name\nAda,1"),
        ("csv", "name,born"),
        ("csv", ""),
    ],
)
def test_json_schema_broken_or_hostile_document_scores_0(format: Any, answer: str) -> None:
    assert JsonSchema(format=format)(answer, PERSON).value == 0.0


@pytest.mark.parametrize(
    "schema",
    [
        None,
        "",
        "{",
        7,
        [],
        "[]",
        "[" * 50_000,
        {"type": "no type"},
        {"type": "object", "required": "name"},
        {},
        {"type": "object"},
        {"type": "array"},
        {"type": "string"},
        {"required": ["a"]},
        {"anyOf": [{"type": "null"}, {"type": "object"}]},
        {"type": "integer", "pattern": "("},
    ],
)
def test_json_schema_loose_or_unreadable_schema_fails(schema: Any) -> None:
    score = JsonSchema()('{"a": 1}', schema)
    assert score.failure is Failure.REFERENCE
    assert "schema" in score.explanation


def test_json_schema_remote_reference_is_not_fetched() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}
    score = JsonSchema()('{"a": 1}', schema)
    assert score.failure is Failure.REFERENCE


def test_json_schema_loose_param_accepts_an_empty_value() -> None:
    assert JsonSchema(loose=True)("{}", {"type": "object"}).value == 1.0
    with pytest.raises(ValueError, match=r"accepts \{\}, so an empty answer scores 1"):
        JsonSchema({"type": "object"})


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ('{"name": "Ada", "born": 1}', 1.0),
        ('{"name": "Ada"}', 0.5),
        ('{"name": "Ada", "born": "x"}', 0.5),
        ('{"name": "", "born": null}', 0.0),
        ("{}", 0.0),
        ('{"name": "Ada", "x": 1}', 0.0),
        ("[]", 0.0),
        ("name", 0.0),
    ],
)
def test_json_schema_partial_credit_is_the_share_of_required_properties(answer: str, share: float) -> None:
    assert JsonSchema(partial_credit=True)(answer, PERSON).value == share


def test_json_schema_gold_completion_is_the_first_example() -> None:
    schema = {**PERSON, "examples": [{"name": "Ada", "born": 1}]}
    gold = JsonSchema().gold_completion(schema)
    assert gold is not None
    assert JsonSchema()(gold, schema).value == 1.0
    assert JsonSchema().gold_completion(PERSON) is None
    assert JsonSchema().gold_completion("") is None


def test_json_schema_without_jsonschema_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'guerdon\[json-schema\]'"):
        JsonSchema()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=5), items, max_size=3),
)


@given(JSON)
def test_json_schema_constant_is_fitted_by_itself_only(value: Any) -> None:
    verifier = JsonSchema({"const": value}, loose=True)
    assert verifier(json.dumps(value)).value == 1.0
    assert verifier(json.dumps([value, "other"])).value == 0.0


@given(st.text(max_size=100), st.sampled_from(["json", "yaml", "toml", "xml", "csv"]))
def test_json_schema_any_text_gets_a_score(answer: str, format: Any) -> None:
    assert JsonSchema(PERSON, format)(answer).value in (0.0, 1.0)


BOUNDED = {
    "type": "object",
    "required": ["a"],
    "properties": {"a": {"type": "number", "minimum": 0, "maximum": 10}},
}


@pytest.mark.parametrize(
    ("format", "document"),
    [
        ("json", '{"a": 1e999}'),
        ("yaml", "a: .nan"),
        ("yaml", "a: .inf"),
        ("yaml", "a: [" + "[" * 200),
        ("yaml", "a: &x 1\nb: *x"),
        ("yaml", "a: 1\n" * 20_000),
        ("toml", "a = nan"),
        ("toml", "a = -nan"),
        ("toml", ".".join(["a"] * 20_000) + " = 1"),
    ],
)
def test_json_schema_number_that_json_lacks_or_endless_document_scores_0(format: Any, document: str) -> None:
    assert JsonSchema(format=format)(document, schema=BOUNDED).value == 0.0


def test_json_schema_huge_number_is_the_documents_fault_and_scores_0() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "number", "multipleOf": 0.5}}}
    assert JsonSchema()(f'{{"a": {"9" * 400}}}', schema=schema).value == 0.0


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"$ref": "#/$defs/x"}},
        },
    ],
)
def test_json_schema_that_refers_to_itself_without_end_fails_as_a_reference(schema: dict[str, Any]) -> None:
    assert JsonSchema()('{"a": 1}', schema=schema).failure is Failure.REFERENCE


@pytest.mark.parametrize(
    ("pattern", "text", "value"),
    [
        ("^a+$", "aa", 1.0),
        ("^a+$", "aa\n", 0.0),
        ("^(a|b$)", "b\n", 0.0),
        (r"^\$5$", "$5", 1.0),
        ("^[$]$", "$", 1.0),
        ("^[^$]$", "$", 0.0),
        (r"^[\]$]$", "$", 1.0),
    ],
)
def test_json_schema_dollar_of_a_pattern_is_the_end_of_the_text(
    pattern: str, text: str, value: float
) -> None:
    by_value = {"type": "object", "properties": {"pattern": {"type": "string", "pattern": pattern}}}
    assert JsonSchema({**by_value, "required": ["pattern"]})(json.dumps({"pattern": text})).value == value
    by_name = {"type": "object", "patternProperties": {pattern: {}}, "additionalProperties": False}
    assert JsonSchema({**by_name, "minProperties": 1})(json.dumps({text: 1})).value == value


def test_json_schema_document_in_a_span_of_code_is_read() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"const": "a$"}}}
    assert JsonSchema(schema)('`{"a": "a$"}`').value == 1.0
    assert JsonSchema(schema)('`{"a": "a$"}` `{"a": 1}`').value == 0.0
