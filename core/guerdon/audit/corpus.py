"""The exploit corpus: problems, and cases as templates that a problem fills.

A template names its placeholders in double brackets: ``[[prompt]]``, ``[[answer]]`` (right), ``[[wrong]]``,
``[[reasoning]]`` and so on. A case applies to the problems that have all of its placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ruamel.yaml import YAML

from guerdon.types import Messages, Row

KINDS = (
    "math",
    "code",
    "choice",
    "instructions",
    "json_schema",
    "sql",
    "overlap",
    "citations",
    "boxes",
    "tool_use",
    "lean",
    "answer",
    "judge",
    "judge_criteria",
    "judge_pairs",
    "judge_rank",
    "preference",
    "language",
    "format",
)
"""The kinds of verifiers that have a corpus. The first of these that a rubric has decides right and wrong."""

_PLACEHOLDER = re.compile(r"\[\[([a-z_]+)\]\]")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Template(_Part):
    """A template of a completion: whole, or as reasoning and answer for the form that the rubric expects."""

    completion: str | None = None
    reasoning: str | None = None
    answer: str | None = None
    calls: str | None = None
    """The calls of tools that come with the text: a JSON list of ``name`` and ``arguments``."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Template:
        if self._things() != 1:
            raise ValueError(
                "give either 'completion', or 'reasoning' and 'answer', or placeholders for them"
            )
        return self

    def _things(self) -> int:
        return (self.completion is not None) + (self.reasoning is not None or self.answer is not None)


class Turn(Template):
    """One role's message in a conversation."""

    role: str
    honest: Literal["right", "wrong"] | None = None
    """Instead of a text: the kind's honest answer."""

    def _things(self) -> int:
        return super()._things() + (self.honest is not None)


class Attack(Template):
    """One way to cheat, or one honest answer that must not be refused."""

    turns: list[Turn] = []
    """Instead of a text: a conversation, of which only the assistant's turns come from the model."""
    name: str
    why: str
    """Why a model would find it, or why it is right."""
    expect: Literal["no gain", "right"] = "no gain"
    repeat: Annotated[int, Field(gt=0)] = 1
    """How often the completion is repeated."""

    def _things(self) -> int:
        return super()._things() + bool(self.turns)


class _Honest(_Part):
    right: Template = Template(answer="[[answer]]")
    wrong: Template = Template(answer="[[wrong]]")


class _Equivalent(_Part):
    answer: str
    why: str


class _ProblemData(_Part):
    name: str
    prompt: str
    columns: dict[str, Any] = {}
    names: dict[str, str] = {}
    answer: str
    wrong: str
    equivalents: list[_Equivalent] = []


class Corpus(_Part):
    """The content of one file."""

    include: list[str] = []
    """Other files whose cases belong to this kind too."""
    honest: _Honest = _Honest()
    problems: list[_ProblemData] = []
    cases: list[Attack]


@dataclass(frozen=True, slots=True)
class Problem:
    """A data row with honest answers, right and wrong."""

    name: str
    prompt: str | Messages
    columns: Row
    names: Mapping[str, str]
    """The values of the templates' placeholders."""
    equivalents: Sequence[tuple[str, str]] = field(default_factory=tuple)
    """Other right answers, each with why it is right."""
    wrongs: Sequence[str] = field(default_factory=tuple)
    """Other wrong answers."""


@cache
def load_corpus(name: str) -> Corpus:
    """Return one file of the corpus."""
    return Corpus.model_validate(_read(name))


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """Return honest reasoning by language."""
    loaded: Mapping[str, Mapping[str, str]] = _read("texts")
    return loaded


def _read(name: str) -> Any:
    file = resources.files("guerdon.audit") / "corpora" / f"{name}.yaml"
    return YAML(typ="safe").load(file.read_text(encoding="utf-8"))


def cases_for(kinds: Sequence[str]) -> list[tuple[str, Attack]]:
    """Return every case that fits verifiers of these kinds, each once, with the file that it comes from."""
    files: list[str] = ["general"]
    waiting = list(kinds)
    while waiting:
        name = waiting.pop(0)
        if name not in files:
            files.append(name)
            waiting += load_corpus(name).include
    return [(name, case) for name in files for case in load_corpus(name).cases]


def missing_names(template: Template, names: Mapping[str, str]) -> set[str]:
    """Return the placeholders of a template that have no value."""
    if isinstance(template, Attack) and template.turns:
        return set().union(*(missing_names(turn, names) for turn in template.turns))
    parts = (template.completion, template.reasoning, template.answer, template.calls)
    text = "".join(part for part in parts if part)
    return set(_PLACEHOLDER.findall(text)) - names.keys()


def fill(text: str, names: Mapping[str, str]) -> str:
    """Return a text with its placeholders replaced. Inserted text is not expanded further."""
    return _PLACEHOLDER.sub(lambda found: names.get(found[1], found[0]), text)


def write(template: Template, form: str, names: Mapping[str, str]) -> str:
    """Return a completion: the filled template, put into the form unless it already is a whole completion."""
    if template.completion is not None:
        return fill(template.completion, names)
    reasoning = fill(template.reasoning if template.reasoning is not None else "[[reasoning]]", names)
    answer = fill(template.answer if template.answer is not None else "[[answer]]", names)
    return fill(form, {**names, "reasoning": reasoning, "answer": answer})
