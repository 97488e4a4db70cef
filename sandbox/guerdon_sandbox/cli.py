"""``guerdon sandbox``: build the image, diagnose problems, run a file, check the isolation, clean up."""

from __future__ import annotations

import asyncio
import functools
import io
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

import click

from guerdon_sandbox import image as images
from guerdon_sandbox.doctor import diagnose
from guerdon_sandbox.engine import PYTHON_IMAGE, TOOLCHAIN_IMAGE, BoxOptions, Engine
from guerdon_sandbox.errors import SandboxError, SandboxUsageError
from guerdon_sandbox.jobs import Program
from guerdon_sandbox.limits import Limits
from guerdon_sandbox.pool import Isolation, Sandbox
from guerdon_sandbox.results import ProgramResult
from guerdon_sandbox.selfcheck import self_check

P = ParamSpec("P")
R = TypeVar("R")


def _one_line_errors(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except SandboxError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_code) from error

    return wrapper


_engines = click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="ADDRESS",
    help="A Docker engine: unix:///path or tcp://host:port. May be repeated. "
    "[default: DOCKER_HOST, or the local engine]",
)
_image = click.option("--image", default=PYTHON_IMAGE, show_default=True, help="The image of the boxes.")
_runtime = click.option("--runtime", help="The engine's runtime, such as runsc for gVisor.")


def _named(addresses: tuple[str, ...]) -> list[Engine]:
    return [Engine(address) for address in addresses or (None,)]


@click.group()
def sandbox() -> None:
    """Run untrusted programs in locked-down containers."""


@sandbox.command()
@_engines
@click.option("--toolchain", is_flag=True, help="Add g++ and node.")
@click.option(
    "--method",
    type=click.Choice([method.value for method in images.Method]),
    default=images.Method.AUTO.value,
    show_default=True,
)
@click.option(
    "--with",
    "extras",
    multiple=True,
    type=click.Choice(list(images.EXTRAS)),
    help="Another language for --toolchain. May be repeated.",
)
@click.option(
    "--if-missing", is_flag=True, help="Leave an image that is there, unless an older guerdon built it."
)
@_one_line_errors
def build(
    engines: tuple[str, ...], toolchain: bool, method: str, extras: tuple[str, ...], if_missing: bool
) -> None:
    """Build the image of the boxes on every engine."""
    name = TOOLCHAIN_IMAGE if toolchain else PYTHON_IMAGE
    if extras and not toolchain:
        raise click.UsageError("--with adds to the toolchain image; give --toolchain, too")
    for engine in _named(engines):
        if if_missing and engine.has_image(name) and not engine.has_old_image(name):
            click.echo(f"{name} is on {engine.address}")
            continue
        images.build(engine, toolchain=toolchain, method=images.Method(method), say=click.echo, extras=extras)
        click.echo(f"built {name} on {engine.address}")


@sandbox.command()
@_engines
@_image
@_runtime
@_one_line_errors
def doctor(engines: tuple[str, ...], image: str, runtime: str | None) -> None:
    """Report what is installed, what is missing, and how to fix it. Exit status 3 if boxes cannot run."""
    healthy = True
    for engine in _named(engines):
        click.echo(engine.address)
        for finding in diagnose(engine, BoxOptions(image=image, runtime=runtime)):
            click.echo(f"  {finding.mark} {finding.subject}: {finding.text}")
            healthy = healthy and finding.mark != "✗"
    if not healthy:
        raise click.exceptions.Exit(3)


@sandbox.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("argv", nargs=-1)
@_engines
@_image
@_runtime
@click.option(
    "--stdin", type=click.File("rb"), help="A file for the program's stdin; - for this command's own."
)
@click.option(
    "--cpu-s", type=click.IntRange(min=1), default=Limits().cpu_s, show_default=True, help="CPU seconds."
)
@click.option(
    "--wall-s", type=float, default=Limits().wall_s, show_default=True, help="Seconds of wall time."
)
@click.option(
    "--memory-mb",
    type=click.IntRange(min=1),
    default=Limits().memory_bytes >> 20,
    show_default=True,
    help="MiB.",
)
@_one_line_errors
def run(
    file: Path,
    argv: tuple[str, ...],
    engines: tuple[str, ...],
    image: str,
    runtime: str | None,
    stdin: BinaryIO | None,
    cpu_s: int,
    wall_s: float,
    memory_mb: int,
) -> None:
    """Run a Python file (or - for stdin) in a box, pass on its outputs, and exit with its status."""
    limits = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_bytes=memory_mb << 20)
    job = Program(source=_source(file), argv=argv, stdin=stdin.read() if stdin else b"", limits=limits)
    options = BoxOptions(image=image, runtime=runtime, memory_bytes=max(512, 2 * memory_mb) << 20)

    async def work() -> ProgramResult:
        async with Sandbox(engines, options, boxes=1, isolation=Isolation.CONTAINER) as pool:
            return await pool.run(job)

    result = asyncio.run(work())
    sys.stdout.buffer.write(result.stdout)
    sys.stderr.buffer.write(result.stderr)
    click.echo(
        f"{result.ending}; {result.wall_s:.3f} s, {result.cpu_s:.3f} s CPU, "
        f"{result.peak_memory_bytes >> 20} MiB"
        + "".join(f"; {name} was cut" for name in sorted(result.truncated)),
        err=True,
    )
    raise click.exceptions.Exit(
        result.exit_code if result.exit_code is not None and result.limit is None else 1
    )


def _source(file: Path) -> str:
    """Read a program as Python does: as UTF-8, or in the encoding that its first lines declare."""
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise SandboxUsageError(
            f"{file} cannot be read: {error}. Save it as UTF-8, or declare its encoding in its first line"
        ) from None


@sandbox.command()
@_engines
@_image
@_runtime
@_one_line_errors
def check(engines: tuple[str, ...], image: str, runtime: str | None) -> None:
    """Run hostile programs in a box and check that they have no effect. Exit status 1 if one has."""

    async def work() -> int:
        broken = 0
        async for finding in self_check(list(engines), BoxOptions(image=image, runtime=runtime)):
            click.echo(
                f"  {'✗' if finding.problem else '✓'} {finding.attack}: {finding.problem or finding.ending}"
            )
            broken += finding.problem is not None
        return broken

    if broken := asyncio.run(work()):
        click.echo(f"{broken} attacks got through", err=True)
        raise click.exceptions.Exit(1)


@sandbox.command()
@_engines
@click.option("--all", "everything", is_flag=True, help="Boxes that are in use, too.")
@_one_line_errors
def clean(engines: tuple[str, ...], everything: bool) -> None:
    """Remove boxes whose owner is gone."""
    for engine in _named(engines):
        click.echo(f"removed {engine.reap(everything)} boxes from {engine.address}")
