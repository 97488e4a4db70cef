"""``equivalence``: a rule decides where it is sure, and a judge where the rule does not find the answer right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CRITERIA = (
    "The reply's final answer means the same as the reference: the same value, the same set, the same thing. Form, "
    "notation, order where it does not matter, units of the same size and rounding that the prompt allows are not "
    "differences. A reply that gives several answers, leaves its answer open, or has none, does not mean the same. "
    "Do not solve the problem: the reference is right."
)


class Equivalence:
    """A preset of ``first_of``: a rule first, then a judge that compares the answer with the reference.

    The rule decides if it gives the full value. Otherwise the judge is asked, and its verdict counts.

    Args:
        endpoint: The judge's endpoint, as of the verifier ``judge``.
        rule: The verifier that is asked first, as a manifest names it.
        rule_params: Its params.
        criteria: What counts as equivalent, in words for the judge; by default the same value, set or thing.
        reference: The column with the right answer that the judge reads.
        judge_params: Further params of the judge, such as ``repeats`` and ``vote``.
    """

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        rule: str = "math",
        rule_params: Mapping[str, Any] | None = None,
        criteria: str | None = None,
        reference: str = "reference",
        judge_params: Mapping[str, Any] | None = None,
    ) -> None:
        self._rule = {"use": rule, "params": dict(rule_params or {})}
        asked = {"endpoint": dict(endpoint), "criteria": criteria or CRITERIA, "reference": reference}
        self._judge = {
            "use": "judge",
            "params": {"part": "answer", "scale": [0, 1], **(judge_params or {}), **asked},
        }

    def first_of(self) -> list[dict[str, Any]]:
        """Return the rule and the judge, as a manifest has them."""
        return [self._rule, self._judge]
