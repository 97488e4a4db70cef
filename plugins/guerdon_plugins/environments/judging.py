"""Run a row's tests on the files that the model left, where the model has never been."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from guerdon.errors import InfrastructureError
from guerdon_plugins.environments.row_tests import FileTest, OutputTest, PythonTest, RowTest, ScriptTest
from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_sandbox import LOCKED, Session, SessionOptions, Sessions, Tree

SETTINGS = frozenset(
    {
        "conftest.py",
        "pytest.ini",
        ".pytest.ini",
        "pytest.toml",
        ".pytest.toml",
        "tox.ini",
        "setup.cfg",
        "sitecustomize.py",
        "usercustomize.py",
    }
)
"""Names of files that change how tests run. Scripts find them as the row gave them, or not at all."""

_OWN = f"{LOCKED}/.guerdon"
_OUTPUT_BYTES = 1 << 20
# Python finds the model's modules last, so that none of them takes the place of a library of the tests.
_SITE = "import sys\nsys.path.append({folder!r})\n"


@dataclass(frozen=True, slots=True)
class Bench:
    """What tests need: containers, the deadline of each, and the verifier of Python's asserts."""

    sessions: Sessions
    options: SessionOptions
    test_s: float
    code: CodeVerifier

    async def judge(self, tests: Sequence[RowTest], tree: Tree, given: Mapping[str, bytes]) -> list[bool]:
        """Return whether each test passes.

        Args:
            tests: The row's tests.
            tree: The files that the model left.
            given: The files that the row gave to the model.

        Raises:
            SandboxUnavailableError: The container was lost.
            InfrastructureError: A test could not run.
        """
        session: Session | None = None
        passed = []
        try:
            for test in tests:
                if isinstance(test, FileTest):
                    passed.append(_same(tree.files.get(test.file), test.content))
                elif isinstance(test, PythonTest):
                    passed.append(await self._asserts(test, tree))
                else:
                    if session is None:
                        session = await self.sessions.open()
                    else:
                        await session.reset()
                    if isinstance(test, OutputTest):
                        passed.append(await self._output(session, test, tree))
                    else:
                        passed.append(await self._script(session, test, tree, given))
                        await session.aclose()  # its locked files are not for the next test
                        session = None
        finally:
            if session is not None:
                await session.aclose()
        return passed

    async def _output(self, session: Session, test: OutputTest, tree: Tree) -> bool:
        added = {path: text.encode() for path, text in test.files.items()}
        await _place(session, _over(tree, added))
        done = await session.run(
            f"{{ {test.run}\n}} 2>/dev/null",
            wall_s=self.test_s,
            output_bytes=max(_OUTPUT_BYTES, 2 * len(test.stdout)),
            stdin=test.stdin.encode(),
        )
        return done.ok and not done.truncated and _same(done.output, test.stdout)

    async def _script(
        self, session: Session, test: ScriptTest, tree: Tree, given: Mapping[str, bytes]
    ) -> bool:
        await _place(session, with_settings(tree, given))
        await session.write({path: text.encode() for path, text in test.files.items()}, folder=LOCKED)
        return await self.run_script(session, test.script)

    async def run_script(self, session: Session, script: str) -> bool:
        """Run a script of tests, with surroundings that the model's files cannot change. Return whether it passes."""
        site = _SITE.format(folder=self.options.folder)
        plugin = files("guerdon_plugins.environments").joinpath("witness.py").read_bytes()
        added = {"sitecustomize.py": site.encode(), "guerdon_witness.py": plugin, "pytest.ini": b"[pytest]\n"}
        await session.write(added, folder=_OWN)
        log = f"tests-{secrets.token_hex(8)}"
        env = {
            **session.environment(),
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            "PYTHONPATH": _OWN,
            "PYTHONSAFEPATH": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTEST_ADDOPTS": f"-c {_OWN}/pytest.ini --rootdir={LOCKED} -p no:cacheprovider -p guerdon_witness",
            "GUERDON_TESTS_LOG": f"/tmp/{log}",
        }
        done = await session.run(script, wall_s=self.test_s, env=env)
        return done.ok and _all_ended(await session.read(log, folder="/tmp") or b"")

    async def _asserts(self, test: PythonTest, tree: Tree) -> bool:
        source = tree.files.get(test.source)
        if source is None:
            return False
        text = source.decode("utf-8", "replace")
        fence = "`" * (3 + max(map(len, re.findall("`+", text)), default=0))
        score = await self.code(f"{fence}python\n{text}\n{fence}", test.python)
        if score.value is None:
            raise InfrastructureError(f"a test of {test.source} could not run: {score.explanation}")
        return score.value == 1.0


def with_settings(tree: Tree, given: Mapping[str, bytes]) -> Tree:
    """Return a tree whose files that change how tests run are those that the row gave."""
    changed = [path for path in tree.files if PurePosixPath(path).name in SETTINGS or path.endswith(".pth")]
    restored = {path: content for path, content in given.items() if PurePosixPath(path).name in SETTINGS}
    return _over(tree.without(changed), restored)


def _all_ended(log: bytes) -> bool:
    """Return whether each run of pytest that started came to its end, with all tests passed."""
    words = [line.split(maxsplit=1) for line in log.decode("utf-8", "replace").splitlines() if " " in line]
    started = {pid for word, pid in words if word == "start"}
    return started <= {pid for word, pid in words if word == "end"}


def _over(tree: Tree, added: Mapping[str, bytes]) -> Tree:
    """Return a tree with further files. What the model left in their places, or as their folders, is dropped."""
    taken = {parent for path in added for parent in (path, *map(str, PurePosixPath(path).parents))}

    def is_free(path: str) -> bool:
        return not any(parent in added for parent in (path, *map(str, PurePosixPath(path).parents)))

    kept = {path: content for path, content in tree.files.items() if path not in taken and is_free(path)}
    folders = frozenset(filter(is_free, tree.folders))
    return Tree({**kept, **added}, tree.executables & kept.keys(), folders, tree.left_out)


async def _place(session: Session, tree: Tree) -> None:
    await session.write(tree.files, executables=tree.executables, folders=tree.folders)


def _same(content: bytes | None, expected: str) -> bool:
    """Return whether two texts are equal, but for spaces at the ends of lines and empty lines at the end."""
    if content is None:
        return False
    return _lines(content.decode("utf-8", "surrogateescape")) == _lines(expected)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
