"""The forms that answers are written in, and the form that a rubric rewards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from guerdon.errors import PluginContractError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.plugins.gold import gold_completion
from guerdon.plugins.signatures import valid_params
from guerdon.rubric import Entry
from guerdon.text import tag_marks

DEFAULT_TAGS = ("think", "answer")

PLACEHOLDER = "[[answer]]"
"""The placeholder of the answer in a template."""


def tags_of(entries: Sequence[Entry]) -> Sequence[str]:
    """Return the tags that a rubric requires: the param ``tags`` of the first entry that has one."""
    for entry in entries:
        tags = _param(entry.component, "tags")
        if isinstance(tags, list | tuple) and tags and all(isinstance(tag, str) for tag in tags):
            return tags
    return DEFAULT_TAGS


def target_language(entries: Sequence[Entry]) -> str | None:
    """Return the language that a rubric requires: the param ``target`` of a verifier of the kind ``language``."""
    for entry in entries:
        target = _param(entry.component, "target")
        if isinstance(target, str):
            return target.lower().partition("-")[0]
    return None


def _param(component: Component, name: str) -> Any:
    if name in component.params:
        return component.params[name]
    known = valid_params(component.kind, component.loaded)
    return known[name].default if name in known else None


def forms(tags: Sequence[str], golds: Sequence[str]) -> Iterator[str]:
    """Yield templates with ``[[reasoning]]`` and ``[[answer]]``, those with more visible reasoning first.

    Args:
        tags: The tags of the reasoning and the answer. Those between the first and the last hold reasoning too.
        golds: Forms of an answer that verifiers name.
    """
    first, last = tags[0], tags[-1]
    thought = "\n".join("{}\n[[reasoning]]\n{}".format(*tag_marks(tag)) for tag in tags[:-1] or tags)
    tagged = "{}{{}}{}".format(*tag_marks(last)) if len(tags) > 1 else "{}"
    plain = ["[[answer]]", "\\boxed{[[answer]]}", "#### [[answer]]", "Answer: [[answer]]"]
    answers = [*golds, *(tagged.format(answer) for answer in plain), *plain]
    beginnings = [f"{thought}\n", f"[[reasoning]]\n{tag_marks(first)[1]}\n", "[[reasoning]]\n\n", ""]
    found = (beginning + answer for beginning in beginnings for answer in answers)
    yield from dict.fromkeys(found)


def gold_forms(entries: Sequence[Entry]) -> list[str]:
    """Return the forms of a right answer that a rubric's verifiers name, as templates."""
    found = []
    for entry in entries:
        if entry.component.kind is Kind.VERIFIER:
            form = gold_form(entry.component, entry.component.build())
            if form is not None:
                found.append(form)
    return found


def gold_form(component: Component, built: Any) -> str | None:
    """Return the form that a verifier expects an answer in, as a template, or ``None`` if it names none."""
    if component.member("gold_completion", of=built) is None:
        return None
    try:
        form = gold_completion(component, built, PLACEHOLDER)
    except PluginContractError:  # a verifier that parses its reference cannot read a placeholder
        return None
    return form if form is not None and PLACEHOLDER in form else None
