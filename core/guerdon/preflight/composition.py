"""Check ``needs`` and ``first_of`` on a stage's rows: what is needed must judge the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from guerdon.preflight.findings import Finding, Level, Site
from guerdon.rubric import Entry, FirstOf
from guerdon.rubric.entry import first_ofs
from guerdon.types import Row


def check_composition(
    sites: Mapping[str, Site], entries: Sequence[Entry], rows: Sequence[Row]
) -> Iterator[Finding]:
    """Check the entries that need others, and each ``first_of``.

    Args:
        sites: The site of each entry and of each ``first_of``, by name.
        entries: The stage's entries.
        rows: The sampled rows.
    """
    wholes = first_ofs(entries)
    parts: dict[str, Entry | FirstOf] = {entry.name: entry for entry in entries} | wholes
    for name, part in parts.items():
        here = sites[name]
        routed = [row for row in rows if part.applies_to(row)]
        for need in part.needs:
            needed = parts.get(need)
            if needed is None:
                continue  # it is not valid itself, which another finding says
            lost = sum(not needed.applies_to(row) for row in routed)
            if lost:
                yield here.error(
                    f"'{name}' needs '{need}', which does not judge {lost} of its {len(routed)} sampled rows, so "
                    f"'{name}' would never count there. Widen the 'when' of '{need}', or narrow that of '{name}'."
                )
        if part.needs and part.is_metric:
            yield here.finding(
                Level.WARNING,
                f"'{name}' has the weight 0, so its 'needs' change no reward, only what is logged.",
            )
    for name, whole in wholes.items():
        members = [entry for entry in entries if entry.within == whole]
        lost = sum(
            not any(member.applies_to(row) for member in members) for row in rows if whole.applies_to(row)
        )
        if lost:
            yield sites[name].error(
                f"no member of '{name}' judges {lost} of its sampled rows. Widen a member's 'when'."
            )
