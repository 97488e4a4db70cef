"""The findings of the preflight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from guerdon.errors import CheckFailedError, InfrastructureError, one_line
from guerdon.manifest.plan import Plan, StagePlan


class Level(StrEnum):
    """How severe a finding is."""

    ERROR = "error"
    """The run would fail, or training would learn nothing useful."""
    WARNING = "warning"
    """Probably a mistake, but possibly intended."""
    NOTE = "note"
    """Something could not be checked."""
    MEASURE = "measured"
    """What a part of the run takes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of the preflight."""

    level: Level
    where: str
    """The stage, and the source or reward in it."""
    message: str
    outside: bool = False
    """Whether an external service or file is at fault, and not the manifest."""
    place: str = ""
    """The manifest's file and line, or the ``--set`` that is at fault."""

    def unchecked(self) -> Finding:
        """Return the finding as a note of what could not be checked."""
        return replace(self, level=Level.NOTE, message=f"not checked: {self.message}", outside=False)


@dataclass(frozen=True, slots=True)
class Site:
    """A part of a plan, from which findings are made."""

    plan: Plan
    where: str
    location: tuple[str | int, ...]

    @classmethod
    def of(cls, plan: Plan, stage: StagePlan) -> Site:
        """Return the site of a stage."""
        part = ", evaluation" if stage.location[-1:] == ("evaluation",) else ""
        return cls(plan, f"stage '{stage.ref.id}'{part}", stage.location)

    def part(self, where: str, location: tuple[str | int, ...]) -> Site:
        """Return the site of a part of this one, with its own location."""
        return Site(self.plan, f"{self.where}, {where}", location)

    def finding(self, level: Level, message: str, *, outside: bool = False) -> Finding:
        """Return a finding of this site."""
        place = self.plan.file.place(self._blamed(message))
        return Finding(level, self.where, message, outside, place)

    def error(self, message: str) -> Finding:
        """Return a finding that prevents the run."""
        return self.finding(Level.ERROR, message)

    def unchecked(self, message: str) -> Finding:
        """Return a note of what could not be checked."""
        return self.finding(Level.NOTE, f"not checked: {message}")

    def errors(self, raised: Exception) -> Iterator[Finding]:
        """Yield the findings of an error, one for each mistake that it lists."""
        for line in str(raised).splitlines():
            yield self.finding(Level.ERROR, one_line(line), outside=isinstance(raised, OSError))

    def _blamed(self, message: str) -> tuple[str | int, ...]:
        """Return the location of the first param that a message names, or the site's own."""
        words = [word.strip("'\"(),.:;`") for word in message.split()]
        params = [*self.location, "params"]
        named = [word for word in words if self.plan.file.gives((*params, word))]
        return (*params, named[0]) if named else self.location


def raise_for(findings: Sequence[Finding], consequence: str) -> None:
    """Raise if there are errors.

    Raises:
        InfrastructureError: All of them are about external services or files.
        CheckFailedError: Some are about the manifest, its data or its plugins.
    """
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    if errors:
        only_outside = all(finding.outside for finding in errors)
        raise (InfrastructureError if only_outside else CheckFailedError)(
            f"the preflight found {len(errors)} error{'s' if len(errors) > 1 else ''}{consequence}."
        )
