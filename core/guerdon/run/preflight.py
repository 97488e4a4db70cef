"""Proves a plan before any training: the data opens, columns exist, gold answers score 1, rewards tell things apart."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Any

from guerdon.component import CallColumns, Component
from guerdon.errors import (
    CheckFailedError,
    GuerdonError,
    InfrastructureError,
    ParamsError,
    PluginContractError,
    one_line,
)
from guerdon.manifest.plan import Plan, StagePlan, named_stages
from guerdon.manifest.schema import ModelRef
from guerdon.plugins import Kind, load_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.run.data import open_source
from guerdon.types import Outcome, Rollout, Row, Score

SAMPLE_ROWS = 16
"""Rows of each source that are tried."""

_THOUGHTS = "<think>\nFirst, we add the numbers. Second, we check the sum. Wait, that is right.\n</think>"
_PROBES = (
    "",
    "I do not know.",
    _THOUGHTS,
    f"{_THOUGHTS}\n\nThe answer is 1.",
    f"{_THOUGHTS}\n<answer>1</answer>",
    "<think>首先，我们把这些数相加。然后检查结果。</think><answer>二</answer>",
    "```python\nprint(input())\n```",
    "again and again and again and again and again and again and again and again \\boxed{0}",
)
"""Completions unlike each other: a reward that gives them all the same tells nothing apart."""

_LAYOUTS = (
    "{answer}",
    f"{_THOUGHTS}\n\n{{answer}}",
    f"{_THOUGHTS}\n<answer>\n{{answer}}\n</answer>",
    f"{_THOUGHTS.removeprefix('<think>')}\n\n{{answer}}",
    f"{_THOUGHTS.removeprefix('<think>')}\n<answer>\n{{answer}}\n</answer>",
)
"""Where a reply may have its answer; in the last two the chat template has opened the first tag."""


class Level(StrEnum):
    ERROR = "error"
    """Training would learn nothing, or the wrong thing."""
    WARNING = "warning"
    NOTE = "note"
    """Something that could not be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the preflight has to say."""

    level: Level
    where: str
    """The stage, and the source or reward in it."""
    message: str
    outside: bool = False
    """Whether it is something outside that is missing or down, and not the manifest that is wrong."""

    def unchecked(self) -> Finding:
        """The finding as a note of what could not be checked."""
        return replace(self, level=Level.NOTE, message=f"not checked: {self.message}", outside=False)


def preflight(plan: Plan) -> Iterator[Finding]:
    """Check everything that can be checked before a run, stage by stage."""
    for stage in plan.stages:
        yield from _check_models(plan, stage)
        try:
            names = [entry.name for entry in stage.entries]
            call_own_preflight(stage.component, stage.component.build(), rewards=names)
        except (GuerdonError, OSError) as error:
            yield _error(f"stage '{stage.ref.id}'", error)
        rows: list[Row] = []
        for source in stage.sources:
            where = f"stage '{stage.ref.id}', source '{source.ref.use}'"
            if source.stage_id is not None:
                yield Finding(Level.NOTE, where, f"not checked: stage '{source.stage_id}' makes its rows.")
                continue
            try:
                rows += islice(open_source(source, plan.manifest.heldout, {}), SAMPLE_ROWS)
            except GuerdonError as error:
                yield _error(where, error)
        if stage.entries and rows:
            yield from _check_rubric(stage, rows)
        elif stage.entries:
            yield Finding(
                Level.NOTE,
                f"stage '{stage.ref.id}', rewards",
                "not checked: there is no row to try them on.",
            )


def raise_for(findings: Sequence[Finding], consequence: str) -> None:
    """Raise if there are errors.

    Raises:
        InfrastructureError: All of them are of something outside.
        CheckFailedError: Some are of the manifest, its data or its plugins.
    """
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    if errors:
        only_outside = all(finding.outside for finding in errors)
        raise (InfrastructureError if only_outside else CheckFailedError)(
            f"the preflight found {len(errors)} error{'s' if len(errors) > 1 else ''}{consequence}."
        )


def _check_models(plan: Plan, stage: StagePlan) -> Iterator[Finding]:
    for init in stage.init:
        if not isinstance(init, ModelRef):
            continue
        where = f"stage '{stage.ref.id}'"
        folder = plan.base_dir / init.path
        if folder.is_dir() and not (folder / "config.json").exists() and not any(folder.glob("*.gguf")):
            yield Finding(
                Level.ERROR, where, f"the model's folder '{init.path}' holds no config.json and no GGUF file."
            )
        elif not folder.exists():
            if init.path.startswith((".", "/", "~")):
                yield Finding(Level.ERROR, where, f"the model's folder '{init.path}' does not exist.")
            elif not init.path.startswith("package:"):
                yield Finding(
                    Level.NOTE, where, f"not checked: the model '{init.path}' would come from the hub."
                )


def _check_rubric(stage: StagePlan, rows: Sequence[Row]) -> Iterator[Finding]:
    def where(entry: Entry) -> str:
        return f"stage '{stage.ref.id}', reward '{entry.name}'"

    usable = []
    for entry in stage.entries:
        problem = _route_problem(entry, rows) or _column_problem(entry, rows)
        if problem:
            yield Finding(Level.ERROR, where(entry), problem)
        else:
            usable.append(entry)
    rewards = [entry for entry in stage.entries if not entry.is_metric]
    unjudged = [row for row in rows if not any(entry.judges(row) for entry in rewards)]
    if unjudged:
        yield Finding(
            Level.ERROR,
            f"stage '{stage.ref.id}'",
            f"no reward judges {len(unjudged)} of {len(rows)} sampled rows, such as the one with the prompt "
            f"{str(unjudged[0].get('prompt'))[:80]!r}. Widen a 'when'; an entry whose weight is 0 "
            "only measures.",
        )
    checked = []
    for entry in usable:
        if used := named_stages(entry):
            makers = ", ".join(f"stage '{stage_id}'" for stage_id in used.values())
            yield Finding(Level.NOTE, where(entry), f"not checked: {makers} makes its model.")
            continue
        routed = [row for row in rows if entry.judges(row)]
        try:
            if entry.component.kind is Kind.VERIFIER:
                yield from _check_verifier(entry, routed, where(entry))
            elif hasattr(load_plugin(entry.component.plugin, entry.component.base_dir), "preflight"):
                # Its calls may load a model, and are not tried.
                call_own_preflight(entry.component, entry.component.build())
        except (GuerdonError, OSError) as error:
            yield _error(where(entry), error)
        else:
            checked.append(entry)
    yield from _check_layouts(stage, checked, rows)


def _check_verifier(entry: Entry, rows: Sequence[Row], where: str) -> Iterator[Finding]:
    verifier = entry.component.build()
    call_own_preflight(entry.component, verifier)
    takes_reference = "reference" in _columns(entry).names
    gold = _gold_cases(entry.component, verifier, rows) if takes_reference else []
    probes = [(row, probe) for row in rows[:4] for probe in _PROBES]
    with Rubric([entry]) as rubric:
        yield from _check_gold(rubric, entry, gold, hasattr(verifier, "gold_completion"), where)
        # Where no right completion is known, all may score 0 and rightly so.
        if gold or not takes_reference:
            yield from _check_constant(rubric, entry, [*probes, *gold], where)


def _error(where: str, error: Exception) -> Finding:
    return Finding(Level.ERROR, where, one_line(error), outside=isinstance(error, OSError))


def call_own_preflight(component: Component, built: Any, **known: Any) -> None:
    """A plugin that needs something outside (a sandbox, an endpoint), or more of its params, raises if it lacks it.

    It is told what it asks for by a parameter's name.

    Raises:
        GuerdonError, OSError: It raised that, or anything else, which is told as the plugin's.
    """
    own = getattr(built, "preflight", None)
    if not callable(own):
        return
    asked = inspect.signature(own).parameters
    try:
        outcome = own(**{name: value for name, value in known.items() if name in asked})
        if inspect.isawaitable(outcome):
            asyncio.run(_await(outcome))
    except (GuerdonError, OSError):
        raise
    except ValueError as error:
        raise ParamsError(f"{component.plugin} refuses its params: {one_line(error)}") from error
    except Exception as error:  # it is somebody's plugin
        raise PluginContractError(
            f"the preflight of {component.plugin} raised {type(error).__name__}: {one_line(error)}"
        ) from error


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _route_problem(entry: Entry, rows: Sequence[Row]) -> str | None:
    for column in entry.when:
        if not any(column in row for row in rows):
            return f"its 'when' asks for the column '{column}', which no sampled row has."
    if not any(entry.judges(row) for row in rows):
        return f"its 'when' matches none of {len(rows)} sampled rows."
    return None


def _columns(entry: Entry) -> CallColumns:
    return CallColumns.of_loaded(
        entry.component, load_plugin(entry.component.plugin, entry.component.base_dir)
    )


def _column_problem(entry: Entry, rows: Sequence[Row]) -> str | None:
    required = _columns(entry).required
    for row in rows:
        missing = sorted(required - row.keys()) if entry.judges(row) else []
        if missing:
            return (
                f"it needs the column '{missing[0]}', and a row has only {', '.join(sorted(row))}. "
                f"Map a column of the data to '{missing[0]}'."
            )
    return None


def _gold_cases(component: Component, verifier: Any, rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Rows, each with completions of which one should score 1.

    A verifier says by ``gold_completion(reference)`` what a right completion looks like (``None`` if it cannot tell);
    for others the forms that most verifiers read are tried.
    """
    own = getattr(verifier, "gold_completion", None)
    cases = []
    for row in rows:
        reference = row.get("reference")
        if reference is not None:
            forms = [_own_gold(component, own, reference)] if callable(own) else _gold_forms(reference)
            cases += [(row, form) for form in forms if form is not None]
    return cases


