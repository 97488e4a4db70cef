"""The code blocks of the documentation, and a page run as a reader would: ``python tests/docs/pages.py PAGE FOLDER``.

A block with a title is a file: ```` ```python title="tidy.py" ````. A shell block is run as it stands. A comment
before a block says what else holds:

    <!-- not run: why -->        the block cannot be run here
    <!-- exit status 1 -->       the block's last command ends so, and rightly
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"""(?: ^<!--\ (?P<comment>[^\n]*?)\ -->\n )?
        ^(?P<indent>[ ]*)(?P<fence>```+)(?P<language>\w*)(?P<options>[^\n]*)\n
        (?P<text>.*?)
        ^(?P=indent)(?P=fence)[ ]*$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    title: str
    """The file that the block is; empty for a block that is none."""
    not_run: str
    """Why it cannot be run here."""
    status: int
    """The exit status that a shell block ends with."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, relative to the repository."""
    found = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def blocks(page: str) -> Iterator[Block]:
    """A page's fenced blocks, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        comment = match["comment"] or ""
        title = re.search(r'title="([^"]*)"', match["options"])
        status = re.fullmatch(r"exit status (\d+)", comment)
        yield Block(
            page,
            line=text.count("\n", 0, match.start("fence")) + 1,
            language=match["language"],
            text=match["text"],
            title=title[1] if title else "",
            not_run=comment.removeprefix("not run: ") if comment.startswith("not run: ") else "",
            status=int(status[1]) if status else 0,
        )


@dataclass(frozen=True)
class Ran:
    """A shell block that was run."""

    command: str
    output: str
    """Standard output, then standard error."""
    seconds: float
    """Wall time."""

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} s  {'; '.join(self.command.strip().splitlines())}"


def run_page(page: str, folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Ran]:
    """Write a page's files and run its commands, in their order, in a folder.

    Raises:
        AssertionError: A block ended with another exit status than the page says.
    """
    for block in blocks(page):
        if block.not_run:
            continue
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            started = time.monotonic()
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            output = done.stdout + done.stderr
            assert done.returncode == block.status, f"{block} ended with status {done.returncode}:\n{output}"
            yield Ran(block.text, output, time.monotonic() - started)


def main() -> None:
    started = time.monotonic()
    for ran in run_page(sys.argv[1], Path(sys.argv[2])):
        sys.stdout.write(f"{ran}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.monotonic() - started:6.1f} s  in all\n")


if __name__ == "__main__":
    main()
