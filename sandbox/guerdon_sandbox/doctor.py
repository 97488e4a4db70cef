"""Diagnose whether boxes can run on an engine, how well it isolates them, and how to fix problems."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guerdon_sandbox.engine import DOCTOR, BoxOptions, Engine, how_to_get
from guerdon_sandbox.errors import SandboxError
from guerdon_sandbox.jobs import Program
from guerdon_sandbox.pool import Sandbox


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of the diagnosis."""

    mark: str
    """``✓`` as it should be, ``!`` weaker than possible, ``✗`` boxes cannot run."""
    subject: str
    text: str


def diagnose(engine: Engine, options: BoxOptions) -> Iterator[Finding]:
    """Check everything that a box needs, and finally run one."""
    try:
        info = engine.info()
    except SandboxError as error:
        advice = "On Debian: apt-get install docker.io debootstrap, then run dockerd as root"
        yield Finding("✗", "engine", f"{str(error).replace(DOCTOR, '')}. {advice}")
        return
    yield Finding(
        "✓", "engine", f"Docker {info['ServerVersion']}, {info['NCPU']} CPUs, {info['KernelVersion']}"
    )
    yield from _walls(info)
    yield from _limits(info)
    if not engine.has_image(options.image):
        yield Finding("✗", "image", f"{options.image} is missing. {how_to_get(options.image)}")
        return
    if engine.has_old_image(options.image):
        yield Finding("!", "image", f"{options.image} is of an older guerdon. {how_to_get(options.image)}")
    else:
        yield Finding("✓", "image", options.image)
    try:
        yield Finding("✓", "box", asyncio.run(_try_box(engine, options)))
    except SandboxError as error:
        yield Finding("✗", "box", str(error).replace(DOCTOR, ""))


def _walls(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings about the isolation of a box from its host."""
    options = " ".join(info.get("SecurityOptions") or [])
    seccomp = "seccomp" in options
    yield _finding(
        seccomp,
        "seccomp",
        "system calls are filtered",
        "the engine does not filter system calls; use a kernel with CONFIG_SECCOMP_FILTER",
    )
    yield _finding(
        "userns" in options or "rootless" in options,
        "user namespace",
        "root in a box is not root on the host",
        'root in a box is the host\'s uid 0, without its rights. Set "userns-remap": "default" in '
        "/etc/docker/daemon.json and restart the engine, or use a rootless engine",
    )
    yield _finding(
        "apparmor" in options or "selinux" in options,
        "LSM",
        "AppArmor or SELinux confines boxes",
        "neither AppArmor nor SELinux confines boxes; enable one in the kernel and install its tools",
    )
    yield _finding(
        "runsc" in info.get("Runtimes", {}),
        "gVisor",
        "available as the runtime runsc",
        "not installed: jobs share the host's kernel (docs/explanation/sandbox-threat-model)",
    )


def _limits(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings about the resource limits of a box."""
    for key, subject in (
        ("MemoryLimit", "memory limit"),
        ("PidsLimit", "process limit"),
        ("CpuCfsQuota", "CPU limit"),
    ):
        yield _finding(
            bool(info.get(key)), subject, "works", "the engine cannot limit it; enable the cgroup controller"
        )
    yield _finding(
        info.get("CgroupVersion") == "2",
        "cgroups",
        "version 2",
        "version 1: each box is limited, but not all boxes together. Start the host with "
        "systemd.unified_cgroup_hierarchy=1",
    )
    yield _finding(
        info.get("Driver") != "vfs",
        "storage",
        str(info.get("Driver")),
        'vfs copies the image for each box; set "storage-driver": "overlay2" in /etc/docker/daemon.json',
    )


def _finding(good: bool, subject: str, fine: str, weak: str) -> Finding:
    return Finding("✓", subject, fine) if good else Finding("!", subject, weak)


async def _try_box(engine: Engine, options: BoxOptions) -> str:
    started = time.perf_counter()
    async with Sandbox([engine.address], options, boxes=1, patience_s=0.0) as sandbox:
        result = await sandbox.run(Program(source="import sys; print(sys.version.split()[0])"))
        first = time.perf_counter() - started
        started = time.perf_counter()
        await sandbox.run(Program(source=""))
        next_ms = (time.perf_counter() - started) * 1000
    return f"runs Python {result.stdout.decode().strip()}; first job after {first:.1f} s, next in {next_ms:.1f} ms"
