"""The form of a judge's answer: one JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.text import code_blocks, split_reasoning

_FENCE_AT_END = re.compile(r"(?:```|~~~)\s*\Z")
_OBJECT = re.compile(r'\{\s*"')
"""The start of an object of JSON."""


@dataclass(frozen=True, slots=True)
class Form:
    """The object's keys: some texts, in which the judge reasons before it decides, and the decision."""

    texts: Mapping[str, str]
    """The purpose of each text, by key."""
    decision: str
    """The key of the decision."""
    choices: Sequence[int] | Sequence[str]

    max_tokens: ClassVar[int] = 512

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema."""
        kind = "string" if isinstance(self.choices[0], str) else "integer"
        properties: dict[str, Any] = {
            name: {"type": "string", "description": what} for name, what in self.texts.items()
        }
        properties[self.decision] = {"type": kind, "enum": list(self.choices)}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def in_words(self) -> str:
        """Return the form as text for the judge."""
        if isinstance(self.choices[0], str):
            decision = " or ".join(f'"{choice}"' for choice in self.choices)
        else:
            decision = f"an integer from {self.choices[0]} to {self.choices[-1]}"
        keys = [f'"{name}": a string, {what}' for name, what in self.texts.items()]
        return "\n".join([*keys, f'"{self.decision}": {decision}'])

    def read(self, text: str, asked: str = "") -> dict[str, Any]:
        """Return the form's object in a judge's answer to a question, as ``json_object`` finds it.

        Raises:
            ValueError: The answer is something else.
        """
        return self.check(json_object(text, asked))

    def check(self, found: Any) -> dict[str, Any]:
        """Return only the form's keys of an object. 7.0 is the grade 7.

        Raises:
            ValueError: The object is not of this form.
        """
        expected = [*self.texts, self.decision]
        if not isinstance(found, dict) or not set(expected) <= set(found):
            raise ValueError(f"it is not an object with the keys {', '.join(expected)}")
        for name in self.texts:
            if not isinstance(found[name], str):
                raise ValueError(f'"{name}" is not a string')
        decision = found[self.decision]
        if isinstance(decision, float) and decision.is_integer():
            decision = int(decision)
        if type(decision) is not type(self.choices[0]) or decision not in self.choices:
            raise ValueError(f'"{self.decision}" is {json.dumps(decision)[:40]}')
        return {name: found[name] for name in self.texts} | {self.decision: decision}


@dataclass(frozen=True, slots=True)
class CriteriaForm:
    """An object with one decision for each criterion, whose keys are the criteria's numbers from 1."""

    forms: Sequence[Form]
    """The form of each criterion's decision."""

    @property
    def max_tokens(self) -> int:
        """Return the most tokens of an answer, by default: 256 for each criterion, and at least 512."""
        return max(512, 256 * len(self.forms))

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema."""
        properties = {key: form.schema() for key, form in self._by_key().items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def in_words(self) -> str:
        """Return the form as text for the judge."""
        texts = [f'"{name}": a string, {what}; ' for name, what in self.forms[0].texts.items()]
        numbers = ", ".join(f'"{key}"' for key in self._by_key())
        decision = self.forms[0].decision
        return (
            f"{numbers}: for the criterion of that number, an object with the keys {''.join(texts)}"
            f'"{decision}": one of the criterion\'s choices, exactly as it is written'
        )

    def read(self, text: str, asked: str = "") -> dict[str, Any]:
        """Return each criterion's object in a judge's answer to a question, by number.

        Raises:
            ValueError: The answer is something else.
        """
        found = json_object(text, asked)
        forms = self._by_key()
        if not isinstance(found, dict) or not set(forms) <= set(found):
            raise ValueError(f"it is not an object with the keys {', '.join(forms)}")
        verdicts = {}
        for key, form in forms.items():
            try:
                verdicts[key] = form.check(found[key])
            except ValueError as error:
                raise ValueError(f"in criterion {key}, {error}") from None
        return verdicts

    def _by_key(self) -> dict[str, Form]:
        return {str(number): form for number, form in enumerate(self.forms, start=1)}


def json_object(text: str, asked: str) -> Any:
    """Return the JSON in a judge's answer: all of it, all text after reasoning in tags, or its one code fence.

    Prose may come before the fence but not after it: a fence with text after it may quote the judged text. For the same
    reason, the prose may hold no object of its own, and text found by a tag or a fence must not be in the question.

    Args:
        text: The answer.
        asked: The question, which holds the judged text.

    Raises:
        ValueError: The answer is something else, or a key is there twice.
    """
    if text.lstrip().startswith("{"):  # its strings may quote tags and fences
        return _loaded(text)
    answer = split_reasoning(text).answer
    blocks = code_blocks(answer)
    if len(blocks) > 1:
        raise ValueError("it has several code fences")
    if blocks and not (blocks[0].closed and _FENCE_AT_END.search(answer)):
        raise ValueError("its code fence does not end the answer")
    if blocks and len(_OBJECT.findall(answer)) > len(_OBJECT.findall(blocks[0].code)):
        raise ValueError("it has an object before its code fence")
    found = blocks[0].code if blocks else answer
    if _without_space(found) in _without_space(asked):
        raise ValueError("its object is a quote of the question")
    return _loaded(found)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not a JSON object: {error}") from None


def _without_space(text: str) -> str:
    return "".join(text.split())


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
