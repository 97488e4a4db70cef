"""Finds out whether boxes can run on an engine, and what to do where they cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.errors import SandboxError
from guerdon_sandbox.jobs import Program
from guerdon_sandbox.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    mark: str
    """``✓`` as it should be, ``!`` weaker than it could be, ``✗`` boxes cannot run."""
    subject: str
    text: str


def diagnose(engine: Engine, options: BoxOptions) -> Iterator[Finding]:
    """Look at everything that a box needs, and end by running one."""
    try:
        info = engine.info()
    except SandboxError as error:
        yield Finding("✗", "engine", f"{error}. Debian: apt-get install docker.io, then run dockerd as root")
        return
    yield Finding(
        "✓", "engine", f"Docker {info['ServerVersion']}, {info['NCPU']} CPUs, {info['KernelVersion']}"
    )
    security = " ".join(info.get("SecurityOptions") or [])
    yield (
        Finding("✓", "seccomp", "system calls are filtered")
        if "seccomp" in security
        else Finding(
            "!", "seccomp", "the engine does not filter system calls; use a kernel with CONFIG_SECCOMP_FILTER"
        )
    )
    for key, subject in (
        ("MemoryLimit", "memory limit"),
        ("PidsLimit", "process limit"),
        ("CpuCfsQuota", "CPU limit"),
    ):
        yield (
            Finding("✓", subject, "works")
            if info.get(key)
            else Finding("!", subject, "the engine cannot limit it; enable the cgroup controller")
        )
    runtimes = info.get("Runtimes", {})
    if "runsc" in runtimes:
        yield Finding("✓", "gVisor", "available as the runtime runsc")
    else:
        yield Finding(
            "!",
            "gVisor",
            "not installed: jobs share the host's kernel (docs/explanation/sandbox-threat-model)",
        )
    if not engine.has_image(options.image):
        yield Finding("✗", "image", f"{options.image} is missing; build it with: guerdon sandbox build")
        return
    yield Finding("✓", "image", options.image)
    try:
        yield Finding("✓", "box", asyncio.run(_try_box(engine, options)))
    except SandboxError as error:
        yield Finding("✗", "box", str(error))


async def _try_box(engine: Engine, options: BoxOptions) -> str:
    started = time.perf_counter()
    async with Sandbox([engine.address], options, boxes=1, patience_s=0.0) as sandbox:
        result = await sandbox.run(Program(source="import sys; print(sys.version.split()[0])"))
        first = time.perf_counter() - started
        started = time.perf_counter()
        await sandbox.run(Program(source=""))
        next_ms = (time.perf_counter() - started) * 1000
    return f"runs Python {result.stdout.decode().strip()}; first job after {first:.1f} s, next in {next_ms:.1f} ms"
