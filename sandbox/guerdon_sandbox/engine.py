"""One Docker engine: create, find and remove boxes on it, and open streams to them.

The SDK blocks, so its calls run in threads. Jobs use the stream and not the SDK.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import docker
import docker.errors
import docker.utils
import requests
from docker.types import LogConfig, Ulimit

from guerdon_sandbox import seccomp
from guerdon_sandbox.errors import SandboxImageError, SandboxUnavailableError, SandboxUsageError
from guerdon_sandbox.inside.wire import Request

LABEL = "guerdon.sandbox.owner"
"""The label of every box; its value names the process that owns the box."""
PYTHON_IMAGE = "guerdon-sandbox:python"
"""The image with Python alone."""

TOOLCHAIN_IMAGE = "guerdon-sandbox:toolchain"
"""The image that also has compilers."""

IMAGE_LABEL = "guerdon.sandbox.image"
"""The label of images that `guerdon sandbox build` built; its value is the recipe's version."""
IMAGE_VERSION = "2"
"""The version of the recipe in image.py. Increase it with every change there; CI reads this line."""
DOCTOR = "; `guerdon sandbox doctor` shows what is missing"
_STALE_S = 600.0
_TIMEOUT_S = 60
_CONNECT_S = 5
"""Seconds for an engine to respond."""
_WORK_FILES = 4096
"""The most files and folders in the work folder."""
_PAGE_BYTES = 4096

_log = logging.getLogger(__name__)

FAILURES = (docker.errors.DockerException, requests.RequestException)
"""The SDK's errors for an engine that is missing, down, or refuses a request."""


