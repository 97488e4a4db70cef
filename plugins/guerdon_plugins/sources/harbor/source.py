"""The plugin: a row for each task folder."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.errors import DataError
from guerdon_plugins.sources.harbor.dockerfile import copied_files
from guerdon_plugins.sources.harbor.files import text_of, texts_of

_NETWORK = re.compile(
    r"^\s*(?:(?:sudo|if|!)\s+)*(curl|wget|apt-get|apt|apk|pip3?|uvx?|npm|git\s+clone)(?=\s)", re.MULTILINE
)

_SCRIPT = """mkdir -p /logs/verifier
bash /tests/test.sh
python3 -I -c "import sys; sys.exit(not float(open('/logs/verifier/reward.txt').read()) >= 1)"
"""
"""Runs a test of Harbor, which writes the reward into a file."""

_SETUP = "test -w /logs || { echo 'set writable: [/tmp, /logs] of the environment'; exit 1; }"
"""A shell that cannot write there would give 0 to a right rollout."""


class Harbor:
    """Yields a row for each task folder of Harbor or terminal-bench.

    A task of Harbor has ``task.toml`` and ``instruction.md``, one of terminal-bench has ``task.yaml``. A row has
    ``prompt`` (the instruction), ``task`` (the folder's name), ``files`` (what the Dockerfile copies into the working
    folder) and ``tests``. Its environment is a ``shell`` with the same ``folder``. A task that needs what a shell lacks
    is an error that says how to provide it.

    Args:
        path: A task's folder, or a folder of such folders, relative to the manifest's folder.
        tests: ``script`` runs ``tests/test.sh``, which passes if it writes a reward of at least 1; ``pytest`` runs
            ``tests/test_outputs.py`` directly.
        folder: The working folder of the tasks' Dockerfiles.
        built: Whether the environment's image was built from the tasks' Dockerfile, so that it has what that runs.
        base_dir: The folder that the path starts from; given by the engine.

    Raises:
        DataError: The path has no task.
    """

    def __init__(
        self,
        path: str,
        tests: Literal["script", "pytest"] = "script",
        folder: str = "/app",
        built: bool = False,
        base_dir: Path | None = None,
    ) -> None:
        root = (base_dir or Path.cwd()) / Path(path).expanduser()
        self._tasks = [root] if _is_task(root) else sorted(filter(_is_task, root.glob("*")))
        if not self._tasks:
            raise DataError(
                f"no task is in {root}: a task's folder has task.toml or task.yaml. Check the source's 'path'."
            )
        self._pytest = tests == "pytest"
        self._folder = PurePosixPath(folder)
        self._built = built

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for task in self._tasks:
            try:
                yield self._row(task)
            except DataError as error:
                raise DataError(f"task '{task.name}': {error}.") from None

    def _row(self, task: Path) -> dict[str, Any]:
        prompt = _instruction(task)
        context = task / "environment" if (task / "environment").is_dir() else task
        _check_services(context)
        files = copied_files(context, self._folder, self._built)
        row = {"prompt": prompt, "task": task.name, "files": json.dumps(files)}
        tests = texts_of(task / "tests")
        needed = "test_outputs.py" if self._pytest else "test.sh"
        if needed not in tests:
            other = "script" if self._pytest else "pytest"
            raise DataError(f"tests/{needed} is missing. Set the source's 'tests' to {other}")
        if self._pytest:
            test = {"script": "python3 -m pytest -q /tests/test_outputs.py", "files": tests}
            return {**row, "tests": json.dumps([test])}
        if found := _NETWORK.search(tests["test.sh"]):
            raise DataError(
                f"tests/test.sh calls '{found[1]}', and the shell has no network. Set the source's 'tests' to pytest, "
                "with an image that has what the tests import; or install it in the image, and remove the call"
            )
        return {**row, "tests": json.dumps([{"script": _SCRIPT, "files": tests}]), "setup": _SETUP}


def _is_task(folder: Path) -> bool:
    return (folder / "task.toml").is_file() or (folder / "task.yaml").is_file()


def _instruction(task: Path) -> str:
    if not (task / "task.toml").is_file():
        instruction = _yaml(task / "task.yaml").get("instruction")
        if not isinstance(instruction, str):
            raise DataError("task.yaml has no text 'instruction'")
        return instruction
    try:
        settings = tomllib.loads(text_of(task / "task.toml"))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"task.toml is not TOML: {error}") from None
    if settings.get("steps"):
        raise DataError("it has several steps, and a rollout has one prompt")
    return text_of(task / "instruction.md")


def _check_services(context: Path) -> None:
    for path in (context / "docker-compose.yaml", context / "docker-compose.yml"):
        if path.is_file() and len(services := _yaml(path).get("services") or {}) != 1:
            raise DataError(f"{path.name} has {len(services)} services, and the shell is one container")


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        read = YAML(typ="safe").load(text_of(path))
    except YAMLError as error:
        raise DataError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    return read if isinstance(read, Mapping) else {}
