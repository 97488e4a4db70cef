"""One running container and the stream to its supervisor."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.wire import Answer, Request, WireError

T = TypeVar("T")

START_S = 60.0
"""Seconds from a box's creation to its first message, on a busy machine."""
GRACE_S = 10.0
"""Seconds for the supervisor to answer after a job's latest end, including killing and cleaning."""

PORTION_BYTES = 1 << 20
"""The bytes that the event loop copies at once, to the connection or from it."""

# Loads the modules that run inside from the command line, so that any image with Python works.
_BOOTSTRAP = """
import json, sys, types
def load(sources):
    for name, source in sources.items():
        module = sys.modules[name] = types.ModuleType(name)
        module.__path__ = []
        exec(compile(source, name, "exec"), module.__dict__)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
"""
_SUPERVISOR = f"""{_BOOTSTRAP}
load(json.loads(sys.argv[1]))
python = [sys.executable, "-I", "-B", "-c", *sys.argv[2:]]
sys.modules["guerdon_sandbox.inside.supervisor"].main(python)
"""
# Arenas of the interpreter's allocator without mappings of libraries between them, so that they become large pages.
_ZYGOTE = f"""
room = [bytes(400) for _ in range(16_000)]
room = room[::1000]
{_BOOTSTRAP}
load(json.loads(sys.argv[1]))
load(json.loads(sys.argv[2]))
sys.modules["guerdon_sandbox.inside.zygote"].main(int(sys.argv[3]), sys.argv[4:])
"""
_SESSION = f"""{_BOOTSTRAP}
load(json.loads(sys.argv[1]))
sys.modules["guerdon_sandbox.inside.session"].main(json.loads(sys.argv[2]), float(sys.argv[3]))
"""


_SUPERVISOR_MODULES = (
    *("wire", "counters", "idling", "kills", "waiting", "sweeping"),
    *("stream", "running", "forking", "supervisor"),
)
_VALUE_MODULES = ("wire", "interpreter", "sources", "frames", "program", "values", "serve")
_ZYGOTE_MODULES = (
    *("blame", "remote", "constants", "emptiness", "rewriting", "candidate", "runners", "check", "roles"),
    *("sharing", "zygote"),
)
"""All in the order of their imports, because no files exist to import."""


class BoxLostError(Exception):
    """The box is gone or does not answer, so nothing is known of its job."""

    def __init__(self, message: str, *, host_fault: bool = False) -> None:
        """Store why, and whether no job can have caused it."""
        super().__init__(message)
        self.host_fault = host_fault


