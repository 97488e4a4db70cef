"""Plan the entries of a stage's rubric: their scorers, what they need, and who is a member of a ``first_of``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from guerdon.errors import UsageError
from guerdon.manifest.loading import Location
from guerdon.manifest.presets import as_member, is_preset, members_of, whole_of
from guerdon.manifest.schema import ComponentRef, EntryRef, FirstOfRef, MemberRef, RetryRef, RewardRef
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import SCORERS, Kind
from guerdon.plugins.spelling import did_you_mean
from guerdon.rubric import Entry, FirstOf

STAGE_PREFIX = "stage:"
"""The start of a value that names a stage."""

REWARD = "reward"
"""The rubric's reward in tables, in ``--by`` and in ``best``; an entry has another name."""


def named_stages(entry: Entry) -> dict[str, str]:
    """Return the stages whose checkpoints an entry uses, by the param whose value is ``stage:<id>``."""
    return {
        name: value.removeprefix(STAGE_PREFIX)
        for name, value in entry.component.params.items()
        if isinstance(value, str) and value.startswith(STAGE_PREFIX)
    }


class Sound(Protocol):
    """Returns a planner's result, or ``None`` if it recorded a problem."""

    def __call__(self, plan: Callable[[], Entry | None]) -> Entry | None: ...


