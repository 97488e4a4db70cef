"""The problems that an audit works on: the corpus' own, or rows of a stage's data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from guerdon.audit.corpus import KINDS, Problem, load_corpus, texts
from guerdon.audit.forms import tags_of, target_language
from guerdon.errors import DataError, UsageError
from guerdon.files import read_rows
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.plugins.component import CallColumns
from guerdon.plugins.discovery import Kind, load_plugin
from guerdon.rubric import Entry
from guerdon.run.data import open_source
from guerdon.text import tag_marks
from guerdon.types import Row, message_text

SAMPLE_ROWS = 200
"""Rows of each source among which problems with different answers are looked for."""

_FORMULA = re.compile(r"(?<![\d.()])[\d(][\d.()]*+(?:\s*+[-+*/×÷·−]\s*+[\d(][\d.()]*+)+")
"""A calculation in a prompt, such as ``12 + 30``."""


def kinds_of(entries: Sequence[Entry]) -> list[str]:
    """The kinds that a rubric's verifiers say they are, by their attribute ``audit_kind``.

    Raises:
        UsageError: One says a kind that there is no corpus for.
    """
    found = []
    for entry in entries:
        loaded = load_plugin(entry.component.plugin, entry.component.base_dir)
        kind = getattr(loaded, "audit_kind", None)
        if kind is not None and kind not in KINDS:
            raise UsageError(
                f"{entry.component.plugin} has the audit_kind {kind!r}. Kinds: {', '.join(KINDS)}."
            )
        found.append(kind)
    return sorted({kind for kind in found if kind}, key=KINDS.index)


def takes_reference(entry: Entry) -> bool:
    """Whether a verifier compares with a reference; a reward that takes all columns is taken not to."""
    return "reference" in _columns(entry).names


def own_problems(entries: Sequence[Entry], kinds: Sequence[str]) -> list[Problem]:
    """The corpus' problems of the first kind.

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
            missing = sorted(_columns(entry).required - problem.columns.keys() - {"prompt"})
            if missing:
                raise UsageError(
                    f"{entry.component.plugin} needs the column '{missing[0]}', which the corpus' own problems of kind "
                    f"'{kind}' lack. Audit a manifest whose data has it, or name another --kind."
                )
    return problems


OWN_FORM = "[[answer]]"
"""The form of own answers: they are whole completions."""


def case_problems(path: Path, entries: Sequence[Entry]) -> list[Problem]:
    """Return problems from a file of own right and wrong answers.

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
            missing = sorted(_columns(entry).required - columns.keys() - {"prompt"})
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
    """Problems from a stage's data rows; none where no row has a reference that gives an answer.

    An honest wrong answer is the right answer of another row. So a row counts whose answer differs from the others'.

    Args:
        plan: The run.
        stage: One of its stages.
        count: How many problems.

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
            gold = getattr(entry.component.build(), "gold_completion", None)
            if isinstance(reference, str | int | float) and not isinstance(reference, bool):
                return _bare(gold, reference)
            written = gold(reference) if callable(gold) else None
            return written if isinstance(written, str) else None
    return None


def _bare(gold: Any, reference: str | int | float) -> str | None:
    """The answer that a reference gives, without the form that the verifier asks for it in."""
    if not callable(gold):
        return str(reference)
    try:
        form, written = gold("[[answer]]"), gold(reference)
    except Exception:  # one that reads its reference cannot read a placeholder
        return None
    if not isinstance(form, str) or "[[answer]]" not in form:
        return written if isinstance(written, str) else None
    before, _, after = form.partition("[[answer]]")
    return str(written).removeprefix(before).removesuffix(after)


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


def _columns(entry: Entry) -> CallColumns:
    component = entry.component
    return CallColumns.of_loaded(component, load_plugin(component.plugin, component.base_dir))
