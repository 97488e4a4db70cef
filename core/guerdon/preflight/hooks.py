"""Check that the hook plugins can be built, and that a run can call them."""

from __future__ import annotations

from collections.abc import Iterator

from guerdon.errors import GuerdonError
from guerdon.manifest.plan import Plan
from guerdon.preflight.findings import Finding, Site
from guerdon.run.events import Events


def check_hooks(plan: Plan) -> Iterator[Finding]:
    """Build each hook plugin, and check its methods against the events of a run."""
    for index, hook in enumerate(plan.hooks):
        site = Site(plan, f"hooks '{hook.plugin.name}'", ("hooks", index))
        try:
            Events([hook.build()])
        except (GuerdonError, OSError) as error:
            yield from site.errors(error)
