"""A shell in a container for each rollout. The row's tests decide at the end, in another container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import InfrastructureError
from guerdon_plugins.environments.judging import Bench
from guerdon_plugins.environments.row_tests import RowTest, read_files, read_tests
from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_sandbox import (
    PYTHON_IMAGE,
    CommandResult,
    SandboxError,
    SandboxUsageError,
    Session,
    SessionOptions,
    Sessions,
)

_SMALLEST = {"command_s": 1.0, "test_s": 1.0, "memory_mb": 64, "work_mb": 1, "processes": 8}


class Shell:
    """Gives the model a shell, without a network, in a container of its own.

    A row has ``tests``, and optionally ``files`` (texts by path, which the model finds) and ``setup`` (a command that
    runs before the model's). The reward is 1 if all tests pass on the files that the model left, else 0. They run in
    another container, which has neither the model's processes nor anything that its shell was set to.

    Args:
        image: The image of the containers; any with bash and Python 3.11 or newer.
        folder: Where commands start, and where the row's files are.
        writable: Further folders that commands may write.
        command_s: The deadline of one command, in seconds.
        test_s: The deadline of one test, in seconds.
        memory_mb: Memory of a container, in MB.
        work_mb: The size of the folder, in MB, which counts as memory.
        processes: The most processes and threads at one time.
        engine: The address of a Docker engine; by default the local one, or the one that DOCKER_HOST names.
        runtime: The engine's runtime, such as ``runsc`` for gVisor.

    Raises:
        ValueError: A param is out of its range.
    """

    timeout_s = 600.0
    setup_timeout_s = 120.0

    def __init__(
        self,
        image: str = PYTHON_IMAGE,
        folder: str = "/box",
        writable: Sequence[str] = ("/tmp",),
        command_s: float = 60.0,
        test_s: float = 60.0,
        memory_mb: int = 512,
        work_mb: int = 64,
        processes: int = 128,
        engine: str | None = None,
        runtime: str | None = None,
    ) -> None:
        given = {
            "command_s": command_s,
            "test_s": test_s,
            "memory_mb": memory_mb,
            "work_mb": work_mb,
            "processes": processes,
        }
        for name, value in given.items():
            if value < _SMALLEST[name]:
                raise ValueError(f"{name} is {value}: give {_SMALLEST[name]:g} or more.")
        self._command_s = command_s
        try:
            options = SessionOptions(
                image=image,
                runtime=runtime,
                memory_bytes=memory_mb << 20,
                work_bytes=work_mb << 20,
                processes=processes,
                folder=folder,
                writable=tuple(writable),
            )
        except SandboxUsageError as error:
            raise ValueError(str(error)) from error
        self._sessions = Sessions(engine, options)
        code = CodeVerifier(engines=[engine] if engine else (), boxes=1, wall_s=test_s, runtime=runtime)
        self._bench = Bench(self._sessions, options, test_s, code)
        self._session: Session | None = None

    async def preflight(self) -> None:
        """Check that a container can be started."""
        try:
            session = await self._sessions.open()
            await session.aclose()
        except SandboxError as error:
            raise InfrastructureError(str(error)) from error

    async def aclose(self) -> None:
        """End the containers."""
        await self._sessions.aclose()
        await self._bench.code.aclose()

    async def reset(self, **row: Any) -> str | None:
        """Start a container with the row's files."""
        if self._session is not None:
            await self._session.aclose()
        self._tests: list[RowTest] = read_tests(row.get("tests"))
        files = read_files(row.get("files"), "column 'files'")
        self._given: Mapping[str, bytes] = {path: text.encode() for path, text in files.items()}
        self._commands = 0
        self._passed: list[bool] = []
        try:
            self._session = await self._sessions.open()
            await self._session.write(self._given)
            if row.get("setup"):
                done = await self._session.run(str(row["setup"]), wall_s=self._command_s)
                if not done.ok:
                    raise ValueError(f"the row's setup failed: {_shown(done, self._command_s)[-300:]}")
        except SandboxUsageError as error:
            raise ValueError(str(error)) from error
        except SandboxError as error:
            raise InfrastructureError(str(error)) from error
        return None

    async def shell(self, command: str) -> str:
        """Run a command in bash. Files, exported variables and the folder stay for the next command.

        Args:
            command: The command, or several lines of them.
        """
        if not isinstance(command, str):
            raise TypeError("the command is not text")
        assert self._session is not None
        self._commands += 1
        try:
            return _shown(await self._session.run(command, wall_s=self._command_s), self._command_s)
        except SandboxUsageError as error:
            raise ValueError(str(error)) from error
        except SandboxError as error:
            raise InfrastructureError(str(error)) from error

    async def get_reward(self) -> float:
        """End the model's container, and run the tests on the files that it left."""
        assert self._session is not None
        try:
            tree = await self._session.finish()
            self._passed = await self._bench.judge(self._tests, tree, self._given)
        except SandboxError as error:
            raise InfrastructureError(str(error)) from error
        return float(all(self._passed))

    def state(self) -> dict[str, Any]:
        """Return what the record shows: the number of commands, and which tests passed."""
        return {"commands": self._commands, "tests_passed": self._passed}


def _shown(done: CommandResult, command_s: float) -> str:
    """Return what the model reads: the output, and how the command ended, if not with status 0."""
    lines = [done.output.decode("utf-8", "replace").rstrip("\n")]
    if done.truncated:
        lines.append("[the rest of the output was dropped]")
    if done.limit == "wall":
        lines.append(f"[stopped after {command_s:g} s]")
    elif done.limit == "memory":
        lines.append("[a process was killed: the memory was used up]")
    if done.exit_code is None and done.limit is None:
        lines.append("[the shell was killed by a signal]")
    elif done.exit_code:
        lines.append(f"[exit status {done.exit_code}]")
    return "\n".join(filter(None, lines)) or "[no output]"
