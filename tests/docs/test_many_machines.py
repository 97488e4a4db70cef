"""The Kubernetes example names what the reward server has: its port, its probes, its gauge, its token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from guerdon.cli.serve import TOKEN_VARIABLE, serve
from guerdon.serve.guards import OPEN_PATHS
from guerdon.serve.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "many-machines.md"


def objects() -> dict[str, Any]:
    """Return the objects of the example by their kind."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    example = next(block for block in blocks if "kind: Deployment" in block)
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