def _own_gold(component: Component, own: Callable[[Any], Any], reference: Any) -> str | None:
    try:
        gold = own(reference)
    except Exception as error:  # it is somebody's plugin
        raise PluginContractError(
            f"the gold_completion of {component.plugin} raised {type(error).__name__} for the reference "
            f"{reference!r:.80}: {one_line(error)}. Return None where no right completion is known."
        ) from error
    if not isinstance(gold, str | None):
        raise PluginContractError(
            f"the gold_completion of {component.plugin} returned {gold!r:.80} for the reference {reference!r:.80}. "
            "Return the text of a right completion, or None where none is known."
        )
    return gold


def _gold_forms(reference: Any) -> list[str]:
    if not isinstance(reference, str | int | float):
        return []
    return [str(reference), f"\\boxed{{{reference}}}", f"<think>.</think><answer>{reference}</answer>"]


def _check_gold(
    rubric: Rubric, entry: Entry, gold: Sequence[tuple[Row, str]], certain: bool, where: str
) -> Iterator[Finding]:
    """The reference itself, given as an answer, must score 1.

    Args:
        rubric: Of the entry alone.
        entry: The entry.
        gold: Rows with completions.
        certain: Whether the verifier itself says what a right completion looks like: then none that scores 1 is an
            error, and otherwise only a warning.
        where: What to call the entry.
    """
    best: dict[str, Score] = {}
    for (row, _), score in zip(gold, _scores(rubric, entry, gold), strict=True):
        known = best.get(repr(row["reference"]))
        if known is None or (score.value or 0.0) > (known.value or 0.0):
            best[repr(row["reference"])] = score
    bad = {reference: score for reference, score in best.items() if score.value is None or score.value < 1.0}
    if not bad:
        return
    reference, score = next(iter(bad.items()))
    verdict = score.value if score.outcome is Outcome.SCORED else score.failure or score.outcome
    yield Finding(
        Level.ERROR if certain or len(bad) < len(best) else Level.WARNING,
        where,
        f"{len(bad)} of {len(best)} sampled references do not score 1 as an answer to themselves, such as "
        f"{reference[:80]}: {verdict}{f' ({score.explanation})' if score.explanation else ''}.",
    )


