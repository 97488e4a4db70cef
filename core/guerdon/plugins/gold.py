"""Ask a verifier for a right completion."""

from __future__ import annotations

from typing import Any

from guerdon.errors import PluginContractError
from guerdon.plugins.boundary import boundary
from guerdon.plugins.component import Component


def gold_completion(component: Component, built: Any, reference: Any) -> str | None:
    """Return the result of a verifier's ``gold_completion`` for a reference.

    Raises:
        PluginContractError: It raised, or returned neither text nor ``None``.
    """
    with boundary(
        f"the gold_completion of {component.plugin}, for the reference {reference!r:.80}, raised",
        fix="Return None where no right completion is known.",
    ):
        gold = component.member("gold_completion", of=built)(reference)
    if not isinstance(gold, str | None):
        raise PluginContractError(
            f"the gold_completion of {component.plugin} returned {gold!r:.80} for the reference {reference!r:.80}. "
            "Return the text of a right completion, or None where none is known."
        )
    return gold
