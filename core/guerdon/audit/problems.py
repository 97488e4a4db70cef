"""The problems that an audit uses: the corpus' own, or rows of a stage's data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from inspect import isclass
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon.audit.corpus import KINDS, Problem, load_corpus, texts
from guerdon.audit.forms import PLACEHOLDER, gold_form, tags_of, target_language
from guerdon.errors import DataError, UsageError
from guerdon.files import read_rows
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.plugins.columns import FROM_ROLLOUT
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.plugins.gold import gold_completion
from guerdon.rubric import Entry
from guerdon.run.data import open_source
from guerdon.text import tag_marks
from guerdon.types import Row, message_text

SAMPLE_ROWS = 200
"""Rows of each source that are searched for problems with different answers."""

_FORMULA = re.compile(r"(?<![\d.()])[\d(][\d.()]*+(?:\s*+[-+*/×÷·−]\s*+[\d(][\d.()]*+)+")
"""A calculation in a prompt, such as ``12 + 30``."""


def kinds_of(entries: Sequence[Entry]) -> list[str]:
    """Return the kinds of a rubric's verifiers, from their attribute ``audit_kind``.

    Raises:
        UsageError: A kind has no corpus.
    """
    found = []
    for entry in entries:
        component = entry.component
        built = component.build() if isclass(component.loaded) else None  # a kind may depend on the params
        kind = component.member("audit_kind", of=built)
        if kind is not None and kind not in KINDS:
            raise UsageError(f"{component.plugin} has the audit_kind {kind!r}. Kinds: {', '.join(KINDS)}.")
        found.append(kind)
    return sorted({kind for kind in found if kind}, key=KINDS.index)


def takes_reference(entry: Entry) -> bool:
    """Return whether a verifier compares with a reference.

    A reward that takes all columns counts as one that does not.
    """
    return "reference" in entry.component.columns.names


def own_problems(entries: Sequence[Entry], kinds: Sequence[str]) -> list[Problem]:
    """Return the corpus' problems of the first kind.

    Raises:
        UsageError: A verifier needs a column that they do not have.
    """
    kind = kinds[0] if kinds else "answer"
    problems = [
        _problem(
            data.name,
            [{"role": "user", "content": data.prompt}],
            data.columns,
            entries,
            {**data.names, "answer": data.answer, "wrong": data.wrong},
            [(equivalent.answer, equivalent.why) for equivalent in data.equivalents],
        )
        for data in load_corpus(kind).problems
    ]
    for entry in entries:
        for problem in problems:
            missing = sorted(entry.component.columns.required - problem.columns.keys() - FROM_ROLLOUT)
            if missing:
                raise UsageError(
                    f"{entry.component.plugin} needs the column '{missing[0]}', which the corpus' own problems of kind "
                    f"'{kind}' lack. Audit a manifest whose data has it, or name another --kind."
                )
    return problems


OWN_FORM = PLACEHOLDER
"""The form of the user's own answers, which are whole completions."""


def case_problems(path: Path, entries: Sequence[Entry]) -> list[Problem]:
    """Return problems from a file of the user's right and wrong answers.

    A row has ``right`` and ``wrong``, each a completion or a list of them, ``prompt`` where it helps, and the columns
    that the verifiers read.

    Raises:
        DataError: The file cannot be read, holds no rows, or a row lacks what it needs.
    """
    problems = []
    for where, row in read_rows(path):
        answers = {name: _completions(where, row, name) for name in ("right", "wrong")}
        columns = {name: value for name, value in row.items() if name not in (*answers, "prompt")}
        for entry in (entry for entry in entries if entry.applies_to(columns)):
            missing = sorted(entry.component.columns.required - columns.keys() - FROM_ROLLOUT)
            if missing:
                plugin = entry.component.plugin
                raise DataError(f"{where}: {plugin} needs the column '{missing[0]}'. Add it to the row.")
        (right, *rights), (wrong, *wrongs) = answers.values()
        names = {"answer": right, "wrong": wrong}
        equivalents = [(other, "One of your own right answers.") for other in rights]
        prompt = row.get("prompt", "")
        problems.append(
            _problem(where.rpartition("/")[2], prompt, columns, entries, names, equivalents, wrongs)
        )
    if not problems:
        raise DataError(f"{path} holds no rows.")
    return problems


