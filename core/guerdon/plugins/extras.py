"""Which extra of a distribution brings a module."""

from __future__ import annotations

import re

__all__ = ["extra_with"]


def extra_with(module: str, distribution: str) -> str | None:
    """Return the extra of a distribution that brings a module, from the distribution's metadata.

    If several extras bring it, the smallest one: an extra such as ``dev`` repeats the others.
    """
    from importlib import metadata

    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    extras: dict[str, set[str]] = {}
    for requirement in requirements:
        found = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w.-]+)['\"]", requirement)
        if found:
            extras.setdefault(found[2], set()).add(found[1].replace("_", "-").lower())
    wanted = module.partition(".")[0].replace("_", "-").lower()
    bringing = [extra for extra, names in extras.items() if wanted in names]
    return min(bringing, key=lambda extra: (extra == "dev", len(extras[extra])), default=None)