def _check_constant(
    rubric: Rubric, entry: Entry, cases: Sequence[tuple[Row, str]], where: str
) -> Iterator[Finding]:
    scores = _scores(rubric, entry, cases)
    values = {score.value for score in scores}
    if all(score.outcome is Outcome.FAILED for score in scores):
        yield Finding(
            Level.ERROR,
            where,
            f"it failed on every one of {len(cases)} completions, the last time: {scores[-1].failure}: "
            f"{scores[-1].explanation}.",
        )
    elif len(values) == 1:
        yield Finding(
            Level.WARNING,
            where,
            f"it gives {values.pop()} to every one of {len(cases)} very different completions. "
            "A constant reward teaches nothing.",
        )


def _check_layouts(stage: StagePlan, entries: Sequence[Entry], rows: Sequence[Row]) -> Iterator[Finding]:
    """A right answer must be able to earn the format too, or the one reward trains against the other."""
    verifiers = [e for e in entries if e.component.kind is Kind.VERIFIER and not e.is_metric]
    loaded = {e.name: load_plugin(e.component.plugin, e.component.base_dir) for e in verifiers}
    answers = [entry for entry in verifiers if hasattr(loaded[entry.name], "gold_completion")]
    formats = [entry for entry in verifiers if getattr(loaded[entry.name], "audit_kind", None) == "format"]
    for answer, form in itertools.product(answers, formats):
        both = [row for row in rows if answer.judges(row) and form.judges(row)]
        gold = _gold_cases(answer.component, answer.component.build(), both)[:1]
        texts = [(row, layout.replace("{answer}", text)) for layout in _LAYOUTS for row, text in gold]
        # Without an answer: what a format that leaves it no room is pleased with.
        texts += [(row, layout.replace("{answer}", "")) for layout in _LAYOUTS for row, _ in gold]
        with Rubric([answer, form]) as rubric:
            right, formed = (
                [score.value == 1 for score in _scores(rubric, entry, texts)] for entry in (answer, form)
            )
        if any(right) and any(formed) and not any(map(operator.and_, right, formed)):
            yield Finding(
                Level.WARNING,
                f"stage '{stage.ref.id}', rewards '{answer.name}' and '{form.name}'",
                f"no reply earned both, in any of {len(_LAYOUTS)} layouts of a right answer, though each was earned. "
                f"'{form.name}' may leave no room where '{answer.name}' looks for the answer.",
            )


def _scores(rubric: Rubric, entry: Entry, cases: Sequence[tuple[Row, str]]) -> list[Score]:
    rollouts = [
        Rollout(row.get("prompt", ""), text, {key: value for key, value in row.items() if key != "prompt"})
        for row, text in cases
    ]
    return [judgement.verdicts[entry.name].score for judgement in rubric.score(rollouts)]