def _completions(where: str, row: Row, name: str) -> list[str]:
    value = row.get(name)
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise DataError(
            f"{where}: '{name}' is {value!r:.60}. A row has 'right' and 'wrong', each a completion or a list of them."
        )
    return found


def stage_problems(plan: Plan, stage: StagePlan, count: int) -> list[Problem]:
    """Return problems from a stage's data rows. The result is empty if no row has a reference with an answer.

    An honest wrong answer is the right answer of another row. So only rows with different answers are used.

    Args:
        plan: The run.
        stage: One of its stages.
        count: The number of problems.

    Raises:
        GuerdonError: A source cannot be read.
    """
    found: dict[str, Row] = {}
    for source in stage.sources:
        if source.stage_id is None:
            for row in islice(open_source(source, plan.manifest.heldout, {}), SAMPLE_ROWS):
                answer = _answer(row, stage.entries)
                if answer is not None:
                    found.setdefault(answer, row)
    answers = list(found)[: count + 1]
    if len(answers) < 2:
        return []
    return [
        _problem(
            f"row {number}",
            found[answer].get("prompt", ""),
            {name: value for name, value in found[answer].items() if name != "prompt"},
            stage.entries,
            {"answer": answer, "wrong": answers[number % len(answers)]},
        )
        for number, answer in enumerate(answers[:count], start=1)
    ]


def _answer(row: Row, entries: Sequence[Entry]) -> str | None:
    reference = row.get("reference")
    for entry in entries:
        if entry.component.kind is Kind.VERIFIER and entry.applies_to(row) and takes_reference(entry):
            built = entry.component.build()
            has_gold = entry.component.member("gold_completion", of=built) is not None
            if isinstance(reference, str | int | float) and not isinstance(reference, bool):
                return _bare(entry.component, built, reference) if has_gold else str(reference)
            return gold_completion(entry.component, built, reference) if has_gold else None
    return None


def _bare(component: Component, built: Any, reference: str | int | float) -> str | None:
    """Return the answer in a reference, without the form that the verifier expects."""
    written = gold_completion(component, built, reference)
    form = gold_form(component, built)
    if written is None or form is None:
        return written
    before, _, after = form.partition(PLACEHOLDER)
    return written.removeprefix(before).removesuffix(after)


def _problem(
    name: str,
    prompt: Any,
    columns: Row,
    entries: Sequence[Entry],
    names: Mapping[str, str],
    equivalents: Sequence[tuple[str, str]] = (),
    wrongs: Sequence[str] = (),
) -> Problem:
    tags = tags_of(entries)
    text = message_text(prompt)
    language = str(target_language(entries) or columns.get("language"))
    if language not in texts():
        language = "en"
    foreign = texts()["zh" if language != "zh" else "en"]["reasoning"]
    known = {
        "prompt": text,
        "reasoning": texts()[language]["reasoning"],
        "short": texts()[language]["short"],
        "foreign": foreign,
        "foreign_joined": foreign.replace(" ", "_"),
        **names,
    }
    if not any(" " in tag for tag in tags):  # the corpus writes tags by their names
        known |= {"first": tags[0], "last": tags[-1]}
    opening, closing = tag_marks(tags[0])
    thought = f"{opening}\n{known['reasoning']}\n{closing}" if len(tags) > 1 else known["reasoning"]
    known["half_the_form"] = f"{thought}\n\n{known['answer']}"
    formula = max(_FORMULA.findall(text), key=len, default="").rstrip(".")
    if formula:
        known["expression"] = formula
    if known["answer"].startswith("```"):
        known["bare_answer"] = known["answer"].partition("\n")[2].rstrip("`")
    return Problem(name, prompt, {"language": language, **columns}, known, equivalents, wrongs)
