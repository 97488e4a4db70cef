"""The languages that programs may be in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of a language is recognised and run."""

    name: str
    fences: tuple[str, ...]
    """What may stand after the opening of a fence, in lower case."""
    file: str = ""
    """The source's name; empty for Python, which the sandbox runs by itself."""
    compile: Sequence[str] = ()
    """The command that makes ``main`` of the source, for languages that need one."""
    run: Sequence[str] = ()

    @property
    def tool(self) -> str:
        """The program that the image must have."""
        return (*self.compile, *self.run, "python3")[0]


LANGUAGES: Mapping[str, Language] = {
    language.name: language
    for language in (
        Language("python", ("python", "py", "python3")),
        Language(
            "cpp",
            ("cpp", "c++", "cxx", "cc"),
            "main.cpp",
            ("g++", "-O2", "-std=c++17", "-o", "main", "main.cpp"),
            ("./main",),
        ),
        Language("javascript", ("javascript", "js", "node"), "main.js", run=("node", "main.js")),
    )
}


def find_language(name: str) -> Language | None:
    """A language by its name or by any that a fence may give it."""
    lowered = name.strip().lower()
    return next((one for one in LANGUAGES.values() if lowered in (one.name, *one.fences)), None)
