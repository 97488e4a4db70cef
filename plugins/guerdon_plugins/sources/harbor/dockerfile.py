"""What a task's Dockerfile puts into its working folder, and what else it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from guerdon.errors import DataError
from guerdon_plugins.sources.harbor.files import text_of, texts_of

_NOT_FOR_THE_MODEL = frozenset(
    {"tests", "solution", "task.yaml", "task.toml", "solution.sh", "solution.yaml", "run-tests.sh"}
)
"""Entries of a task's folder, which is also the context of its Dockerfile in terminal-bench."""


def copied_files(context: Path, folder: PurePosixPath, built: bool) -> dict[str, str]:
    """Return the texts that a Dockerfile copies into a folder, by path in it.

    Args:
        context: The folder of the Dockerfile; without one, nothing is copied.
        folder: The working folder of the environment.
        built: Whether the environment's image was built from this Dockerfile.

    Raises:
        DataError: The Dockerfile needs what the environment's image may not have, or works in another folder.
    """
    if not (context / "Dockerfile").is_file():
        return {}
    place = folder  # as of terminal-bench's base images, unless the Dockerfile says another
    files: dict[str, str] = {}
    for word, rest in _instructions(text_of(context / "Dockerfile")):
        if word == "WORKDIR":
            place = place / rest
        elif word in ("COPY", "ADD"):
            files |= _copied(rest, place, folder, context, built)
        elif word == "RUN" and not built:
            raise DataError(
                f"its Dockerfile runs '{rest[:60]}', and the image of the environment must have the result. Build it: "
                f"docker build -t NAME {context}; then set 'image: NAME' of the environment, and 'built: true' of the "
                "source"
            )
    if place != folder:
        raise DataError(
            f"it works in {place}, and the source's folder is {folder}. Set 'folder: {place}' of the source and of the "
            "environment"
        )
    return files


def check_tests_image(dockerfile: str, built: bool) -> None:
    """Check that the environment's image has what a Dockerfile of the tests runs.

    Harbor builds a container of its own from it; a shell runs the tests in one of the environment's image.

    Args:
        dockerfile: The text of ``tests/Dockerfile``, or no text.
        built: Whether the image has what it runs.

    Raises:
        DataError: The image may not have it.
    """
    for word, rest in _instructions(dockerfile):
        if word == "RUN" and not built:
            raise DataError(
                f"tests/Dockerfile runs '{rest[:60]}', and the image of the environment must have the result. If it "
                "has, set 'built: true' of the source; otherwise build such an image, and set it as 'image' too"
            )


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield a Dockerfile's instructions, each with its arguments on one line."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\[^\S\n]*\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()


def _copied(
    rest: str, place: PurePosixPath, folder: PurePosixPath, context: Path, built: bool
) -> dict[str, str]:
    rest = re.sub(r"^(--(chmod|chown)=\S+\s+)+", "", rest)
    *patterns, target = map(str, json.loads(rest)) if rest.startswith("[") else rest.split()
    goal = place / target
    if rest.startswith("--") or not patterns or not goal.is_relative_to(folder):
        if built:
            return {}  # it is in the image
        raise DataError(
            f"its Dockerfile has 'COPY {rest[:60]}', which does not copy into {folder}. Build the image, and set "
            "'built: true' of the source"
        )
    found: dict[str, str] = {}
    for pattern in patterns:
        sources = [context] if pattern in (".", "./", "/") else sorted(context.glob(pattern.lstrip("/")))
        if not sources:
            raise DataError(f"its Dockerfile copies '{pattern}', which is not in {context.name}")
        as_folder = len(patterns) > 1 or len(sources) > 1 or target.endswith("/") or goal == place
        for source in sources:
            inside = goal.relative_to(folder)
            if source.is_dir():
                hidden = _NOT_FOR_THE_MODEL if source == context else frozenset()
                found |= {str(inside / name): text for name, text in texts_of(source, hidden).items()}
            else:
                found[str(inside / source.name if as_folder else inside)] = text_of(source)
    return found
