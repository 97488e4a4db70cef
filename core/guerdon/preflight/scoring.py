"""Check the Ray cluster that the manifest names."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from guerdon.errors import GuerdonError, MissingDependencyError
from guerdon.manifest.plan import Plan
from guerdon.preflight.findings import Finding, Site
from guerdon.scoring.ray_address import check_address


def check_scoring(plan: Plan) -> Iterator[Finding]:
    """Check that Ray is installed, and that something listens at the address."""
    address = plan.manifest.scoring.ray
    if address is None:
        return
    site = Site(plan, "scoring", ("scoring", "ray"))
    try:
        if find_spec("ray") is None:  # its import takes a second
            raise MissingDependencyError("scoring on a Ray cluster", "ray", "ray")
        check_address(address)
    except GuerdonError as error:
        yield from site.errors(error)
        return
    if address == "auto":
        yield site.unchecked("Ray finds the cluster when the run starts.")
