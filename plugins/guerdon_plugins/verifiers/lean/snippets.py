"""Make the snippet that a server checks: the goal, elaborated before the completion's code, and the check after it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

MAX_CHARACTERS = 100_000

_FORBIDDEN = re.compile(
    r"\b(?:sorry|admit|axiom|native_decide|unsafe|opaque|extern|implemented_by|csimp|initialize|builtin_initialize"
    r"|macro|macro_rules|elab|elab_rules|syntax|declare_syntax_cat|notation3?|infix[lr]?|prefix|postfix|by_elab"
    r"|run_cmd|run_tac|run_meta|run_elab|simproc|skipKernelTC|debug|sorryAx|ofReduceBool|ofReduceNat|trustCompiler"
    r"|Lean|variables?|include)\b"
    r"|#(?:eval|exit|reduce|print)"
)
"""What cannot be in a proof: holes, axioms, compiled evaluation, and commands that change how Lean reads the check.

A variable named as the theorem would be a hypothesis of the check. ``open Lean`` gives access to the elaborators.
"""

_COMMENT = re.compile(r"(?<!\S)(?:--[^\n]*|/-.*?-/)", re.DOTALL)
"""A comment after white space. Elsewhere, ``--`` may belong to another token, as in ``<--``."""
_IMPORT = re.compile(r"^[^\S\n]*import\s[^\n]*\n?", re.MULTILINE)
_STATEMENT = re.compile(r"\b(?:theorem|lemma)\s+([^\s:({\[⦃]+)")
_OPENING, _CLOSING = "([{⟨⦃", ")]}⟩⦄"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a reference asks to prove."""

    before: str
    """The commands before the theorem: ``open`` and definitions."""
    name: str
    binders: str
    type: str


def goal_of(reference: str) -> Goal:
    """Return the goal of a reference: its last theorem, with or without ``:= by sorry``.

    Raises:
        ValueError: It states no theorem.
    """
    text = _IMPORT.sub("", reference)
    statements = list(_STATEMENT.finditer(text))
    if not statements:
        raise ValueError(
            f"the reference {reference[:60]!r} states no theorem; give 'theorem name : type := by sorry'"
        )
    found = statements[-1]
    colon = _outside(text, ":", found.end())
    end = len(text) if colon < 0 else _outside(text, ":=", colon + 1)
    goal = text[colon + 1 : end if end >= 0 else len(text)].strip() if colon >= 0 else ""
    if not goal:
        raise ValueError(f"the theorem {found[1]!r} has no type")
    if re.search(r"^[^\S\n]*+(?:universe|variables?)\b", text[: found.start()], re.MULTILINE):
        raise ValueError(f"the theorem {found[1]!r} follows 'variable' or 'universe'; state them as binders")
    return Goal(text[: found.start()].strip(), found[1], text[found.end() : colon].strip(), goal)


def _outside(text: str, mark: str, start: int) -> int:
    """Return the place of a mark outside of all brackets, or -1. A colon of ``:=`` is not a colon."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] in _OPENING) - (text[place] in _CLOSING)
        if (
            depth == 0
            and text.startswith(mark, place)
            and (mark != ":" or text[place + 1 : place + 2] != "=")
        ):
            return place
    return -1


def forbidden(code: str) -> str | None:
    """Return what is forbidden in a completion's code, or ``None``.

    Comments count where there are strings or quoted names, which may look like the start of one.
    """
    found = _FORBIDDEN.search(code if '"' in code or "«" in code else _COMMENT.sub(" ", code))
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Snippet:
    """The code that a server checks."""

    code: str
    goal_end: int
    """The last line of the goal."""
    axioms_line: int
    """The line that prints the axioms."""
    check: str
    """The name of the theorem that says that the completion proves the goal."""


def snippet_of(goal: Goal, proof: str, header: str) -> Snippet:
    """Return the snippet for a proof.

    The goal is elaborated first, so that nothing in the proof can change its meaning. The last theorem states that the
    proof's theorem has the goal's type. Its name is a digest, so that the proof cannot know it.

    Args:
        goal: The goal.
        proof: The completion's code.
        header: The imports and options.
    """
    digest = hashlib.sha256(f"{goal}\n{proof}".encode(errors="replace")).hexdigest()[:16]
    bound = f"∀ {goal.binders}, {goal.type}" if goal.binders else goal.type
    first = f"{header}\n{goal.before}\ndef Goal_{digest} : Prop :=\n  {bound}\n"
    body = f"{first}{_IMPORT.sub('', proof)}\n"
    check = f"check_{digest}"
    code = f"{body}theorem {check} : Goal_{digest} := @{goal.name}\n#print axioms {check}\n"
    return Snippet(code, first.count("\n"), code.count("\n"), check)
