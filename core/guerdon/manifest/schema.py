"""What a manifest may say. Strict: an unknown key is an error. ``guerdon schema`` prints this as JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from guerdon.rubric import OnFailure

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is safe as a folder's name and in ``stage:<id>``."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """A part of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelRef(Strict):
    """A model to start from."""

    path: str
    """A hub id, a local folder, or `package:<name>` for a folder inside an installed Python package."""
    gguf_file: str | None = None
    """The GGUF file inside `path`; it is dequantized once and cached."""
    revision: str | None = None
    """The hub's revision."""
    dtype: str = "auto"
    """The dtype to load it in, by torch's name, or `auto`."""


class ComponentRef(Strict):
    """A plugin and its params."""

    use: str
    """A plugin's name, `distribution/name`, an import string `package.module:name`, or a file `./file.py:name`."""
    params: dict[str, Any] = {}
    """What the plugin takes; `guerdon plugins show NAME` lists it."""


class SourceRef(ComponentRef):
    """Data rows from a source, or from another stage's data set (`use: stage`, `params: {id: ...}`)."""

    split: Literal["all", "train", "heldout"] = "all"
    """The side of the held-out split: a row's side follows from its content, so the sides never overlap."""
    limit: Annotated[int, Field(gt=0)] | None = None
    """At most this many rows, counted after the split."""
    add: dict[str, Any] = {}
    """Columns that each row gets, such as `{task: math}` for rewards to be routed by."""


class RewardRef(ComponentRef):
    """A verifier or a reward, as an entry of a stage's rubric."""

    name: Name | None = None
    """What logs and tables call it; by default the plugin's name."""
    weight: Finite | Annotated[dict[int, Finite], Field(min_length=1)] = 1.0
    """A number, or a schedule `{step: weight}`, linear between its steps. 0 makes it a metric."""
    when: dict[str, Any] = {}
    """The rows it judges, by column: each must equal the value, or be one of a list's."""
    on_failure: OnFailure = OnFailure.SKIP
    """What a failed score does: `skip` leaves the completion out of training, `zero` counts 0, `abort` stops."""
    timeout: Annotated[Finite, Field(gt=0)] | None = None
    """Seconds for one verdict (for a reward: one call); by default the plugin's, else 10 or 300."""


class StageRef(Strict):
    """One stage."""

    id: Name
    """What other stages, tables and folders call it."""
    use: str
    """The stage plugin."""
    init: str | ModelRef | list[str | ModelRef] = "base"
    """What it starts from: `base` (the manifest's model), `stage:<id>`, a hub id or folder, `none`, or a list."""
    data: list[SourceRef] = []
    """Its data, one source after the other."""
    rewards: list[RewardRef] = []
    """Its rubric."""
    params: dict[str, Any] = {}
    """What the stage plugin takes."""


class Manifest(Strict):
    """A whole run."""

    name: Name
    """The run's name, and its folder's under `runs/`."""
    description: str = ""
    """For people."""
    seed: int = 0
    """Everything random follows from it."""
    model: str | ModelRef | None = None
    """The base model: what `init: base` means."""
    heldout: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of rows on the held-out side of a split."""
    failure_budget: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of a verifier's latest scores that may fail before the run stops."""
    hooks: list[ComponentRef] = []
    """Hook plugins beside the progress display and the JSONL log, which every run has."""
    stages: Annotated[list[StageRef], Field(min_length=1)]
    """The stages; their order follows from `init` and `data`, and is the file's where these leave it open."""
