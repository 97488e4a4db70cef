"""Check that each entry of a rubric finds its rows and columns, and that each row finds an entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from guerdon.errors import GuerdonError
from guerdon.manifest.entries import named_stages
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.plugins.columns import FROM_ROLLOUT
from guerdon.plugins.discovery import Kind
from guerdon.plugins.spelling import did_you_mean
from guerdon.preflight.composition import check_composition
from guerdon.preflight.constant import check_constant
from guerdon.preflight.environments import environment_problem
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.preflight.gold import check_gold, gold_cases, guessed_cases
from guerdon.preflight.hints import check_hints
from guerdon.preflight.layouts import check_layouts
from guerdon.preflight.placeholders import check_placeholders
from guerdon.preflight.trials import Trials
from guerdon.rubric import Entry
from guerdon.run.stage_check import StageRows
from guerdon.scoring.entries import MET_OF_A_REWARD
from guerdon.types import Row


def check_rubric(
    plan: Plan, stage: StagePlan, rows: StageRows, trials: Trials | None, *, trains: bool = True
) -> Iterator[Finding]:
    """Check a stage's rewards on its rows.

    Args:
        plan: The plan.
        stage: The stage.
        rows: The stage's rows.
        trials: Give scores of completions; without them only rows and columns are checked.
        trains: Whether each row needs a reward, so that an entry which only measures does not suffice.
    """
    site = Site.of(plan, stage)
    sites = {
        entry.name: site.part(f"reward '{entry.name}'", location)
        for entry, location in zip(stage.entries, stage.entry_locations, strict=True)
    }
    sites |= {
        entry.within.name: site.part(f"reward '{entry.within.name}'", location[:-2])
        for entry, location in zip(stage.entries, stage.entry_locations, strict=True)
        if entry.within is not None
    }
    yield from check_composition(sites, stage.entries, rows.sampled)
    usable = []
    for entry in stage.entries:
        problem = _route_problem(entry, rows.sampled) or _column_problem(entry, rows.read)
        if not problem and stage.sound:  # an unsound stage may lack an environment
            problem = environment_problem(stage, entry, rows.sampled)
        if problem:
            yield sites[entry.name].error(problem)
        else:
            usable.append(entry)
    if stage.sound:  # an unsound stage may lack an entry
        yield from _unjudged(site, stage, rows.sampled, trains)
    if trials is None:
        return
    checked: list[Entry] = []
    for entry in usable:
        yield from _check_entry(sites[entry.name], stage, trials, entry, rows, checked)
    yield from check_layouts(site, trials, checked, rows.sampled)


def _check_entry(
    site: Site, stage: StagePlan, trials: Trials, entry: Entry, rows: StageRows, checked: list[Entry]
) -> Iterator[Finding]:
    """Check one entry; append it to ``checked`` if it can be called."""
    if used := named_stages(entry):
        makers = ", ".join(f"stage '{stage_id}'" for stage_id in used.values())
        yield site.unchecked(f"{makers} makes its model.")
        return
    yield from _hidden_columns(site, entry, rows.sampled)
    yield from check_placeholders(site, entry, [row for row in rows.read if entry.applies_to(row)])
    sampled = [row for row in rows.sampled if entry.applies_to(row)]
    try:
        yield from check_hints(site, stage, entry, sampled)
        yield from _check_scores(site, trials, entry, sampled)
    except (GuerdonError, OSError) as error:
        yield from site.errors(error)
    else:
        checked.append(entry)


def _check_scores(site: Site, trials: Trials, entry: Entry, rows: Sequence[Row]) -> Iterator[Finding]:
    component = entry.component
    built = component.build()
    component.check(built)
    if component.columns.names & (FROM_ROLLOUT - {"prompt"}):
        yield site.unchecked("it scores what a model does with tools, and no completion here does anything.")
        return
    if component.kind is not Kind.VERIFIER:  # calls of a reward may load a model, so they are not tried
        return
    certain = component.member("gold_completion", of=built) is not None
    takes_reference = "reference" in component.columns.names
    gold = gold_cases(component, built, rows) if takes_reference else []
    yield from check_gold(site, trials, entry, gold, certain)
    # A verifier that has ``gold_completion`` but knows no right completion may score 0 for all.
    if gold or not takes_reference:
        yield from check_constant(site, trials, entry, rows, [*gold, *guessed_cases(rows)])
    if untried := trials.take_untried(entry):
        seconds = median(time for time in trials.latencies(entry) if time) / 1000
        yield site.unchecked(f"{untried} more completions, because a verdict takes {seconds:.1g} s.")


def _route_problem(entry: Entry, rows: Sequence[Row]) -> str | None:
    columns = {column for row in rows for column in row}
    for column in entry.when:
        if column not in columns:
            hint = did_you_mean(column, columns)
            return f"its 'when' asks for the column '{column}', which no sampled row has.{hint}"
    if not any(entry.applies_to(row) for row in rows):
        return f"its 'when' matches none of {len(rows)} sampled rows."
    return None


def _column_problem(entry: Entry, rows: Sequence[Row]) -> str | None:
    required = entry.component.columns.required - FROM_ROLLOUT
    routed = [(number, row) for number, row in enumerate(rows) if entry.applies_to(row)]
    for number, row in routed:
        missing = sorted(required - row.keys())
        if not missing:
            continue
        if entry.component.kind is Kind.REWARD and missing[0] == "met":
            return f"it needs the column 'met', {MET_OF_A_REWARD}"
        having = next((other for other, one in routed if missing[0] in one), None)
        if having is not None:
            return f"it needs the column '{missing[0]}', which row {number} lacks and row {having} has."
        return (
            f"it needs the column '{missing[0]}', and a row has only {', '.join(sorted(row))}."
            f"{did_you_mean(missing[0], row)} Map a column of the data to '{missing[0]}'."
        )
    return None


def _unjudged(site: Site, stage: StagePlan, rows: Sequence[Row], trains: bool) -> Iterator[Finding]:
    rewards = [entry for entry in stage.entries if not (trains and entry.is_metric)]
    unjudged = [row for row in rows if not any(entry.applies_to(row) for entry in rewards)]
    if unjudged:
        hint = "; an entry whose weight is 0 only measures" if trains else ""
        yield site.error(
            f"no reward judges {len(unjudged)} of {len(rows)} sampled rows, such as the one with the prompt "
            f"{str(unjudged[0].get('prompt'))[:80]!r}. Widen a 'when'{hint}."
        )


def _hidden_columns(site: Site, entry: Entry, rows: Sequence[Row]) -> Iterator[Finding]:
    """Warn if a function's param and a data column have the same name, because it is ambiguous which one is meant."""
    if not rows:
        return
    component = entry.component
    in_rows = {column for row in rows for column in row}
    if not component.is_function:
        return
    for name in sorted(component.params.keys() & in_rows):
        yield site.finding(
            Level.WARNING,
            f"its param '{name}' hides the column '{name}' of the data. Rename one of them if the column is meant.",
        )
    defaults = component.columns.defaults
    for name in sorted(defaults.keys() & in_rows):
        if defaults[name] is not None:
            yield site.finding(
                Level.WARNING,
                f"its param '{name}' (by default {defaults[name]!r:.40}) is taken from the column '{name}' of the "
                f"data. Set '{name}' in its params, or rename the column, if that is not meant.",
            )
