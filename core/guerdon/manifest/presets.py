"""Presets: a verifier whose method ``first_of`` returns the members of a ``first_of`` that it is short for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from guerdon.errors import PluginContractError
from guerdon.manifest.schema import MemberRef
from guerdon.plugins.boundary import boundary
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.rubric import Entry, FirstOf

__all__ = ["as_member", "is_preset", "members_of", "whole_of"]


def is_preset(component: Component) -> bool:
    """Return whether a plugin is short for a ``first_of``."""
    return component.kind is Kind.VERIFIER and component.member("first_of") is not None


def whole_of(entry: Entry) -> FirstOf:
    """Return the ``first_of`` that a preset's entry is short for."""
    return FirstOf(
        name=entry.name,
        weight=entry.weight,
        when=entry.when,
        on_failure=entry.on_failure,
        needs=entry.needs,
    )


def as_member(member: Entry, preset: Entry, within: FirstOf) -> Entry:
    """Return an entry as a member of a preset's ``first_of``, with the preset's retries and deadline."""
    return replace(
        member,
        weight=0.0,
        within=within,
        retries=member.retries or preset.retries,
        timeout_s=member.timeout_s or preset.timeout_s,
    )


def members_of(entry: Entry) -> list[MemberRef]:
    """Return the members of a preset's ``first_of``, each with the preset's name before its own.

    Raises:
        ParamsError: The preset refuses its params.
        PluginContractError: It returns no members, or one that a manifest could not have.
    """
    component = entry.component
    built = component.build()
    with boundary(f"the first_of of {component.plugin} raised"):
        given = component.member("first_of", of=built)()
    if not isinstance(given, Sequence) or len(given) < 2:
        raise PluginContractError(
            f"the first_of of {component.plugin} returns {given!r:.60}. Return two members or more, each as a manifest "
            "has it: {'use': 'math', 'params': {}}."
        )
    return [_member(entry, one) for one in given]


def _member(entry: Entry, given: Any) -> MemberRef:
    plugin = entry.component.plugin
    try:
        ref = MemberRef.model_validate(given)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise PluginContractError(f"a member in the first_of of {plugin} is {given!r:.60}: {said}.") from None
    own = ref.name or ref.use.rpartition("/")[2].rpartition(":")[2]
    return ref.model_copy(update={"name": f"{entry.name}_{own}"})
