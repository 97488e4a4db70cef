"""One running container and the stream to its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.errors import SandboxOverloadedError, SandboxUnavailableError
from guerdon_sandbox.jobs import Job

R = TypeVar("R")

START_S = 60.0
"""How long a box may take from its creation to its first word, on a busy machine."""
GRACE_S = 10.0
"""How long after a job's last moment the supervisor may take to answer, killing and sweeping included."""

# Loads the modules that run inside from the command line, so that any image with a python will do.
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
sources = json.loads(sys.argv[1])
load(sources["supervisor"])
python = [sys.executable, "-I", "-B", "-c", sys.argv[2], json.dumps(sources["zygote"])]
sys.modules["guerdon_sandbox.inside.supervisor"].main(python)
"""
_ZYGOTE = f"""{_BOOTSTRAP}
load(json.loads(sys.argv[1]))
sys.modules["guerdon_sandbox.inside.zygote"].main(int(sys.argv[2]))
"""


_ZYGOTE_MODULES = (
    *("sources", "frames", "program", "serve", "remote", "runners", "check", "roles", "zygote"),
)
"""In the order of their imports, which find no file."""


class BoxLostError(Exception):
    """The box is gone or does not answer: nothing is known of the job that it had."""


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
        """Jobs that it has answered."""
        self._reader = reader
        self._writer = writer
        self._output = bytearray()
        self._errors = bytearray()

    @classmethod
    async def start(cls, engine: Engine, options: BoxOptions) -> Box:
        """Make a box and wait until it is ready.

        Raises:
            SandboxUnavailableError: The engine cannot make one.
            BoxLostError: It was made and did not come up.
        """
        creating = asyncio.ensure_future(asyncio.to_thread(engine.create, options, command()))
        try:
            name = await asyncio.shield(creating)
        except asyncio.CancelledError:  # the thread goes on, and what it makes would be nobody's
            with contextlib.suppress(SandboxUnavailableError):
                await asyncio.to_thread(engine.remove, await creating)
            raise
        try:
            async with asyncio.timeout(START_S):
                reader, writer = await engine.attach(name)
                box = cls(engine, name, options.cpus, reader, writer)
                await asyncio.to_thread(engine.start, name)
                await box._receive()
        except (OSError, asyncio.IncompleteReadError, BoxLostError) as error:
            await asyncio.to_thread(engine.remove, name)
            raise BoxLostError(
                f"a box on {engine.address} did not start: {error or type(error).__name__}"
            ) from error
        except BaseException:
            await asyncio.shield(asyncio.to_thread(engine.remove, name))
            raise
        return box

    async def run(self, job: Job[R], patience_s: float) -> tuple[R | SandboxOverloadedError, str | None]:
        """Run a job. Gives its result, and why the box must not be used again, if so.

        Args:
            job: The job.
            patience_s: How long it may wait for a CPU that others have. Such time does not count for its wall limit;
                a job that waits for longer has no result but an error.

        Raises:
            BoxLostError: The box died or did not answer in time.
        """
        header, blobs = job.request()
        header |= {"cpus": self._cpus, "patience_s": patience_s, "sizes": [len(blob) for blob in blobs]}
        encoded = json.dumps(header).encode()
        try:
            async with asyncio.timeout(job.limits.wall_s + patience_s + GRACE_S):
                self._writer.writelines([struct.pack(">I", len(encoded)), encoded, *blobs])
                await self._writer.drain()
                answer, output = await self._receive()
        except TimeoutError as error:
            raise BoxLostError("the supervisor did not answer in time") from error
        except OSError as error:
            raise BoxLostError(f"the connection to the box broke: {error}") from error
        self.jobs += 1
        if answer["limit"] == "starved":
            overloaded = SandboxOverloadedError(
                f"a program waited {answer['waited_s']:.0f} of {answer['wall_s']:.0f} s for a CPU, which other work on "
                f"{self.engine.address} had. Run less there at one time: lower boxes, or add an engine"
            )
            return overloaded, answer["dirty"]
        return job.result(answer, output, self.engine.address), answer["dirty"]

    async def close(self) -> bool:
        """End the box. False if the engine does not answer, so that the box may still exist."""
        self._writer.close()
        return await asyncio.to_thread(self.engine.remove, self.name)

    async def _receive(self) -> tuple[Mapping[str, Any], Sequence[bytes]]:
        (size,) = struct.unpack(">I", await self._take(4))
        try:
            header = json.loads(await self._take(size))
            return header, [await self._take(length) for length in header["sizes"]]
        except (ValueError, KeyError) as error:
            raise BoxLostError(f"the supervisor's answer cannot be read: {error}") from error

    async def _take(self, size: int) -> bytes:
        """The next bytes of the supervisor's stdout, out of the engine's multiplexed stream."""
        while len(self._output) < size:
            try:
                stream, length = struct.unpack(">BxxxI", await self._reader.readexactly(8))
                data = await self._reader.readexactly(length)
            except asyncio.IncompleteReadError as error:
                last_words = self._errors.decode(errors="replace").strip().splitlines()
                raise BoxLostError(f"the box died{': ' + last_words[-1] if last_words else ''}") from error
            if stream == 1:
                self._output += data
            else:
                self._errors = (self._errors + data)[-4096:]
        taken = bytes(self._output[:size])
        del self._output[:size]
        return taken


@cache
def command() -> list[str]:
    """The command line of a box."""
    inside = ("guerdon_sandbox", "guerdon_sandbox.inside")
    sources = {
        "supervisor": _sources(
            *inside, "guerdon_sandbox.inside.waiting", "guerdon_sandbox.inside.supervisor"
        ),
        "zygote": _sources(
            *inside, "guerdon_sandbox.codec", *(f"guerdon_sandbox.inside.{name}" for name in _ZYGOTE_MODULES)
        ),
    }
    return ["python3", "-I", "-S", "-B", "-c", _SUPERVISOR, json.dumps(sources), _ZYGOTE]


def _sources(*names: str) -> dict[str, str]:
    """Modules by name; a package is empty there, whatever it exports here."""
    root = Path(__file__).parent.parent
    paths = {name: root / (name.replace(".", "/") + ".py") for name in names}
    return {name: path.read_text() if path.exists() else "" for name, path in paths.items()}
