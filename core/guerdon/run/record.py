"""Write ``run.json``: the run's manifest, plugins and versions."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from guerdon.hookspecs import RunInfo
from guerdon.manifest.plan import Plan

_RECORDED = ("guerdon", "torch", "transformers", "trl", "accelerate", "datasets", "peft", "vllm")


def run_record(plan: Plan, run: RunInfo) -> dict[str, Any]:
    """Return the record of a run: its manifest, plugins and versions."""
    components = [stage.component for stage in plan.stages] + list(plan.hooks)
    evaluated = [part for stage in plan.stages if (part := stage.evaluated) is not None]
    for stage in (*plan.stages, *evaluated):
        components += [source.component for source in stage.sources if source.component]
        components += [entry.component for entry in stage.entries]
    plugins = {
        (c.kind.value, c.plugin.qualified_name): {
            "kind": c.kind.value,
            "name": c.plugin.name,
            "distribution": c.plugin.distribution,
            "version": c.plugin.version,
            "target": c.plugin.target,
        }
        for c in components
    }
    return {
        "name": run.name,
        "manifest": run.manifest,
        "stages": list(run.stage_ids),
        "plugins": [plugins[key] for key in sorted(plugins)],
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _RECORDED if _installed(name)},
        },
    }


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
