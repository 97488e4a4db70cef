"""The verifier: a completion and a JSON Schema in, a score out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from guerdon import Failure, Row, Score
from guerdon.data.references import plain
from guerdon.errors import library_of
from guerdon.text import checked_tags, code_blocks, select_part
from guerdon_plugins.shared.hints import Hint
from guerdon_plugins.verifiers.json_schema.documents import FENCES, Format, parse, typed

MAX_SCHEMA = 200_000
"""The most characters of a schema."""

_SHALLOW = 20
"""A document with at most this many levels cannot exhaust the stack, whatever the schema."""


class JsonSchema:
    """Scores 1 for an answer that is one document of a format and fits a JSON Schema.

    The document is the last fenced block of the answer, or, without one, all of the answer. A schema that ``{}``,
    ``[]``, an empty text or ``null`` fits pays for nothing; such a row fails, and ``guerdon check`` names it.

    Args:
        schema: The schema of all rows; by default the row's column ``schema``, else its reference.
        format: ``json``, ``yaml``, ``toml``, ``xml`` or ``csv``. The texts in XML and CSV get the types that the schema
            names.
        partial_credit: Whether an object with errors gets the share of its required properties that fit. Errors of the
            object itself, such as an unknown property, score 0.
        loose: Whether a schema may accept an empty value.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        MissingDependencyError: The package ``jsonschema`` is not installed.
        ValueError: ``schema`` is not a JSON Schema, or it accepts an empty value and ``loose`` is not set.
    """

    audit_kind = "json_schema"

    def __init__(
        self,
        schema: Mapping[str, Any] | None = None,
        format: Format = "json",
        partial_credit: bool = False,
        loose: bool = False,
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        with library_of("verifier 'json_schema'", extra="json-schema"):
            import jsonschema  # noqa: F401
        if format not in FENCES:
            raise ValueError(f"format is {format!r}; give one of {', '.join(FENCES)}")
        self._format: Format = format
        self._partial_credit = partial_credit
        self._loose = loose
        self._tags = checked_tags(reasoning_tags)
        self._schema = None if schema is None else _text(schema)
        if self._schema is not None:
            _validator(self._schema, loose)

    def __call__(self, completion: str, reference: Any = None, schema: Any = None) -> Score:
        try:
            text = self._schema or _text(schema if schema is not None else reference)
            validator = _validator(text, self._loose)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        document = self._document(completion)
        try:
            value = parse(document, self._format)
        except ValueError as error:
            return Score(0.0, answer=document[:1000], explanation=str(error))
        if self._format in ("xml", "csv"):
            value = typed(value, validator.schema)
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: len(error.absolute_path))
        except RecursionError:
            if _depth(value) > _SHALLOW:
                return Score(0.0, explanation="the document is nested too deeply for the schema")
            return Score.failed(Failure.REFERENCE, "the schema refers to itself without end")
        except Exception as error:  # a reference that cannot be resolved, a pattern that is not one
            return Score.failed(Failure.REFERENCE, f"the schema cannot be applied: {str(error)[:200]}")
        if not errors:
            return Score(1.0, answer=document[:1000])
        where = "/".join(map(str, errors[0].absolute_path))
        share = _share(validator.schema, errors) if self._partial_credit else 0.0
        return Score(
            share, answer=document[:1000], explanation=f"{where or 'the document'}: {errors[0].message[:200]}"
        )

    def gold_completion(self, reference: Any) -> str | None:
        """Return the schema's first example as JSON, or ``None`` if it has none."""
        try:
            schema = json.loads(self._schema or _text(reference))
        except (ValueError, RecursionError):
            return None
        examples = schema.get("examples") if isinstance(schema, Mapping) else None
        if isinstance(examples, list) and examples and self._format in ("json", "yaml"):
            return json.dumps(examples[0])
        return None

    def prompt_hint(self, row: Row) -> Hint:
        """Return the format, which the prompt must name."""
        return {self._format.upper(): [self._format]}

    def _document(self, completion: str) -> str:
        answer = select_part(completion, "answer", self._tags)
        blocks = [block for block in code_blocks(answer) if block.language in ("", *FENCES[self._format])]
        return blocks[-1].code if blocks and blocks[-1].closed else _CODE.sub(r"\1", answer)


