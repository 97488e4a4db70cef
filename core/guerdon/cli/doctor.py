"""``guerdon doctor``."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import click
from rich.console import Console
from rich.table import Table

_EXTRAS = {
    "train": ("torch", "transformers", "trl", "accelerate", "datasets", "peft"),
    "vllm": ("vllm",),
    "openai": ("openai",),
    "parquet": ("pyarrow",),
    "reasoning-gym": ("reasoning-gym",),
    "report": ("jinja2", "matplotlib"),
    "serve": ("fastapi", "uvicorn", "prometheus-client"),
    "tensorboard": ("tensorboard",),
}


@dataclass(frozen=True, slots=True)
class _Line:
    what: str
    found: str | None
    fix: str


@click.command()
def doctor() -> None:
    """Tell what is installed, what is missing, and the command that mends it."""
    table = Table("what", "found", "to mend it")
    for line in _diagnose():
        table.add_row(line.what, line.found or "[yellow]missing[/yellow]", "" if line.found else line.fix)
    Console().print(table)


def _diagnose() -> Iterator[_Line]:
    yield _Line("Python", platform.python_version(), "")
    yield _Line("guerdon", metadata.version("guerdon"), "")
    for extra, distributions in _EXTRAS.items():
        for distribution in distributions:
            yield _Line(
                f"{distribution} (extra {extra})", _version(distribution), f"pip install 'guerdon[{extra}]'"
            )
    yield _Line("GPU", _gpu(), "none is needed: training runs on CPU, slowly")
    yield _Line(
        "Docker engine", _docker(), "install and start Docker, or set DOCKER_HOST; only code rewards need it"
    )


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
