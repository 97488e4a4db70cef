"""A session: one container for one rollout, in which many commands run one after the other.

    async with Sessions() as sessions:
        session = await sessions.open()
        await session.write({"numbers.txt": b"3 4"})
        done = await session.run("sort -n < numbers.txt", wall_s=10)

Files, exported variables, the folder and processes in the background stay from one command to the next. Whatever runs
in a session is untrusted. To judge what it left, read its `Tree`, and check that in another session.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from guerdon_sandbox.box import GRACE_S, Box, BoxLostError, session_command
from guerdon_sandbox.engine import Engine
from guerdon_sandbox.errors import (
    SandboxImageError,
    SandboxOverloadedError,
    SandboxUnavailableError,
    SandboxUsageError,
)
from guerdon_sandbox.given import check_path, check_text, check_tree
from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.wire import Limit, WireError
from guerdon_sandbox.pool import LONGEST_PAUSE_S
from guerdon_sandbox.session_answers import NAMES_BYTES, CommandResult, Snapshot, Tree
from guerdon_sandbox.session_answers import read_ending as _ending
from guerdon_sandbox.session_answers import read_header as _header
from guerdon_sandbox.session_answers import read_tree as _tree
from guerdon_sandbox.session_options import LOCKED, SessionOptions

__all__ = [
    "LOCKED",
    "MOST_FILES",
    "CommandResult",
    "Session",
    "SessionOptions",
    "Sessions",
    "Snapshot",
    "Tree",
]

MOST_FILES = 4096
"""The most files and folders of a tree."""
_COMMAND_BYTES = 100 << 10
_STATE_BYTES = 64 << 10
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Session:
    """One container. Made by `Sessions.open`; all its methods belong to the event loop that opened it."""

    def __init__(self, box: Box, options: SessionOptions, patience_s: float) -> None:
        self._box = box
        self._options = options
        self._patience_s = patience_s
        self._shell = b""
        """The exported variables and the folder, as shell code. It is as untrusted as the session."""
        self._lost: str | None = None
        self.closed = False

    @classmethod
    async def start(cls, engine: Engine, options: SessionOptions, patience_s: float) -> Session:
        """Start a container.

        Raises:
            SandboxUnavailableError: The engine cannot.
        """
        command = session_command(options.all_writable, options.idle_s)
        try:
            return cls(await Box.start(engine, options, list(command)), options, patience_s)
        except BoxLostError as error:
            raise SandboxUnavailableError(str(error)) from error

    async def run(
        self,
        command: str,
        *,
        wall_s: float = 60.0,
        output_bytes: int = 64 << 10,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> CommandResult:
        """Run a command in bash.

        Args:
            command: Shell code.
            wall_s: The deadline in seconds. Time in which the command waits for a CPU does not count. At the deadline
                its processes are killed, but not those that it moved into the background with ``setsid``.
            output_bytes: The most bytes of output that are kept. The rest is dropped.
            stdin: The input.
            env: The variables that the shell starts with; by default a fixed set. What earlier commands exported is
                set after them.

        Raises:
            SandboxUsageError: The command cannot be passed to a shell, or a limit is not positive.
            SandboxOverloadedError: Other work kept the CPU from the command.
            SandboxUnavailableError: The container is lost.
        """
        check_text(command)
        if len(os.fsencode(command)) > _COMMAND_BYTES:
            raise SandboxUsageError(f"the command is longer than {_COMMAND_BYTES} bytes; write it to a file")
        if not (0 < wall_s < math.inf) or output_bytes < 1:
            raise SandboxUsageError("wall_s and output_bytes must be positive and finite")
        options = self._options
        request = {
            "do": "run",
            "env": dict(env) if env is not None else self.environment(),
            "folder": options.folder,
            "wall_s": wall_s,
            "patience_s": self._patience_s,
            "cpus": options.cpus,
            "output_bytes": output_bytes,
            "file_bytes": options.work_bytes,
            "processes": max(2, options.processes // 2),
        }
        blobs = [os.fsencode(command), self._shell, stdin]
        allowed_s = wall_s + self._patience_s
        answer, (output, self._shell) = await self._ask(
            request, blobs, [output_bytes, _STATE_BYTES], allowed_s
        )
        status, limit, waited_s, spent_s = _ending(answer)
        if limit is Limit.STARVED:
            raise SandboxOverloadedError(
                f"a command waited {waited_s:.0f} s for a CPU, which other work on {self._box.engine.address} had. "
                "Run fewer sessions there at one time, or add an engine"
            )
        exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        return CommandResult(
            output, exit_code, limit, answer.get("truncated") is True, max(0.0, spent_s - waited_s)
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that a shell starts with."""
        own = {"PATH": _PATH, "HOME": self._options.folder, "TMPDIR": self._options.folder}
        return {**self._options.environment, **own}

    async def write(
        self,
        files: Mapping[str, bytes],
        *,
        executables: frozenset[str] = frozenset(),
        folders: frozenset[str] = frozenset(),
        folder: str | None = None,
    ) -> None:
        """Write files. Those in `LOCKED` belong to root, and no command can change them.

        Args:
            files: Contents by path, relative to the folder.
            executables: The files that may be run.
            folders: Folders to make.
            folder: An absolute path in a writable folder, or in `LOCKED`; by default that of the options.

        Raises:
            SandboxUsageError: A path is not inside the folder, or paths conflict.
            SandboxUnavailableError: The container is lost, or it has no space for them.
        """
        for path in (*files, *folders):
            check_path(path)
        check_tree(files)
        folder = self._inside(folder or self._options.folder)
        request = {
            "do": "write",
            "folder": folder,
            "paths": [*(f"{path.rstrip('/')}/" for path in folders), *files],
            "executables": sorted(executables),
            "locked": folder == LOCKED or folder.startswith(f"{LOCKED}/"),
        }
        await self._ask(request, list(files.values()), [], 0.0)

    async def read(self, path: str, *, folder: str | None = None) -> bytes | None:
        """Return the content of a regular file, or None. No link is followed.

        Raises:
            SandboxUsageError: The path is not inside the folder.
            SandboxUnavailableError: The container is lost.
        """
        check_path(path)
        request = {
            "do": "read",
            "folder": self._inside(folder or self._options.folder),
            "path": path,
            "most": wire.COLLECT_BYTES,
        }
        answer, (content,) = await self._ask(request, [], [wire.COLLECT_BYTES], 0.0)
        return None if answer.get("missing") is not False else content

    async def tree(self, *, folder: str | None = None) -> Tree:
        """Return all files of a folder.

        Raises:
            SandboxUnavailableError: The container is lost.
        """
        request = {
            "do": "tree",
            "folder": self._inside(folder or self._options.folder),
            "most": wire.COLLECT_TOTAL_BYTES,
            "files": MOST_FILES,
        }
        caps = [NAMES_BYTES, *[wire.COLLECT_BYTES] * MOST_FILES]
        answer, (names, *contents) = await self._ask(request, [], caps, 0.0)
        try:
            return _tree(json.loads(names), contents, int(answer["left_out"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._lose(f"its list of files cannot be read: {error}") from None

    async def stop(self) -> None:
        """Kill all processes of the session.

        Raises:
            SandboxUnavailableError: The container is lost, or one of them stays.
        """
        await self._ask({"do": "stop"}, [], [], 0.0)

    async def reset(self) -> None:
        """Kill all processes, empty all writable folders, and forget what the shell exported.

        What runs next has another user.

        Raises:
            SandboxUnavailableError: The container is lost, or something cannot be removed.
        """
        await self._ask({"do": "reset"}, [], [], 0.0)
        self._shell = b""

    async def snapshot(self) -> Snapshot:
        """Return the session's files and what its shell exported, for `restore` here or in another session.

        Raises:
            SandboxUnavailableError: The container is lost.
        """
        return Snapshot(await self.tree(), self._shell)

    async def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot.

        Raises:
            SandboxUnavailableError: The container is lost.
        """
        await self.reset()
        tree = snapshot.tree
        await self.write(tree.files, executables=tree.executables, folders=tree.folders)
        self._shell = snapshot.shell

    async def finish(self) -> Tree:
        """Kill all processes, read the final files, and end the container.

        Raises:
            SandboxUnavailableError: The container is lost.
        """
        try:
            await self.stop()
            return await self.tree()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End the container."""
        if not self.closed:
            self.closed = True
            self._lost = "the session was closed"
            await self._box.close()

    def _inside(self, folder: str) -> str:
        path = PurePosixPath(folder)
        allowed = (*self._options.all_writable, LOCKED)
        if ".." in path.parts or not any(path.is_relative_to(one) for one in allowed):
            raise SandboxUsageError(f"folder {folder!r} is not in one of {', '.join(allowed)}")
        return str(path)

    async def _ask(
        self, request: Mapping[str, Any], blobs: Sequence[bytes], caps: Sequence[int], allowed_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a request, and return the answer with its blobs."""
        if self._lost is not None:
            raise SandboxUnavailableError(self._lost)
        self._lost = "the session is in use, or a call of it was cancelled"
        try:
            async with asyncio.timeout(allowed_s + 3 * GRACE_S):
                await self._box.send([wire.encode(request, blobs), *blobs])
                answer, sizes = _header(await self._box.take(wire.header_size(await self._box.take(4))), caps)
                output = [await self._box.take(size) for size in sizes]
        except (TimeoutError, WireError, OSError, BoxLostError) as error:
            raise self._lose(str(error) or "no answer in time") from error
        if "error" in answer:
            raise self._lose(f"{answer['error']:.300}")
        if len(output) < (1 if request["do"] == "tree" else len(caps)):
            raise self._lose("its answer has too few parts")
        self._lost = None
        return answer, output

    def _lose(self, why: str) -> SandboxUnavailableError:
        self._lost = f"a session's container on {self._box.engine.address} is lost: {why}"
        return SandboxUnavailableError(self._lost)


class Sessions:
    """Opens sessions, one container each.

    When this process ends, however it ends, its containers end. What a kill leaves between a container's creation and
    its start is removed by the next `Sessions` or `Sandbox` on this engine.
    """

    def __init__(
        self, engine: str | None = None, options: SessionOptions | None = None, *, patience_s: float = 60.0
    ) -> None:
        """Store the options without starting anything.

        Args:
            engine: The address of a Docker engine; by default the one that ``DOCKER_HOST`` names, or the local one.
            options: The settings of each container.
            patience_s: Seconds to wait for an engine that is not usable, and that a command may wait for a CPU.
        """
        self.engine = Engine(engine)
        self.options = options or SessionOptions()
        self._patience_s = patience_s
        self._prepared = False
        self._open: set[Session] = set()

    async def __aenter__(self) -> Self:
        await self.prepare()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def prepare(self) -> None:
        """Check the engine, and remove containers of owners that are gone. `open` does it, too.

        Raises:
            SandboxUnavailableError: The engine is not usable, or lacks the image.
        """
        if not self._prepared:
            await asyncio.to_thread(self.engine.check, self.options)
            await asyncio.to_thread(self.engine.reap)
            self._prepared = True

    async def open(self) -> Session:
        """Start a session.

        Raises:
            SandboxUnavailableError: The engine is not usable for longer than the patience, or lacks the image.
        """
        give_up, pause = time.monotonic() + self._patience_s, 0.1
        while True:
            try:
                await self.prepare()
                session = await Session.start(self.engine, self.options, self._patience_s)
                break
            except SandboxImageError:
                raise
            except SandboxUnavailableError:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._open = {one for one in self._open if not one.closed} | {session}
        return session

    async def aclose(self) -> None:
        """End all sessions."""
        await asyncio.gather(*(session.aclose() for session in self._open), return_exceptions=True)
        self._open.clear()
