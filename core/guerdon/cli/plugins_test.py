"""``guerdon plugins test``: run the conformance kit without a test file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from guerdon.cli.tables import print_rows
from guerdon.cli.targets import yaml_value
from guerdon.cli.usage import KindChoice
from guerdon.errors import CheckFailedError, PluginContractError, UsageError
from guerdon.manifest.presets import is_preset
from guerdon.plugins.component import SHAPES, kind_of, load_scorer
from guerdon.plugins.discovery import SCORERS, Kind, find_plugins, load_plugin
from guerdon.testing import (
    Case,
    CheckResult,
    Conformance,
    EnvironmentConformance,
    GroupRewardConformance,
    HooksConformance,
    RewardConformance,
    SourceConformance,
    StageConformance,
    ToolConformance,
    VerifierConformance,
    read_cases,
    read_rows,
    run_checks,
)
from guerdon.testing.scorers import ScorerConformance

_KITS: dict[Kind, type[Conformance]] = {
    Kind.VERIFIER: VerifierConformance,
    Kind.REWARD: RewardConformance,
    Kind.GROUP_REWARD: GroupRewardConformance,
    Kind.SOURCE: SourceConformance,
    Kind.STAGE: StageConformance,
    Kind.HOOKS: HooksConformance,
    Kind.TOOL: ToolConformance,
    Kind.ENVIRONMENT: EnvironmentConformance,
}


@click.command()
@click.argument("name")
@click.option("--kind", type=KindChoice(_KITS), help="The kind, if NAME tells none.")
@click.option("--param", "-p", "params", multiple=True, metavar="NAME=VALUE", help="Set a param. Repeatable.")
@click.option(
    "--cases",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSONL: for a scorer, cases with 'expected' or 'at_most'; for a stage, its rows; for an environment, one row.",
)
@click.option(
    "--compares-completions",
    is_flag=True,
    help="For a reward: a completion's reward depends on the others of its batch, as a ranking's does.",
)
@click.option(
    "--value-range",
    type=(float, float),
    metavar="LOW HIGH",
    help="For a verifier or reward: the smallest and the largest value. A verifier's default is 0 1.",
)
def test(
    name: str,
    kind: str | None,
    params: tuple[str, ...],
    cases: Path | None,
    compares_completions: bool,
    value_range: tuple[float, float] | None,
) -> None:
    """Run the conformance kit on a plugin: an installed one, package.module:name, or ./file.py:name."""
    kit = _kit(name, Kind(kind) if kind else None, _params(params))
    attributes: dict[str, Any] = {"plugin": name, "params": _params(params), "base_dir": Path.cwd()}
    if cases is not None:
        attributes |= _from_file(kit, cases)
    if compares_completions:
        attributes["compares_completions"] = _only_for(kit, RewardConformance, "--compares-completions")
    if value_range is not None:
        _only_for(kit, ScorerConformance, "--value-range")
        attributes["value_range"] = value_range
    tested: type[Conformance] = type("Tested", (kit,), attributes)
    component = tested.component()  # a wrong name or param is the user's mistake, not a failed check
    if is_preset(component):
        raise UsageError(
            f"{component.plugin} is short for a first_of, and is never called itself. Test its members, or score with "
            "it: guerdon score FILE --use."
        )
    results = list(_with_progress(name, tested))
    print_rows(f"{name}: {len(results)} checks", list(map(_row, results)), Console())
    for result in results:
        if result.message:
            click.echo(f"{result.outcome}: {result.check}: {result.message}")
    if tested.throughput:
        click.echo(tested.throughput)
    _raise_for(results)


def _with_progress(name: str, tested: type[Conformance]) -> Iterator[CheckResult]:
    """Run the checks. A terminal shows the current check; a file gets a line for each."""
    console = Console(stderr=True)
    with console.status(Text(f"Testing {name}…")) as status:

        def begins(check: str, number: int, total: int) -> None:
            line = f"Testing {name}: check {number} of {total}, {check}…"
            if console.is_terminal:
                status.update(Text(line))
            else:
                click.echo(line, err=True)

        yield from run_checks(tested, begins)


def _only_for(kit: type[Conformance], wanted: type[Conformance], option: str) -> bool:
    if not issubclass(kit, wanted):
        raise UsageError(f"{option}: a {kit.kinds[0].noun} has no such property.")
    return True


def _kit(name: str, kind: Kind | None, params: Mapping[str, Any]) -> type[Conformance]:
    if kind is None:
        plugin, *others = find_plugins(name, list(_KITS) if ":" not in name else SCORERS, Path.cwd())
        loaded = load_plugin(plugin, Path.cwd())
        kind = load_scorer(name, params, Path.cwd()).kind if others else plugin.kind or kind_of(loaded)
    if kind is None:
        raise PluginContractError(
            f"'{name}' does not tell by its shape what it is. Say so with --kind, one of "
            f"{', '.join(kind.value for kind in _KITS)}. A parameter 'completion' makes a verifier, "
            f"and 'completions' a reward. {SHAPES}"
        )
    return _KITS[kind]


def _params(params: Iterable[str]) -> dict[str, Any]:
    chosen = {}
    for param in params:
        name, equals, text = param.partition("=")
        if not (name and equals):
            raise UsageError(f"--param {param} is not of the form NAME=VALUE, such as longest=40.")
        chosen[name] = yaml_value(f"--param {param}", text)
    return chosen


def _from_file(kit: type[Conformance], path: Path) -> dict[str, Any]:
    if issubclass(kit, GroupRewardConformance):
        golden, hacks = read_cases(path)
        by_prompt: dict[str, list[Case]] = {}
        for case in golden:
            by_prompt.setdefault(repr(case.rollout.prompt), []).append(case)
        return {"groups": list(by_prompt.values()), "hacks": hacks}
    if issubclass(kit, VerifierConformance | RewardConformance):
        golden, hacks = read_cases(path)
        return {"golden": golden, "hacks": hacks}
    if issubclass(kit, StageConformance):
        return {"rows": [row for _, row in read_rows(path)]}
    if issubclass(kit, EnvironmentConformance):
        rows = [row for _, row in read_rows(path)]
        if len(rows) != 1:
            raise UsageError(
                f"--cases {path}: it has {len(rows)} rows. Give one, the row of the environment."
            )
        return {"row": rows[0]}
    raise UsageError(
        f"--cases {path}: only a verifier, a reward, a stage and an environment are tried on cases."
    )


def _row(result: CheckResult) -> dict[str, Any]:
    return {
        "check": result.check,
        "what must hold": result.holds,
        "outcome": result.outcome,
        "seconds": round(result.seconds, 2),
    }


def _raise_for(results: Sequence[CheckResult]) -> None:
    failed = [result.check for result in results if result.outcome == "failed"]
    if failed:
        raise CheckFailedError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}.")
