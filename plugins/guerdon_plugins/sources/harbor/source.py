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
from guerdon_plugins.sources.harbor.dockerfile import check_tests_image, copied_files
from guerdon_plugins.sources.harbor.files import text_of, texts_of

_NETWORK = re.compile(
    r"^\s*(?:(?:sudo|if|!)\s+)*(curl|wget|apt-get|apt|apk|pip3?|uvx?|npm|git\s+clone)(?=\s)", re.MULTILINE
)

_SCRIPT = """mkdir -p /logs/verifier
bash /tests/test.sh
python3 -I - <<'END'
import json, sys
rewards = json.load(open("/logs/verifier/{file}"))
if isinstance(rewards, dict):
    rewards = {{"reward": rewards["reward"]}} if "reward" in rewards else rewards
else:
    rewards = {{"reward": rewards}}
sys.exit(not rewards or not all(float(reward) >= 1 for reward in rewards.values()))
END
"""
"""Runs a test of Harbor, which writes the reward, or several by name, into a file."""

_UNSUPPORTED = {
    "environment": ("env", "mcp_servers", "skills_dir", "gpus", "tpu"),
    "verifier": ("env", "environment", "collect"),
}
"""The settings of a task that a shell would ignore, so that a right rollout could fail its tests."""

_SETUP = "test -w /logs || { echo 'set writable: [/tmp, /logs] of the environment'; exit 1; }"
"""A shell that cannot write there would give 0 to a right rollout."""


class Harbor:
    """Yields a row for each task folder of Harbor or terminal-bench.

    A task of Harbor has ``task.toml`` and ``instruction.md``, one of terminal-bench has ``task.yaml``. A row has
    ``prompt`` (the instruction, as a conversation), ``task`` (the folder's name), ``files`` (what the Dockerfile copies
    into the working folder) and ``tests``. Its environment is a ``shell`` with the same ``folder``. A task that needs
    what a shell lacks is an error that says how to provide it.

    Args:
        path: A task's folder, or a folder of such folders, relative to the manifest's folder.
        tests: ``script`` runs ``tests/test.sh``, which passes if it writes a reward of at least 1; ``pytest`` runs
            ``tests/test_outputs.py`` directly.
        folder: The working folder of the tasks' Dockerfiles.
        built: Whether the environment's image has what the tasks' Dockerfiles run, that of the tests included.
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
        prompt = [{"role": "user", "content": self._instruction(task)}]  # tools need a conversation
        context = task / "environment" if (task / "environment").is_dir() else task
        _check_services(context)
        files = copied_files(context, self._folder, self._built)
        row = {"prompt": prompt, "task": task.name, "files": json.dumps(files)}
        tests = texts_of(task / "tests")
        check_tests_image(tests.get("Dockerfile", ""), self._built)
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
        script = _SCRIPT.format(file=_reward_file(tests))
        return {**row, "tests": json.dumps([{"script": script, "files": tests}]), "setup": _SETUP}

    def _instruction(self, task: Path) -> str:
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
        if (task / "trajectory.json").is_file():
            raise DataError("it continues a conversation (trajectory.json), which is not supported")
        self._check_settings(settings)
        return text_of(task / "instruction.md")

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        """Check that a shell has what a task asks for.

        Raises:
            DataError: It has not.
        """
        for table, keys in _UNSUPPORTED.items():
            given = settings.get(table)
            for key in keys:
                if isinstance(given, Mapping) and given.get(key):
                    raise DataError(f"task.toml sets {table}.{key}, which the shell does not have")
        environment = settings.get("environment")
        if not isinstance(environment, Mapping):
            return
        if str(environment.get("os", "linux")).lower() != "linux":
            raise DataError(f"its container's system is {environment['os']}, and the shell's is Linux")
        if (image := environment.get("docker_image")) and not self._built:
            raise DataError(
                f"its image is {image}. Set 'image: {image}' of the environment, and 'built: true' of the source"
            )


def _is_task(folder: Path) -> bool:
    return (folder / "task.toml").is_file() or (folder / "task.yaml").is_file()


def _reward_file(tests: Mapping[str, str]) -> str:
    """Return the name of the file into which a task's tests write the reward.

    Only one is read: code of the model that a test runs could write the other.

    Raises:
        DataError: They name none, so that every rollout would get 0.
    """
    for name in ("reward.txt", "reward.json"):
        if any(name in text for text in tests.values()):
            return name
    raise DataError("tests/test.sh writes no reward: nothing in tests names reward.txt or reward.json")


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
