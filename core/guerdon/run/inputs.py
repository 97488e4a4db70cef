"""What a stage is made from. A run folder keeps it, to tell a finished stage from one that must be made anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from guerdon.component import Component
from guerdon.manifest.plan import StagePlan, named_stages
from guerdon.manifest.schema import Manifest
from guerdon.rubric import Entry


def stage_inputs(stage: StagePlan, known: Mapping[str, Any], manifest: Manifest) -> dict[str, Any]:
    """Everything that decides a stage's result, as JSON gives it back: keys are text, and so are dates and NaN.

    Args:
        stage: The stage.
        known: The inputs of the stages that it needs, by stage id.
        manifest: What holds for all stages.
    """
    inputs = {
        "stage": _parts(stage.component),
        "init": [
            {"stage": one, "inputs": _digest(known[one])}
            if isinstance(one, str)
            else one.model_dump(mode="json")
            for one in stage.init
        ],
        "data": [
            {
                **({"stage": s.stage_id, "inputs": _digest(known[s.stage_id])} if s.stage_id else {}),
                **(_source_parts(s.component) if s.component else {}),
                "split": s.ref.split,
                "limit": s.ref.limit,
                "add": s.ref.add,
            }
            for s in stage.sources
        ],
        "rewards": [
            {
                **_parts(entry.component),
                **({"stages": used} if (used := used_stages(entry, known)) else {}),
                "name": entry.name,
                "weight": _json_weight(entry.weight),
                "when": dict(entry.when),
                "on_failure": entry.on_failure.value,
                "timeout": entry.timeout_s,
            }
            for entry in stage.entries
        ],
        "seed": manifest.seed,
        "heldout": manifest.heldout,
    }
    read: dict[str, Any] = json.loads(json.dumps(inputs, default=str), parse_constant=str)
    return read


def used_stages(entry: Entry, known: Mapping[str, Any]) -> dict[str, str]:
    """The inputs, in short, of the stages whose checkpoints a reward or verifier uses, by stage id."""
    return {stage_id: _digest(known[stage_id]) for stage_id in named_stages(entry).values()}


def difference(before: Any, now: Any) -> str:
    """The first place where two inputs differ, in words."""
    flat_before, flat_now = _flat(before), _flat(now)
    keys = flat_before.keys() | flat_now.keys()
    key, *more = sorted(key for key in keys if flat_before.get(key) != flat_now.get(key))
    others = f" and {len(more)} more" if more else ""
    return f"{key} was {flat_before.get(key)!r} and is {flat_now.get(key)!r}{others}"


def _parts(component: Component) -> dict[str, Any]:
    return {**component.plugin.identity, "params": dict(component.params)}


def _source_parts(component: Component) -> dict[str, Any]:
    """A source may say more of its content than its params do, such as its files' checksums, by ``fingerprint()``."""
    fingerprint = component.member("fingerprint", of=component.build())
    content = fingerprint() if fingerprint is not None else None
    return {**_parts(component), **({"content": content} if content is not None else {})}


def _json_weight(weight: Any) -> Any:
    return {str(step): value for step, value in weight.items()} if isinstance(weight, Mapping) else weight


def _digest(inputs: Any) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}").items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{prefix}[{i}]").items()}
    return {prefix.lstrip("."): value}
