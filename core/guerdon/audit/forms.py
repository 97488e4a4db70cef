"""The forms that answers are written in, and the one that a rubric pays for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from guerdon.plugins.component import Component, valid_params
from guerdon.plugins.discovery import load_plugin
from guerdon.rubric import Entry
from guerdon.text import tag_marks

DEFAULT_TAGS = ("think", "answer")


def tags_of(entries: Sequence[Entry]) -> Sequence[str]:
    """The tags that a rubric asks for: the param ``tags`` of the first entry that has one."""
    for entry in entries:
        tags = _param(entry.component, "tags")
        if isinstance(tags, list | tuple) and tags and all(isinstance(tag, str) for tag in tags):
            return tags
    return DEFAULT_TAGS


def target_language(entries: Sequence[Entry]) -> str | None:
    """The language that a rubric asks for in the param ``target`` of a verifier of the kind ``language``."""
    for entry in entries:
        target = _param(entry.component, "target")
        if isinstance(target, str):
            return target.lower().partition("-")[0]
    return None


def _param(component: Component, name: str) -> Any:
    if name in component.params:
        return component.params[name]
    known = valid_params(component.kind, load_plugin(component.plugin, component.base_dir))
    return known[name].default if name in known else None


def forms(tags: Sequence[str], golds: Sequence[str]) -> Iterator[str]:
    """Templates with ``[[reasoning]]`` and ``[[answer]]``: the more reasoning they show, the earlier.

    Args:
        tags: Around the reasoning and the answer; what stands between the first and the last holds reasoning as well.
        golds: Forms of an answer that verifiers name as theirs.
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
    """How the verifiers of a rubric say that a right answer is written, as templates."""
    found = []
    for entry in entries:
        gold = getattr(entry.component.build(), "gold_completion", None)
        if callable(gold):
            try:
                form = gold("[[answer]]")
            except Exception:  # one that reads its reference cannot read a placeholder
                continue
            if isinstance(form, str) and "[[answer]]" in form:
                found.append(form)
    return found
