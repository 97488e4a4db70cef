"""What a judge has to answer: one JSON object of a fixed form, and nothing around it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.text import split_reasoning

_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Form:
    """The object's keys: some texts, in which the judge reasons before it decides, and the decision."""

    texts: Mapping[str, str]
    """What each text is for, by key."""
    decision: str
    """The key of the decision."""
    choices: Sequence[int] | Sequence[str]

    def schema(self) -> dict[str, Any]:
        """The form as JSON Schema."""
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
        """The form as a judge reads it."""
        if isinstance(self.choices[0], str):
            decision = " or ".join(f'"{choice}"' for choice in self.choices)
        else:
            decision = f"an integer from {self.choices[0]} to {self.choices[-1]}"
        keys = [f'"{name}": a string, {what}' for name, what in self.texts.items()]
        return "\n".join([*keys, f'"{self.decision}": {decision}'])

    def read(self, text: str) -> dict[str, Any]:
        """The object in a judge's answer, which may come after reasoning in tags and inside one code fence.

        Raises:
            ValueError: The answer is something else.
        """
        answer = split_reasoning(text).answer
        fenced = _FENCED.fullmatch(answer)
        try:
            found = json.loads(fenced[1] if fenced else answer, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON object: {error}") from None
        return self.check(found)

    def check(self, found: Any) -> dict[str, Any]:
        """The object itself, if it is of this form.

        Raises:
            ValueError: It is not.
        """
        expected = [*self.texts, self.decision]
        if not isinstance(found, dict) or set(found) != set(expected):
            raise ValueError(
                f"it is no object with the keys {', '.join(expected)}, all of them and no others"
            )
        for name in self.texts:
            if not isinstance(found[name], str):
                raise ValueError(f'"{name}" is no string')
        decision = found[self.decision]
        if type(decision) is not type(self.choices[0]) or decision not in self.choices:
            raise ValueError(f'"{self.decision}" is {json.dumps(decision)[:40]}')
        return found


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
