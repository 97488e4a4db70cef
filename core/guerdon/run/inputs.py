"""Record a stage's inputs in the run folder, to decide whether its earlier results can be reused.

Params that only affect logging and checkpointing are not inputs. A stage with a longer target resumes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.errors import PluginContractError
from guerdon.manifest.entries import named_stages
from guerdon.manifest.plan import EvaluationPlan, SourcePlan, StagePlan
from guerdon.manifest.schema import Manifest, ModelRef
from guerdon.plugins.boundary import boundary
from guerdon.plugins.component import Component
from guerdon.rubric import Entry
from guerdon.run.content import ModelDigests, is_model_folder, local_modules
from guerdon.run.secrets import HIDDEN, Secrets
from guerdon.tools.entries import ToolEntry

_LAUNCH = "processes"
"""An input that matters to a resumed stage, and not to a finished one."""


class Inputs:
    """Makes the inputs of a manifest's stages.

    Args:
        manifest: Values that hold for all stages.
        models: Digests of local models.
        processes: The number of processes of the launch.
        secrets: Values that must not be written down.
    """

    def __init__(
        self, manifest: Manifest, models: ModelDigests, processes: int = 1, secrets: Secrets | None = None
    ) -> None:
        self._manifest = manifest
        self._models = models
        self._processes = processes
        self._secrets = secrets or Secrets({})

    def of(self, stage: StagePlan, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that decides a stage's result, as parsed JSON: keys and dates are text.

        Args:
            stage: The stage.
            known: The inputs of the stages that it needs, by stage id.
        """
        operational = set(stage.component.member("operational_params", ()))
        inputs: dict[str, Any] = {
            "stage": self._parts(stage.component, without=operational),
            "init": [self._init(stage, one, known) for one in stage.init],
            "data": [self._source(source, known) for source in stage.sources],
            "rewards": [self._entry(entry, known) for entry in stage.entries],
            **self._evaluation(stage.evaluation, known),
            **({"tools": list(map(self._tool, stage.tools))} if stage.tools else {}),
            "seed": self._manifest.seed,
            "heldout": self._manifest.heldout,
        }
        component = stage.component
        if component.member("distributed", False) and not component.member("any_process_count", False):
            inputs[_LAUNCH] = self._processes
        read: dict[str, Any] = json.loads(
            json.dumps(self._secrets.hide(inputs), default=str), parse_constant=str
        )
        return read

    def _source(self, source: SourcePlan, known: Mapping[str, Any]) -> dict[str, Any]:
        stage_id = source.stage_id
        return {
            **({"stage": stage_id, "inputs": _digest(known[stage_id])} if stage_id else {}),
            **(self._source_parts(source.component) if source.component else {}),
            "split": source.ref.split,
            "limit": source.ref.limit,
            "add": source.ref.add,
        }

    def _entry(self, entry: Entry, known: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **self._parts(entry.component),
            **({"stages": used} if (used := used_stages(entry, known)) else {}),
            **({"models": models} if (models := self.models_of(entry.component)) else {}),
            "name": entry.name,
            "weight": _json_weight(entry.weight),
            "when": dict(entry.when),
            "on_failure": entry.on_failure.value,
            "timeout": entry.timeout_s,
            **_composition(entry),
        }

    def _evaluation(self, evaluation: EvaluationPlan | None, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of an evaluation while a stage trains; nothing without one, so that old inputs stay equal.

        It is an input as a whole: it decides the output, or at least the logged metrics.
        """
        if evaluation is None:
            return {}
        settings = evaluation.ref.model_dump(exclude={"data", "rewards"})
        return {
            "evaluation": {
                **settings,
                "data": [self._source(source, known) for source in evaluation.sources],
                "rewards": [self._entry(entry, known) for entry in evaluation.entries],
            }
        }

    def _tool(self, entry: ToolEntry) -> dict[str, Any]:
        component = entry.component
        has_content = component.member("fingerprint") is not None
        return {
            **(self._source_parts(component) if has_content else self._parts(component)),
            "kind": component.kind.value,
            "name": entry.name,
            "when": dict(entry.when),
            "timeout": entry.timeout_s,
            "max_output": entry.max_output,
        }

    def models_of(self, component: Component) -> dict[str, dict[str, str]]:
        """Return the digests of the local models that params refer to, by param."""
        if component.base_dir is None:
            return {}
        return {
            name: self._models.of(component.base_dir / value)
            for name, value in component.params.items()
            if isinstance(value, str) and value and is_model_folder(component.base_dir / value)
        }

    def _init(self, stage: StagePlan, init: ModelRef | str, known: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(init, str):
            return {"stage": init, "inputs": _digest(known[init])}
        parts = {name: getattr(init, name) for name in ModelRef.model_fields}
        folder = None if stage.component.base_dir is None else stage.component.base_dir / init.path
        content = self._models.of(folder) if folder is not None and is_model_folder(folder) else None
        return {**parts, **({"content": content} if content is not None else {})}

    def _parts(self, component: Component, without: Collection[str] = ()) -> dict[str, Any]:
        params = {name: value for name, value in component.params.items() if name not in without}
        modules = local_modules(component.plugin, component.base_dir)
        return {
            **component.plugin.identity,
            "params": params,
            **({"modules": modules} if modules else {}),
            **({"objects": objects} if (objects := component.named_objects) else {}),
        }

    def _source_parts(self, component: Component) -> dict[str, Any]:
        """Return the fingerprint of a source's or a tool's content, such as its files' checksums, if it has one."""
        fingerprint = component.member("fingerprint", of=component.build())
        content = None
        if fingerprint is not None:
            with boundary(f"the fingerprint of {component.plugin} raised", outside=OSError):
                content = fingerprint()
            try:
                json.dumps(content)
            except (TypeError, ValueError):
                raise PluginContractError(
                    f"the fingerprint of {component.plugin} returned a {type(content).__name__}, which is not JSON. "
                    "Return a digest as text."
                ) from None
        return {**self._parts(component), **({"content": content} if content is not None else {})}


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between a stage's inputs and those recorded in its folder."""

    difference: str | None = None
    """The first difference that makes the folder's content unusable, in words."""
    longer: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """The params that only extend the stage: their old and new values."""


def change(before: Any, now: Any, *, finished: bool, extendable: Sequence[str] = ()) -> Change:
    """Compare the inputs of a stage.

    Args:
        before: The inputs that the folder records.
        now: The current inputs.
        finished: Whether the stage is finished. If so, the number of processes is not compared.
        extendable: The stage's params that extend it.
    """
    if not isinstance(before, dict):
        return Change(difference="they cannot be read")
    adapted = _with_hidden(json.loads(json.dumps(before)), now)
    if finished and _LAUNCH in adapted and _LAUNCH in now:
        adapted[_LAUNCH] = now[_LAUNCH]
    longer = {}
    old, new = (inputs.get("stage", {}).get("params", {}) for inputs in (adapted, now))
    for name in extendable:
        if _is_count(old.get(name)) and _is_count(new.get(name)) and 0 < old[name] < new[name]:
            longer[name] = (old[name], new[name])
            old[name] = new[name]
    if adapted == now:
        return Change(longer=longer)
    return Change(difference=difference(adapted, now))


def _with_hidden(before: Any, now: Any) -> Any:
    """Return the old inputs with the current value wherever either hides a secret, because secrets may change."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: _with_hidden(value, now.get(key)) for key, value in before.items()}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_with_hidden(*pair) for pair in zip(before, now, strict=True)]
    both = (before, now)
    return now if all(isinstance(v, str) for v in both) and any(HIDDEN in v for v in both) else before


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def used_stages(entry: Entry, known: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs, in short, of the stages whose checkpoints an entry uses, by stage id."""
    return {stage_id: _digest(known[stage_id]) for stage_id in named_stages(entry).values()}


def difference(before: Any, now: Any) -> str:
    """Return the first place where two inputs differ, in words."""
    flat_before, flat_now = _flat(before), _flat(now)
    keys = flat_before.keys() | flat_now.keys()
    key, *more = sorted(key for key in keys if flat_before.get(key) != flat_now.get(key))
    others = f" and {len(more)} more" if more else ""
    if key.endswith("].inputs"):
        stage_id = flat_now.get(key.removesuffix("inputs") + "stage")
        return f"{key.removesuffix('.inputs')} is stage '{stage_id}', whose own inputs changed{others}"
    was, now_is = (repr(flat[key]) if key in flat else "not set" for flat in (flat_before, flat_now))
    return f"{key} was {was} and is {now_is}{others}"


def _composition(entry: Entry) -> dict[str, Any]:
    """Return what other entries have to do with an entry, without what is not set, so that old inputs stay equal."""
    whole = entry.within
    within = whole and {
        "name": whole.name,
        "weight": _json_weight(whole.weight),
        "when": dict(whole.when),
        "on_failure": whole.on_failure.value,
        "needs": list(whole.needs),
    }
    parts = {"retries": entry.retries, "needs": list(entry.needs), "within": within}
    return {name: value for name, value in parts.items() if value}


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
