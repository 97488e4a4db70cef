"""Ask a stage for the memory that it takes on a device."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from guerdon.errors import PluginContractError, UsageError
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.manifest.schema import ModelRef
from guerdon.plugins.boundary import boundary
from guerdon.run.stage_check import known_model
from guerdon.stage import Model

__all__ = ["has_memory_plan", "stage_memory"]

_Memory = TypeAdapter(dict[str, dict[str, NonNegativeInt]])


def has_memory_plan(stage: StagePlan) -> bool:
    """Return whether the stage can compute its memory."""
    return stage.component.member("plan_memory") is not None


def stage_memory(
    plan: Plan, stage: StagePlan, *, prompt_tokens: int, device_bytes: int, processes: int
) -> Mapping[str, Mapping[str, int]]:
    """Return the bytes of each part on each device, at each moment of the stage.

    Args:
        plan: The plan.
        stage: One of its stages, which can compute its memory.
        prompt_tokens: The length of each prompt.
        device_bytes: The memory of each device.
        processes: The processes of the launch, with one device each.

    Raises:
        GuerdonError: The memory cannot be computed.
    """
    models = [_known(plan, stage, init) for init in stage.init]
    built = stage.component.build()
    own = stage.component.member("plan_memory", of=built)
    try:
        with boundary(f"the memory plan of {stage.component.plugin} raised"):
            memory = own(models, prompt_tokens=prompt_tokens, device_bytes=device_bytes, processes=processes)
    except UsageError as error:
        raise UsageError(f"stage '{stage.ref.id}': {error}") from error
    try:
        return _Memory.validate_python(memory)
    except ValidationError:
        raise PluginContractError(
            f"stage '{stage.ref.id}': the memory plan of {stage.component.plugin} returned {memory!r:.100}. Return the "
            "bytes of each part at each moment: {'update': {'weights': 1024}}."
        ) from None


def _known(plan: Plan, stage: StagePlan, init: str | ModelRef) -> Model:
    """Return a model of a stage's init. A model that another stage trains has the size of the one it starts from.

    Raises:
        UsageError: A stage makes it from no model, or from several.
    """
    stages = {known.ref.id: known for known in plan.stages}
    while isinstance(init, str):
        first = stages[init]
        if not first.init:
            raise UsageError(
                f"stage '{init}' makes the model of stage '{stage.ref.id}', so its size is not known before the run. "
                f"Name a model: --set model=PATH --set stages.{stage.ref.id}.init=base."
            )
        init = first.init[0]
    return known_model(plan, init)
