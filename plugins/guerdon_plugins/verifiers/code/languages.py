"""The supported programming languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of a language is recognised and run."""

    name: str
    fences: tuple[str, ...]
    """The words after the opening of a fence, in lower case."""
    file: str = ""
    """The name of the source file; empty for Python, which the sandbox runs directly."""
    compile: Sequence[str] = ()
    """The command that compiles the source to ``main``, for languages that need one."""
    run: Sequence[str] = ()
    needs: str = ""
    """The program that the image must have, if it is not the first word of the commands."""
    part: str = ""
    """A file of it that the image must have, too, as a pattern of the shell."""
    extra: bool = False
    """Whether a toolchain image has it only if ``guerdon sandbox build --with`` names it."""

    @property
    def probe(self) -> str:
        """Return the shell command that succeeds in an image with the language."""
        return f"command -v {self._tool}" + (f" && test -e {self.part}" if self.part else "")

    @property
    def advice(self) -> str:
        """Return what to do about an image without the language."""
        extra = f" --with {self.name}" if self.extra else ""
        return (
            f"the image lacks '{self._tool}', or a part of it, which {self.name} needs. Build one that has it with: "
            f"guerdon sandbox build --toolchain{extra}, or name one of your own by the param 'image'"
        )

    @property
    def _tool(self) -> str:
        return self.needs or (*self.compile, *self.run, "python3")[0]


LANGUAGES: Mapping[str, Language] = {
    language.name: language
    for language in (
        Language("python", ("python", "py", "python3", "pypy", "pypy3")),
        Language(
            "cpp",
            ("cpp", "c++", "cxx", "cc", "c++14", "c++17", "c++20", "cpp17", "cpp20"),
            "main.cpp",
            ("g++", "-O2", "-std=c++20", "-o", "main", "main.cpp"),
            ("./main",),
        ),
        Language(
            "c",
            ("c", "c11", "c17"),
            "main.c",
            ("gcc", "-O2", "-std=gnu17", "-o", "main", "main.c", "-lm"),
            ("./main",),
        ),
        Language(
            "rust",
            ("rust", "rs"),
            "main.rs",
            ("rustc", "-O", "-o", "main", "main.rs"),
            ("./main",),
            extra=True,
        ),
        # The image has the compiled standard library: to compile it takes 15 s, and cgo would fill the work folder.
        Language(
            "go",
            ("go", "golang"),
            "main.go",
            ("sh", "-c", "CGO_ENABLED=0 GODEBUG=installgoroot=all go build -ldflags='-s -w' -o main main.go"),
            ("./main",),
            needs="go",
            part="$(go env GOROOT)/pkg/linux_*/fmt.a",
            extra=True,
        ),
        # The class may have any name, because java runs the first one of a source file.
        Language("java", ("java",), "Main.java", run=("java", "-Xshare:auto", "Main.java"), extra=True),
        Language("javascript", ("javascript", "js", "node"), "main.js", run=("node", "main.js")),
        # A type error does not fail the program, because the JavaScript is still written.
        Language(
            "typescript",
            ("typescript", "ts"),
            "main.ts",
            ("sh", "-c", "tsc --target es2020 --module commonjs main.ts >&2; mv main.js main"),
            ("node", "main"),
            needs="tsc",
            extra=True,
        ),
        Language("bash", ("bash", "sh", "shell"), "main.sh", run=("bash", "main.sh")),
    )
}


def find_language(name: str) -> Language | None:
    """Return a language by its name or by a word after a fence, if there is one."""
    lowered = name.strip().lower()
    return next((one for one in LANGUAGES.values() if lowered in (one.name, *one.fences)), None)
