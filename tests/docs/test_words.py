"""The words of the house: none of the old dialect in the documentation and the code.

The glossary in docs/glossary.md says which word names which thing.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
"""From Python 3.12 on, an f-string has tokens of its own."""

DIALECT = {
    "is no": r"(?<!there )\b(?:is|are|was|were) no\b(?! longer| more\b)",  # is not a
    "is none": r"\b(?:that|which|what|it) (?:is|are) none\b",  # is not one
    "mend": r"\bmend(?:s|ed|ing)?\b",  # fix
    "anew": r"\banew\b",  # again, from scratch
    "go on": r"\b(?:go|goes|going|went) on\b",  # continue, resume
    "stand": r"\b(?:stand|stands|stood)\b(?!-)",  # is
    "is told": r"\b(?:is|are|was|were|be) told\b",  # gets
    "whoever": r"\b(?:whoever|nobody|somebody)\b",  # the caller, no one
    "of its own accord": r"\bof (?:its|their) own accord\b",  # without being asked
    "hold to": r"\b(?:hold|holds|held) (?:\w+ )?to (?!the |a |an )",  # checks that
    "by itself says": r"\bby itself says\b",
    "in place of": r"\bin place of\b",  # instead of
    "likewise": r"\blikewise\b",  # too
    "unbroken": r"\bunbroken\b",  # uninterrupted
    "kin": r"\bkin\b",  # similar ones
    "go with": r"\b(?:go|goes) with\b(?! B\b)",  # can be combined with
    "for good": r"\bfor good\b",  # permanently
}
"""Words and phrases that plain technical English does not need, with what to write in a comment."""


@cache
def documentation() -> tuple[tuple[str, str], ...]:
    """The lines of the documentation outside of its code blocks, each with its place."""
    pages = [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
    ]
    lines: list[tuple[str, str]] = []
    for page in sorted(pages):
        in_block = False
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            in_block ^= line.lstrip().startswith("```")
            if not in_block:
                lines.append((f"{page.relative_to(ROOT)}:{number}", re.sub(r"`[^`]*`", "``", line)))
    return tuple(lines)


@cache
def sources() -> dict[str, str]:
    """The text of each module of the code."""
    rooms = ("core/guerdon", "plugins/guerdon_plugins", "sandbox/guerdon_sandbox")
    paths = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def code(pattern: str) -> tuple[tuple[str, str], ...]:
    """The lines of the comments and strings of the modules with a match, each with its place.

    Few modules have one, and to read all modules' tokens takes seconds.
    """
    return tuple(
        (f"{path}:{number}", line)
        for path, source in sources().items()
        if re.search(pattern, source, re.IGNORECASE)
        for number, line in prose(source)
    )


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a program's comments and strings, with their numbers."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PROSE:
            yield from enumerate(token.string.splitlines(), start=token.start[0])


def found(pattern: str, lines: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{place}: {line.strip()}" for place, line in lines if re.search(pattern, line, re.IGNORECASE)]


@pytest.mark.parametrize("word", DIALECT)
def test_documentation_has_no_dialect(word: str) -> None:
    assert found(DIALECT[word], documentation()) == []


@pytest.mark.parametrize("word", DIALECT)
def test_code_has_no_dialect(word: str) -> None:
    assert found(DIALECT[word], code(DIALECT[word])) == []


def test_judge_is_only_a_model_in_the_glossary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert "- **Judge**: a language model that grades" in glossary
    terms = re.findall(r"^- \*\*([^*]+)\*\*", glossary, re.MULTILINE)
    assert len(terms) == len(set(terms))
    assert {"Scorer", "Entry", "Verifier", "Reward", "Score", "Rubric", "Verdict"} <= set(terms)
