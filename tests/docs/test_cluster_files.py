"""The Dockerfiles, scripts and Kubernetes objects of the documentation pass their linters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from pages import Block, blocks, pages
from ruamel.yaml import YAML

KUBERNETES = "1.33"
BLOCKS = [block for page in pages() for block in blocks(page)]


def linted(command: str, *options: str, block: Block) -> None:
    program = Path(sys.executable).with_name(command)
    done = subprocess.run(
        [program, *options, "-"], input=block.text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def kubernetes_objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for block in BLOCKS:
        if block.language == "yaml" and "apiVersion:" in block.text:
            for one in YAML(typ="safe", pure=True).load_all(block.text):
                yield f"{block} {one['kind']}", one


OBJECTS = dict(kubernetes_objects())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "dockerfile"], ids=str)
def test_dockerfile_passes_hadolint(block: Block) -> None:
    # DL3008 wants exact versions of Debian's packages, which Debian removes when it has newer ones.
    linted("hadolint", "--ignore", "DL3008", block=block)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.text.startswith("#!")], ids=str)
def test_script_passes_shellcheck(block: Block) -> None:
    linted("shellcheck", block=block)


@pytest.mark.parametrize("name", OBJECTS)
def test_kubernetes_object_fits_its_schema(name: str) -> None:
    kubernetes_validate.validate(OBJECTS[name], KUBERNETES, strict=True)


def test_training_job_has_its_service_and_its_processes() -> None:
    by_kind = {one["kind"]: one for name, one in OBJECTS.items() if "launch.md" in name}
    service, job = by_kind["Service"], by_kind["Job"]
    template = job["spec"]["template"]["spec"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert template["subdomain"] == service["metadata"]["name"]
    (container,) = template["containers"]
    options = dict(arg.removeprefix("--").split("=") for arg in container["args"] if arg.startswith("--"))
    name = job["metadata"]["name"]
    assert options["master-addr"] == f"{name}-0.{service['metadata']['name']}"
    assert service["spec"]["ports"] == [{"port": int(options["master-port"])}]
    assert int(options["nnodes"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert options["nproc-per-node"] == container["resources"]["limits"]["nvidia.com/gpu"]
    assert int(options["shutdown-timeout"]) < template["terminationGracePeriodSeconds"]
    volumes = {volume["name"] for volume in template["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