def _depth(value: Any) -> int:
    """Return the number of levels of a document."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, items), default=0)


def _text(schema: Any) -> str:
    """Return a schema as JSON, by which validators are kept.

    Raises:
        ValueError: It is not a mapping, or not the JSON of one.
    """
    value = plain(schema)
    text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
    if not isinstance(value, str | Mapping) or len(text) > MAX_SCHEMA or not text.strip():
        raise ValueError(f"the schema is {value!r:.60}; give a JSON Schema, as a mapping or as JSON")
    return text


@lru_cache(maxsize=256)
def _validator(text: str, loose: bool) -> Any:
    """Return the validator of a schema.

    Raises:
        ValueError: It is not a JSON Schema, or accepts an empty value although ``loose`` is not set.
    """
    import jsonschema
    from referencing import Registry

    try:
        schema = _with_ends_of_text(json.loads(text))
        if not isinstance(schema, Mapping):
            raise ValueError("it is not a mapping")
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except (ValueError, RecursionError, jsonschema.SchemaError) as error:
        reason = getattr(error, "message", str(error))[:200]
        raise ValueError(f"the schema {text[:40]!r} is not a JSON Schema: {reason}") from None
    # An empty registry: no reference is fetched.
    validator = kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)
    accepted = None if loose else _empty_value(validator, schema)
    if accepted is not None:
        raise ValueError(
            f"the schema {text[:40]!r} accepts {accepted}, so an empty answer scores 1; add 'type', 'required' or "
            "'minItems', or set 'loose'"
        )
    return validator


_CODE = re.compile(r"\A\s*`([^`]+)`\s*\Z")
_DOLLAR = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)
_DATA = frozenset(("const", "enum", "default", "examples"))
"""Keywords whose values are not schemas."""
_SCHEMAS_BY_NAME = frozenset(("properties", "$defs", "definitions", "dependentSchemas"))


def _with_ends_of_text(schema: Any) -> Any:
    r"""Return a schema with ``\Z`` for ``$`` in its patterns: in Python, ``$`` matches before a line end too."""
    if isinstance(schema, list):
        return list(map(_with_ends_of_text, schema))
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str):
            made[key] = _end_of_text(value)
        elif key == "patternProperties" and isinstance(value, Mapping):
            made[key] = {_end_of_text(name): _with_ends_of_text(inner) for name, inner in value.items()}
        elif key in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            made[key] = {name: _with_ends_of_text(inner) for name, inner in value.items()}
        else:
            made[key] = value if key in _DATA else _with_ends_of_text(value)
    return made


def _end_of_text(pattern: str) -> str:
    return _DOLLAR.sub(lambda found: found[1] or r"\Z", pattern)


def _empty_value(validator: Any, schema: Mapping[str, Any]) -> str | None:
    required = schema.get("required")
    nulls = [dict.fromkeys(required)] if isinstance(required, list) else []
    empty: list[Any] = [{}, [], "", None, *nulls]
    for value in empty:
        try:
            if validator.is_valid(value):
                return json.dumps(value)
        except Exception:  # a reference that cannot be resolved: judging says so
            return None
    return None


def _share(schema: Mapping[str, Any], errors: Sequence[Any]) -> float:
    """Return the share of required properties without an error, or 0 if the object itself has another error."""
    required = schema.get("required") or []
    if not required or any(not error.absolute_path and error.validator != "required" for error in errors):
        return 0.0
    missing = {
        name
        for error in errors
        if error.validator == "required" and not error.absolute_path
        for name in required
        if name not in error.instance
    }
    wrong = {error.absolute_path[0] for error in errors if error.absolute_path}
    return sum(name not in missing and name not in wrong for name in required) / len(required)