class EntryPlanner:
    """Plans the entries of one rubric.

    Args:
        component: Finds and loads the plugin of a reference, or records why not.
        known_stage: Returns whether a stage exists, or records that it does not.
        problem: Records a mistake.
        sound: Returns a result, or ``None`` if it recorded a problem.
    """

    def __init__(
        self,
        component: Callable[[ComponentRef, Sequence[Kind], Location], Component | None],
        known_stage: Callable[[str, Location], bool],
        problem: Callable[[Location, str], None],
        sound: Sound,
    ) -> None:
        self._component = component
        self._known_stage = known_stage
        self._problem = problem
        self._sound = sound

    def plan(self, refs: Sequence[EntryRef], location: Location, *, whole: bool) -> dict[Location, Entry]:
        """Return the valid entries, by location.

        Args:
            refs: The entries of the manifest.
            location: Their place in it.
            whole: Whether no entry was left out before, so that a name that is missing is a mistake.
        """
        places = {(*location, i): ref for i, ref in enumerate(refs)}
        entries: dict[Location, Entry] = {}
        for place, ref in places.items():
            if isinstance(ref, RewardRef):
                entry = self._sound(partial(self._entry, ref, place))
                if entry is not None and is_preset(entry.component):
                    self._add_preset(place, entry, entries)
                else:
                    self._add(place, entry, entries)
            else:
                self._add_members(place, ref, entries)
        named = {_name(ref, entries.get(place)): place for place, ref in places.items()}
        members = {entry.name: entry.within.name for entry in entries.values() if entry.within is not None}
        wrong = self._wrong_needs(places, named, members, whole=whole)
        return {place: entry for place, entry in entries.items() if place[: len(location) + 1] not in wrong}

    def _add(self, place: Location, entry: Entry | None, entries: dict[Location, Entry]) -> None:
        if entry is None:
            return
        own = {entry.name} if entry.within is None else {entry.name, entry.within.name}
        if REWARD in own:
            self._problem(
                place, f"'{REWARD}' is the name of the rubric's reward. Give the entry another 'name'."
            )
            return
        names = {other.name for other in entries.values()}
        names |= {other.within.name for other in entries.values() if other.within not in (None, entry.within)}
        if entry.name in names or (entry.within is not None and entry.within.name in names | {entry.name}):
            shared = entry.name if entry.name in names or entry.within is None else entry.within.name
            self._problem(place, f"another reward is named '{shared}' too. Give it a 'name'.")
        else:
            entries[place] = entry

    def _add_members(self, place: Location, ref: FirstOfRef, entries: dict[Location, Entry]) -> None:
        within = FirstOf(
            name=ref.name, weight=ref.weight, when=ref.when, on_failure=ref.on_failure, needs=tuple(ref.needs)
        )
        for i, member in enumerate(ref.first_of):
            inner = (*place, "first_of", i)
            entry = self._sound(partial(self._entry, member, inner))
            self._add(inner, entry and replace(entry, weight=0.0, within=within), entries)

    def _add_preset(self, place: Location, entry: Entry, entries: dict[Location, Entry]) -> None:
        """Add the members of the ``first_of`` that an entry is short for. Its retries and deadline are theirs."""
        try:
            members = members_of(entry)
        except UsageError as error:
            self._problem((*place, "use"), str(error))
            return
        within = whole_of(entry)
        for i, member in enumerate(members):
            inner = (*place, "first_of", i)
            found = self._sound(partial(self._entry, member, inner))
            if found is not None:
                self._add(inner, as_member(found, entry, within), entries)

    def _entry(self, ref: MemberRef, location: Location) -> Entry | None:
        component = self._component(ref, SCORERS, location)
        if component is None:
            return None
        if is_preset(component) and not isinstance(ref, RewardRef):
            self._problem(
                (*location, "use"),
                f"{component.plugin} is short for a first_of, so it cannot be a member of one. Make it an entry of its "
                "own.",
            )
        if component.requires_needs and not getattr(ref, "needs", ()):
            self._problem(
                (*location, "use"),
                f"{component.plugin} counts only where other entries scored 1. Give the entry 'needs', such as "
                "needs: [math].",
            )
        reaction = ref.on_failure
        on_failure, retries = (
            (reaction.then, reaction.retry) if isinstance(reaction, RetryRef) else (reaction, 0)
        )
        entry = Entry(
            ref.name or component.plugin.name,
            component,
            ref.weight if isinstance(ref, RewardRef) else 0.0,
            ref.when,
            on_failure,
            ref.timeout,
            retries,
            tuple(ref.needs) if isinstance(ref, RewardRef) else (),
        )
        known = [
            self._known_stage(stage_id, (*location, "params", param))
            for param, stage_id in named_stages(entry).items()
        ]
        return entry if all(known) else None

    def _wrong_needs(
        self,
        places: Mapping[Location, EntryRef],
        named: Mapping[str, Location],
        members: Mapping[str, str],
        *,
        whole: bool,
    ) -> set[Location]:
        """Record the mistakes in ``needs``, and return the places of the entries that have one."""
        wrong = set()
        for place, ref in places.items():
            own = next((name for name, there in named.items() if there == place), None)
            for i, need in enumerate(ref.needs):
                problem = _need_problem(need, own, named, members, whole=whole)
                if need in ref.needs[:i]:
                    problem = f"'needs' names '{need}' twice."
                if problem is not None:
                    self._problem((*place, "needs", i), problem)
                    wrong.add(place)
        graph = {
            name: [need for need in places[place].needs if need in named]
            for name, place in named.items()
            if place not in wrong
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = [str(name) for name in reversed(error.args[1])]
            self._problem(
                (*named[cycle[0]], "needs"), f"rewards need each other in a circle: {' -> '.join(cycle)}."
            )
            wrong |= {named[name] for name in cycle}
        return wrong


def _name(ref: EntryRef, entry: Entry | None) -> str:
    """Return the name of an entry; of one that is not valid, the name that it would have."""
    if isinstance(ref, FirstOfRef):
        return ref.name
    return entry.name if entry is not None else ref.name or ref.use.rpartition("/")[2].rpartition(":")[2]


def _need_problem(
    need: str,
    own: str | None,
    named: Mapping[str, Location],
    members: Mapping[str, str],
    *,
    whole: bool,
) -> str | None:
    if need == own:
        return f"'{need}' needs itself."
    if need in members:
        return (
            f"'needs' names '{need}', which is a member of '{members[need]}'. Name '{members[need]}' instead."
        )
    if need not in named and whole:
        others = [name for name in named if name != own]
        hint = did_you_mean(need, others)
        return (
            f"'needs' names '{need}', and the stage has no such reward.{hint} Rewards: {', '.join(others)}."
        )
    return None