@dataclass(frozen=True, slots=True)
class BoxOptions:
    """The settings and limits of every box of a pool."""

    image: str = PYTHON_IMAGE
    runtime: str | None = None
    """The engine's runtime: ``runsc`` for gVisor; None for the engine's default."""
    memory_bytes: int = 512 << 20
    """The limit of all processes of a job together, its work folder and the supervisor (about 25 MiB)."""
    cpus: float = 1.0
    work_bytes: int = 64 << 20
    """The size of the work folder, which counts as memory."""
    processes: int = 128
    """The limit of all processes and threads in the box."""
    environment: Mapping[str, str] = field(
        default_factory=lambda: {
            "HOME": "/box",
            "TMPDIR": "/box",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
    )
    """The fixed hash seed makes a completion's score the same on every run."""

    def folders(self) -> dict[str, str]:
        """Return the folders in memory, with their mount options."""
        return {"/box": self._writable()}

    def _writable(self) -> str:
        return f"size={self.work_bytes},nr_inodes={_WORK_FILES},mode=1777,nosuid,nodev,exec"

    def check(self, request: Request, blobs: Sequence[bytes]) -> None:
        """Check that a job's inputs and outputs fit into a box.

        Raises:
            SandboxUsageError: They do not.
        """
        share = self.memory_bytes // 4
        payload, given, *files = blobs
        for what, size, most, option in (
            ("inputs", len(payload) + len(given), share, "a quarter of memory_bytes"),
            ("output limits", request.output_bytes, share, "a quarter of memory_bytes"),
            ("files", sum(_in_pages(len(file)) for file in files), self.work_bytes, "work_bytes"),
        ):
            if size > most:
                raise SandboxUsageError(
                    f"the job's {what} come to {size} bytes; a box takes {most} ({option} of BoxOptions)"
                )
        names = {
            parent for path in request.files for parent in (path, *map(str, PurePosixPath(path).parents))
        }
        if len(names) > _WORK_FILES // 2 or len(request.collect) > _WORK_FILES:
            raise SandboxUsageError(
                f"the job has {len(names)} files and folders; a box takes {_WORK_FILES // 2} and leaves the job as many"
            )


def _in_pages(size: int) -> int:
    """Return the memory that a file of this size takes."""
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


class Engine:
    """A Docker engine by its address."""

    def __init__(self, address: str | None = None) -> None:
        """Store the address without connecting.

        Args:
            address: ``unix:///path`` or ``tcp://host:port``; None for the value of ``DOCKER_HOST``, or the local
                engine.

        Raises:
            SandboxUsageError: It is another text.
        """
        self.address = address or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        if "://" not in self.address:
            raise SandboxUsageError(
                f"the Docker engine's address is '{self.address}'; give unix:///path or tcp://host:port"
            )
        self._tls = docker.utils.kwargs_from_env().get("tls") if self.address.startswith("tcp:") else None
        self._client: docker.DockerClient | None = None

    def __repr__(self) -> str:
        return f"Engine({self.address!r})"

    @property
    def client(self) -> docker.DockerClient:
        """Return the SDK's client.

        Raises:
            SandboxUnavailableError: The engine does not answer.
        """
        if self._client is None:
            try:
                first = self._connect(timeout=_CONNECT_S)
                self._client = self._connect(timeout=_TIMEOUT_S, version=first.api.api_version)
                first.close()
            except (*FAILURES, ValueError) as error:  # ValueError: not an address
                raise self.unavailable(error) from error
        return self._client

    def _connect(self, *, timeout: int, version: str | None = None) -> docker.DockerClient:
        return docker.DockerClient(self.address, version=version, tls=self._tls or False, timeout=timeout)

    def unavailable(self, error: object) -> SandboxUnavailableError:
        """Return the error for a failure of this engine, with the fix."""
        return SandboxUnavailableError(
            f"the Docker engine at {self.address} is not usable: {error}. "
            f"Start it, or name another in DOCKER_HOST{DOCTOR}"
        )

    def lacks(self, image: str) -> SandboxImageError:
        """Return the error for a missing image, with the fix."""
        return SandboxImageError(f"the engine at {self.address} has no image '{image}'. {how_to_get(image)}")

    def info(self) -> Mapping[str, Any]:
        """Return the engine's information about itself.

        Raises:
            SandboxUnavailableError: The engine does not answer.
        """
        try:
            told: Mapping[str, Any] = self.client.info()
        except FAILURES as error:
            raise self.unavailable(error) from error
        return told

    def has_image(self, image: str) -> bool:
        """Return whether the engine has an image.

        Raises:
            SandboxUnavailableError: The engine does not answer.
        """
        try:
            self.client.images.get(image)
        except docker.errors.ImageNotFound:
            return False
        except FAILURES as error:
            raise self.unavailable(error) from error
        return True

    def has_old_image(self, image: str) -> bool:
        """Return whether an older guerdon built the image.

        Raises:
            SandboxUnavailableError: The engine does not answer, or lacks the image.
        """
        if image not in (PYTHON_IMAGE, TOOLCHAIN_IMAGE):
            return False
        try:
            labels = self.client.images.get(image).labels
        except FAILURES as error:
            raise self.unavailable(error) from error
        return bool(labels.get(IMAGE_LABEL) != IMAGE_VERSION)

    def check(self, options: BoxOptions) -> None:
        """Check that boxes can be created here.

        Raises:
            SandboxUnavailableError: The engine does not answer, or lacks the runtime.
            SandboxImageError: The image is missing.
        """
        runtimes = self.info().get("Runtimes", {})
        if options.runtime and options.runtime not in runtimes:
            raise SandboxUnavailableError(
                f"the Docker engine at {self.address} has no runtime '{options.runtime}'. Install it there, or "
                f"name one of its own: {', '.join(sorted(runtimes))}"
            )
        if not self.has_image(options.image):
            raise self.lacks(options.image)
        if self.has_old_image(options.image):
            _log.warning(
                "%s on %s is of an older guerdon. %s", options.image, self.address, how_to_get(options.image)
            )

    def create(self, options: BoxOptions, command: list[str]) -> str:
        """Create a box without starting it, and return its id.

        Raises:
            SandboxUnavailableError: The engine cannot.
        """
        gvisor = (options.runtime or "").startswith("runsc")
        try:
            container = self.client.containers.create(
                options.image,
                command,
                labels={LABEL: this_process()},
                runtime=options.runtime,
                user="0:0",
                working_dir="/",
                hostname="box",
                environment=dict(options.environment),
                stdin_open=True,
                auto_remove=True,
                network_mode="none",
                ipc_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                cap_add=["SETUID", "SETGID"],
                security_opt=["no-new-privileges:true", f"seccomp={seccomp.profile()}"],
                tmpfs={
                    **options.folders(),
                    # The engine mounts the file system of message queues there, where all users may write files.
                    "/dev/mqueue": "ro,size=4k",
                },
                mem_limit=options.memory_bytes,
                memswap_limit=options.memory_bytes,
                # gVisor's own threads count on the host; RLIMIT_NPROC still limits the job inside.
                pids_limit=max(options.processes, 1024) if gvisor else options.processes,
                nano_cpus=int(options.cpus * 1e9),
                ulimits=[Ulimit(name="core", soft=0, hard=0)],
                log_config=LogConfig(type=LogConfig.types.NONE),
            )
        except docker.errors.ImageNotFound:
            raise self.lacks(options.image) from None
        except FAILURES as error:
            raise self.unavailable(error) from error
        return str(container.id)

    def start(self, box: str) -> None:
        """Start a box that was created.

        Raises:
            SandboxUnavailableError: The engine cannot.
        """
        try:
            self.client.api.start(box)
        except FAILURES as error:
            raise self.unavailable(error) from error

    def remove(self, box: str) -> bool:
        """Kill and remove a box. Return False if the engine does not answer; a missing box counts as removed."""
        try:
            self.client.api.remove_container(box, force=True)
        except docker.errors.APIError as error:
            # 409: it is already being removed.
            return error.status_code in (404, 409)
        except FAILURES:
            return False
        return True

    def boxes(self) -> list[Mapping[str, Any]]:
        """Return all boxes on this engine, of all owners, as the engine lists them.

        Raises:
            SandboxUnavailableError: The engine does not answer.
        """
        try:
            listed: list[Mapping[str, Any]] = self.client.api.containers(all=True, filters={"label": LABEL})
        except FAILURES as error:
            raise self.unavailable(error) from error
        return listed

    def reap(self, everything: bool = False) -> int:
        """Remove boxes whose owner is gone, or all of them, and return their number.

        A box dies with its owner's connection, so this finds only what a crash left between creation and start.
        """
        listed = self.boxes()
        return sum(self.remove(box["Id"]) for box in listed if everything or _is_orphan(box))

    async def attach(self, box: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the stream to a box's stdin, stdout and stderr.

        Raises:
            OSError: The engine does not answer, or refuses.
        """
        url = urlsplit(self.address)
        if url.scheme == "unix":
            reader, writer = await asyncio.open_unix_connection(url.path)
        elif url.scheme in ("tcp", "http", "https") and url.hostname:
            reader, writer = await asyncio.open_connection(url.hostname, url.port or 2375, ssl=self._ssl())
        else:
            raise OSError(
                f"no stream to {self.address}: give a unix:// or tcp:// address, such as a forwarded socket"
            )
        writer.write(
            f"POST /containers/{box}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
            f"Host: {url.hostname or 'docker'}\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            writer.close()
            raise OSError(f"the engine refused to attach: {head.splitlines()[0].decode(errors='replace')}")
        return reader, writer

    def _ssl(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.create_default_context(cafile=self._tls.ca_cert)
        if self._tls.cert:
            context.load_cert_chain(*self._tls.cert)
        return context


def how_to_get(image: str) -> str:
    """Return the advice for an image that is missing."""
    command = {PYTHON_IMAGE: "guerdon sandbox build", TOOLCHAIN_IMAGE: "guerdon sandbox build --toolchain"}
    if image in command:
        return f"Build it with: {command[image]}"
    return f"Pull or build it there, or name one of {PYTHON_IMAGE} and {TOOLCHAIN_IMAGE}"


def this_process() -> str:
    """Return a name of this process, unique among all hosts and boots: ``boot:namespace:pid:start``."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return f"{boot}:{namespace}:{os.getpid()}:{_start_time(os.getpid())}"


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty if it does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _is_orphan(box: Mapping[str, Any]) -> bool:
    owner = str(box["Labels"][LABEL]).split(":")
    here = this_process().split(":")
    if len(owner) == 4 and owner[:2] == here[:2]:
        return _start_time(int(owner[2])) != owner[3]
    # Another host's process: nothing is known of it, but a box that has not run for so long has no owner.
    return bool(box["State"] != "running") and time.time() - box["Created"] > _STALE_S
