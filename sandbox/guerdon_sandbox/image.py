"""Build the images of the boxes: Debian with Python, or also with compilers and node.

If a registry can be reached, the image is built from a Dockerfile. Otherwise debootstrap builds it from the Debian
mirror that apt uses. The supervisor is not in the image: boxes get it on their command line.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from guerdon_sandbox.engine import (
    FAILURES,
    IMAGE_LABEL,
    IMAGE_VERSION,
    PYTHON_IMAGE,
    TOOLCHAIN_IMAGE,
    Engine,
)
from guerdon_sandbox.errors import SandboxImageError

_SUITE = "trixie"
_PYTHON_PACKAGES = (
    "python3",
    "python3-numpy",
    "python3-pandas",
    "python3-pytest",
    "python3-sortedcontainers",
    "python3-sympy",
)
_TOOLCHAIN_PACKAGES = (*_PYTHON_PACKAGES, "g++", "nodejs")
EXTRAS = {
    "go": "golang-go",
    "java": "default-jdk-headless",
    "rust": "rustc",
    "typescript": "node-typescript",
}
"""Optional languages of a toolchain image, each several hundred MB, with their packages."""
_AFTER = {
    "golang-go": "GOROOT=$(readlink -f /usr/lib/go) CGO_ENABLED=0 GODEBUG=installgoroot=all GOCACHE=/tmp/go "
    "go install std && rm -rf /tmp/go",
}
"""What a package needs besides: a box has neither the time nor the space to compile Go's standard library.

Go finds its own root by /proc, which is not mounted while the image is made.
"""
_CHANGES = ['CMD ["python3"]', f"LABEL {IMAGE_LABEL}={IMAGE_VERSION}"]
_DOCKERFILE = "\n".join(
    [
        f"FROM debian:{_SUITE}-slim",
        "RUN apt-get update && apt-get install -y --no-install-recommends {packages} && rm -rf /var/lib/apt/lists/*",
        *_CHANGES,
    ]
)
# Files that no program needs.
_DISPENSABLE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


class Method(StrEnum):
    """Where the image's packages come from."""

    AUTO = "auto"
    """debootstrap if it is installed and may run, else the Dockerfile."""
    DOCKERFILE = "dockerfile"
    DEBOOTSTRAP = "debootstrap"


def build(
    engine: Engine,
    *,
    toolchain: bool,
    method: Method,
    say: Callable[[str], None],
    extras: Sequence[str] = (),
) -> str:
    """Build an image on an engine and return its name.

    Args:
        engine: The engine that gets the image.
        toolchain: Whether to add g++ and node.
        method: The origin of the packages.
        say: Gets progress messages.
        extras: Languages of `EXTRAS` for a toolchain image.

    Raises:
        SandboxUnavailableError: The engine does not answer.
        SandboxImageError: The build failed.
    """
    image = TOOLCHAIN_IMAGE if toolchain else PYTHON_IMAGE
    packages = (*(_TOOLCHAIN_PACKAGES if toolchain else _PYTHON_PACKAGES), *map(EXTRAS.__getitem__, extras))
    engine.info()  # fail before minutes of useless work
    if method is Method.AUTO:
        can_bootstrap = shutil.which("debootstrap") is not None and os.geteuid() == 0
        method = Method.DEBOOTSTRAP if can_bootstrap else Method.DOCKERFILE
    say(f"building {image} on {engine.address} with {method}")
    if method is Method.DEBOOTSTRAP:
        _bootstrap(engine, image, packages, say)
    else:
        _docker_build(engine, image, packages)
    return image


def _docker_build(engine: Engine, image: str, packages: tuple[str, ...]) -> None:
    lines = [
        _DOCKERFILE.format(packages=" ".join(packages)),
        *(f"RUN {command}" for command in _after(packages)),
    ]
    dockerfile = "\n".join(lines)
    try:
        engine.client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=image, rm=True)
    except FAILURES as error:
        raise SandboxImageError(
            f"building {image} from a Dockerfile failed: {error}. Without a registry, install debootstrap and run "
            "`guerdon sandbox build --method debootstrap` as root"
        ) from error


def _bootstrap(engine: Engine, image: str, packages: tuple[str, ...], say: Callable[[str], None]) -> None:
    mirror = _apt_mirror()
    with tempfile.TemporaryDirectory(prefix="guerdon-image-") as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        say(f"installing {_SUITE} with {', '.join(packages)}")
        included = ",".join(packages)
        _run(["debootstrap", "--variant=minbase", f"--include={included}", _SUITE, str(root), mirror])
        for command in _after(packages):
            _run(["chroot", str(root), "sh", "-c", command])
        for name in _DISPENSABLE:
            shutil.rmtree(root / name, ignore_errors=True)
        _run(["tar", "-C", str(root), "--one-file-system", "-cf", str(archive), "."])
        say("importing it into the engine")
        repository, _, tag = image.partition(":")
        try:
            engine.client.api.import_image_from_file(
                str(archive), repository=repository, tag=tag, changes=_CHANGES
            )
        except FAILURES as error:
            raise SandboxImageError(f"the engine refuses to import {image}: {error}") from error


def _after(packages: Sequence[str]) -> list[str]:
    """Return the commands that complete an image with these packages."""
    return [command for package, command in _AFTER.items() if package in packages]


def _apt_mirror() -> str:
    """Return the mirror that apt uses for this machine's release."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    suite = release.get("VERSION_CODENAME", "").strip('"')
    listed = _run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    )
    for line in listed.splitlines():
        site, codename, component = line.split()
        if (codename, component) == (suite, "main"):
            return site
    raise SandboxImageError(
        f"apt names no mirror for '{suite}'. Run apt-get update, or build with --method dockerfile"
    )


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise SandboxImageError(
            f"'{command[0]}' is not installed. Install it with: apt-get install {command[0]}"
        ) from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise SandboxImageError(
            f"`{command[0]}` failed with status {error.returncode}: {''.join(last)}"
        ) from error