class Box:
    """A container that runs one job at a time."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        cpus: float,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.engine = engine
        self.name = name
        self._cpus = cpus
        self.jobs = 0
        """The number of jobs that it has answered."""
        self._reader = reader
        self._writer = writer
        self._output: deque[bytes] = deque()
        self._errors = bytearray()

    @classmethod
    async def start(cls, engine: Engine, options: BoxOptions, program: list[str] | None = None) -> Self:
        """Start a box and wait until it is ready.

        Args:
            engine: The engine that it runs on.
            options: Its settings.
            program: The command line of PID 1; by default the supervisor's.

        Raises:
            SandboxUnavailableError: The engine cannot create one.
            BoxLostError: It was created and did not start.
        """
        creating = _in_thread(engine.create, options, program or command())
        try:
            name = await _done(creating)
        except asyncio.CancelledError:
            if creating.exception() is None:
                await _done(_in_thread(engine.remove, creating.result()))
            raise
        try:
            async with asyncio.timeout(START_S):
                reader, writer = await engine.attach(name)
                box = cls(engine, name, options.cpus, reader, writer)
                await _done(_in_thread(engine.start, name))
                await box.take(wire.header_size(await box.take(4)))
        except (OSError, WireError, asyncio.IncompleteReadError, BoxLostError) as error:
            await _done(_in_thread(engine.remove, name))
            raise BoxLostError(
                f"a box on {engine.address} did not start: {error or type(error).__name__}"
            ) from error
        except BaseException:
            await _done(_in_thread(engine.remove, name))
            raise
        return box

    async def run(self, request: Request, blobs: Sequence[bytes]) -> tuple[Answer, list[bytes]]:
        """Run a job. Return the supervisor's answer and its blobs.

        Raises:
            BoxLostError: The box died, did not answer in time, or could not run the job.
        """
        request = request._replace(cpus=self._cpus)
        try:
            async with asyncio.timeout(request.limits.wall_s + request.patience_s + GRACE_S):
                await self.send([wire.encode(request._asdict(), blobs), *blobs])
                answer, output = await self._receive(request)
        except TimeoutError as error:
            raise BoxLostError("the supervisor did not answer in time") from error
        except WireError as error:
            raise BoxLostError(f"the supervisor's answer cannot be read: {error}") from error
        except OSError as error:
            raise BoxLostError(f"the connection to the box broke: {error}") from error
        if answer.error is not None:
            raise BoxLostError(f"the supervisor failed: {answer.error[:300]}", host_fault=answer.host_fault)
        self.jobs += 1
        return answer, output

    def abort(self) -> None:
        """End the current job. `run` returns as soon as all its processes are gone."""
        self._writer.write(wire.ABORT)

    async def close(self) -> bool:
        """End the box. Return False if the engine does not answer, so that the box may still exist.

        A cancellation takes effect when the engine has answered.
        """
        self._writer.close()
        return await _done(_in_thread(self.engine.remove, self.name))

    async def send(self, parts: Sequence[bytes]) -> None:
        """Write bytes to PID 1, as fast as it reads them."""
        if sum(map(len, parts)) <= PORTION_BYTES:  # one write, because each costs the engine as much
            parts = [b"".join(parts)]
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), PORTION_BYTES):
                self._writer.write(view[start : start + PORTION_BYTES])
                await self._writer.drain()

    async def _receive(self, request: Request) -> tuple[Answer, list[bytes]]:
        header = await self.take(wire.header_size(await self.take(4)))
        answer, sizes = wire.decode_answer(header, request)
        return answer, [await self.take(size) for size in sizes]

    async def take(self, size: int) -> bytes:
        """Return the next bytes of the supervisor's stdout, from the engine's multiplexed stream.

        They stay in the pieces in which they arrive. A thread joins large ones, because a copy of megabytes in one call
        stops the event loop for many milliseconds.
        """
        pieces: list[bytes] = []
        while size:
            if not self._output:
                await self._read_piece()
                continue
            piece = self._output.popleft()
            if len(piece) > size:
                self._output.appendleft(piece[size:])
                piece = piece[:size]
            pieces.append(piece)
            size -= len(piece)
        if sum(map(len, pieces)) <= PORTION_BYTES:
            return joined(pieces)
        return await asyncio.to_thread(joined, pieces)

    async def _read_piece(self) -> None:
        """Read one message of the engine's stream."""
        try:
            stream, length = struct.unpack(">BxxxI", await self._reader.readexactly(8))
            data = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            last_words = self._errors.decode(errors="replace").strip().splitlines()
            raise BoxLostError(f"the box died{': ' + last_words[-1] if last_words else ''}") from error
        if stream == 1 and data:
            self._output.append(data)
        elif stream != 1:
            self._errors = (self._errors + data)[-4096:]


def joined(pieces: Sequence[bytes]) -> bytes:
    """Return the pieces of a blob as one. For a large one, other threads run meanwhile."""
    return b"".join(pieces)


def _in_thread(function: Callable[..., T], *args: object) -> asyncio.Future[T]:
    # Not a task: a loop that ends cancels its tasks, and the thread continues.
    return asyncio.get_running_loop().run_in_executor(None, function, *args)


async def _done(future: asyncio.Future[T]) -> T:
    """Wait for a future's result, also if this task is cancelled meanwhile. The cancellation follows."""
    cancellation: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    return future.result()


@cache
def session_command(folders: tuple[str, ...], idle_s: float) -> list[str]:
    """Return the command line of a session's container."""
    names = ("guerdon_sandbox", "guerdon_sandbox.inside", *_named(*_SUPERVISOR_MODULES, "session"))
    arguments = [json.dumps(_sources(*names)), json.dumps(folders), str(idle_s)]
    return ["python3", "-I", "-S", "-B", "-c", _SESSION, *arguments]


@cache
def command() -> list[str]:
    """Return the command line of a box."""
    inside = ("guerdon_sandbox", "guerdon_sandbox.inside")
    supervisor = _sources(*inside, *_named(*_SUPERVISOR_MODULES))
    values = _sources(*inside, "guerdon_sandbox.library", "guerdon_sandbox.codec", *_named(*_VALUE_MODULES))
    # Several arguments, because one argument may have at most 128 KiB.
    zygote = [json.dumps(values), json.dumps(_sources(*_named(*_ZYGOTE_MODULES)))]
    sources = [json.dumps(supervisor), _ZYGOTE, *zygote]
    return ["python3", "-I", "-S", "-B", "-c", _SUPERVISOR, *sources]


def _named(*names: str) -> list[str]:
    return [f"guerdon_sandbox.inside.{name}" for name in names]


def _sources(*names: str) -> dict[str, str]:
    """Return modules' sources by name. A package is empty there, whatever it exports here."""
    root = Path(__file__).parent.parent
    paths = {name: root / (name.replace(".", "/") + ".py") for name in names}
    return {name: path.read_text() if path.exists() else "" for name, path in paths.items()}
