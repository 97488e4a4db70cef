"""Check how an evaluation while a stage trains chooses the best model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guerdon.manifest.loading import Location
from guerdon.manifest.schema import EvaluationRef
from guerdon.plugins.spelling import did_you_mean
from guerdon.rubric import Entry
from guerdon.rubric.entry import names_of

__all__ = ["choice_problems"]


def choice_problems(ref: EvaluationRef, entries: Sequence[Entry]) -> Iterator[tuple[Location, str]]:
    """Yield what is wrong with ``best``, ``patience`` and ``max_drops``, with the keys below the evaluation.

    Args:
        ref: The evaluation.
        entries: What it measures.
    """
    if ref.best is None:
        for key in ("patience", "max_drops"):
            if getattr(ref, key):
                yield (key,), f"'{key}' needs 'best', the entry whose mean is watched."
        return
    known = ["reward", *names_of(entries)]
    named: list[tuple[Location, str]] = [(("max_drops", name), name) for name in ref.max_drops]
    for keys, name in [*named, (("best",), ref.best)]:
        if name not in known:
            yield (
                keys,
                f"'{keys[0]}' names '{name}', and the evaluation measures {', '.join(known)}."
                f"{did_you_mean(name, known)}",
            )
    if ref.best == "reward" and all(entry.is_metric for entry in entries):
        yield (
            ("best",),
            "'best' is reward, and all entries of the evaluation have the weight 0. Name an entry.",
        )
