"""``guerdon doctor``."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NOT_FOR_USERS = frozenset({"dev", "benchmarks"})
"""The extras for work on guerdon itself."""

_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True, slots=True)
class _Line:
    what: str
    found: str | None
    """``None`` if it is missing."""
    fix: str
    """The command or the step that installs what is missing, or a remark on what is installed."""


@click.command()
def doctor() -> None:
    """List what is installed, what is missing, and the command that fixes it."""
    table = Table("what", "found", "fix or note")
    for line in _diagnose():
        found = Text("missing", "yellow") if line.found is None else Text(line.found)
        table.add_row(Text(line.what), found, Text(line.fix))
    Console().print(table)


def _diagnose() -> Iterator[_Line]:
    yield _Line("Python", platform.python_version(), "")
    yield _Line("guerdon", metadata.version("guerdon"), "")
    for extra, distribution in _extras():
        version = _version(distribution)
        fix = f"pip install 'guerdon[{extra}]'" if version is None else ""
        yield _Line(f"{distribution} (extra {extra})", version, fix)
    gpu = _gpu()
    yield _Line("GPU", gpu, _gpu_note(gpu, _version("torch")))
    yield _Line("CPU cores", str(len(os.sched_getaffinity(0))), _threads_note())
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield _Line(
        "free disk here", f"{free:.0f} GiB", "" if free > 10 else "runs keep checkpoints: free some space"
    )
    docker = _docker()
    engine = "install and start Docker, or set DOCKER_HOST; only code rewards need it"
    images = "'guerdon sandbox doctor' checks the images"
    yield _Line("Docker engine", docker, engine if docker is None else images)


def _extras() -> Iterator[tuple[str, str]]:
    """Yield each extra with each distribution that it brings, from guerdon's own metadata."""
    for requirement in metadata.requires("guerdon") or []:
        found = _REQUIREMENT.match(requirement)
        if found is not None and found[2] not in _NOT_FOR_USERS:
            yield found[2], found[1]


def _gpu_note(gpu: str | None, torch_version: str | None) -> str:
    if gpu is None:
        return "not required: training runs on the CPU, slowly"
    if torch_version is not None and "+cpu" in torch_version:
        return f"torch {torch_version} is a CPU build and cannot use the GPU: install torch from the public index"
    return ""


def _threads_note() -> str:
    threads = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={threads}" if threads else ""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout.strip() or None


def _docker() -> str | None:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
        version = str(client.version()["Version"])
        client.close()
    except DockerException:
        return None
    return version
