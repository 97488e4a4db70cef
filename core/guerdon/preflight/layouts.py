"""Check that one reply can earn both the answer reward and the format reward, so that they do not conflict."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence

from guerdon.plugins.discovery import Kind
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.preflight.gold import THOUGHTS, gold_cases
from guerdon.preflight.trials import Trials
from guerdon.rubric import Entry
from guerdon.types import Row

FORMAT = "format"
"""The ``audit_kind`` of a verifier that judges a reply's form and not its answer."""

_OPENED = THOUGHTS.removeprefix("<think>")

_LAYOUTS = (
    "{answer}",
    f"{THOUGHTS}\n\n{{answer}}",
    f"{THOUGHTS}\n<answer>\n{{answer}}\n</answer>",
    f"{_OPENED}\n\n{{answer}}",
    f"{_OPENED}\n<answer>\n{{answer}}\n</answer>",
)
"""Layouts of a reply with its answer. In the last two, the chat template has opened the first tag."""


def check_layouts(
    site: Site, trials: Trials, entries: Sequence[Entry], rows: Sequence[Row]
) -> Iterator[Finding]:
    """Warn of two rewards that no reply in the tried layouts earns together."""
    verifiers = [e for e in entries if e.component.kind is Kind.VERIFIER and not e.is_metric]
    answers = [entry for entry in verifiers if entry.component.member("gold_completion") is not None]
    formats = [entry for entry in verifiers if entry.component.member("audit_kind") == FORMAT]
    for answer, form in itertools.product(answers, formats):
        both = [row for row in rows if answer.applies_to(row) and form.applies_to(row)]
        gold = gold_cases(answer.component, answer.component.build(), both)[:1]
        texts = [(row, layout.replace("{answer}", text)) for layout in _LAYOUTS for row, text in gold]
        # Also without an answer, for a format that leaves no room for one.
        texts += [(row, layout.replace("{answer}", "")) for layout in _LAYOUTS for row, _ in gold]
        if not texts:
            continue
        right, formed = (
            [score.value == 1 for score in trials.scores(entry, texts)] for entry in (answer, form)
        )
        if any(right) and any(formed) and not any(map(operator.and_, right, formed)):
            yield Site(
                site.plan, f"{site.where}, rewards '{answer.name}' and '{form.name}'", site.location
            ).finding(
                Level.WARNING,
                f"no reply earned both, in any of {len(_LAYOUTS)} layouts of a right answer, though each was earned. "
                f"'{form.name}' may leave no room where '{answer.name}' looks for the answer.",
            )
