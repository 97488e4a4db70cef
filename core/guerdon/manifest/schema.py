"""The schema of a manifest. An unknown key is an error. ``guerdon schema`` prints it as JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from guerdon.rubric import OnFailure
from guerdon.tools.entries import MAX_OUTPUT

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
"""A name that is safe as a folder name and in ``stage:<id>``."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """A part of a manifest, without extra keys."""

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
    """The plugin's params; `guerdon plugins show NAME` lists them."""


class SourceRef(ComponentRef):
    """Data rows from a source, or another stage's data set (`use: stage`, `params: {id: ...}`)."""

    split: Literal["all", "train", "heldout"] = "all"
    """The side of the held-out split. A row's content decides its side, so the sides never overlap."""
    limit: Annotated[int, Field(gt=0)] | None = None
    """At most this many rows, counted after the split."""
    add: dict[str, Any] = {}
    """Columns to add to each row, such as `{task: math}` to route it to rewards."""


class RetryRef(Strict):
    """What to do about a failed score: ask again, and then what."""

    retry: Annotated[int, Field(ge=1, le=10)]
    """How often to ask again."""
    then: OnFailure = OnFailure.SKIP
    """The effect of a score that still fails."""


def _reaction(given: Any) -> str:
    """Return which of the two shapes `on_failure` has."""
    return "RetryRef" if isinstance(given, dict | RetryRef) else "OnFailure"


Reaction = Annotated[
    Annotated[OnFailure, Tag("OnFailure")] | Annotated[RetryRef, Tag("RetryRef")], Discriminator(_reaction)
]
"""The effect of a failed score."""

Weighting = Finite | Annotated[dict[Annotated[int, Field(ge=0)], Finite], Field(min_length=1)]
"""A number, or a schedule from step 0 on."""


class MemberRef(ComponentRef):
    """A scorer: a verifier or a reward, as a member of a `first_of`."""

    name: Name | None = None
    """The name in logs and tables; by default the plugin's name."""
    when: dict[str, Any] = {}
    """The rows it judges, by column: each must equal the value, or be one of a list's."""
    on_failure: Reaction = OnFailure.SKIP
    """The effect of a failed score: `skip` leaves the completion out of training, `zero` counts 0, `abort` stops;
    `{retry: 2, then: skip}` asks again first."""
    timeout: Annotated[Finite, Field(gt=0)] | None = None
    """Seconds for one verdict (for a reward: one call); by default the plugin's, else 10 or 300."""


class RewardRef(MemberRef):
    """A verifier or a reward, as an entry of a stage's rubric."""

    weight: Weighting = 1.0
    """A number, or a schedule `{step: weight}`, linear between its steps. 0 makes it a metric."""
    needs: list[Name] = []
    """The entries whose full value, 1, it needs: elsewhere it is not asked and scores 0."""


class FirstOfRef(Strict):
    """An entry of a stage's rubric whose members are asked in turn, until one gives the full value, 1."""

    name: Name
    """The name in logs and tables."""
    first_of: Annotated[list[MemberRef], Field(min_length=2)]
    """The members, the cheapest first. The last one that was asked and did not skip decides."""
    weight: Weighting = 1.0
    """A number, or a schedule `{step: weight}`, linear between its steps. 0 makes it a metric."""
    when: dict[str, Any] = {}
    """The rows it judges, by column: each must equal the value, or be one of a list's."""
    on_failure: OnFailure = OnFailure.SKIP
    """The effect if the member that decides failed: `skip`, `zero` or `abort`."""
    needs: list[Name] = []
    """The entries whose full value, 1, it needs: elsewhere its members are not asked and it scores 0."""


def _shape(given: Any) -> str:
    """Return which of the two shapes an entry of `rewards` has."""
    has_members = "first_of" in given if isinstance(given, dict) else isinstance(given, FirstOfRef)
    return "FirstOfRef" if has_members else "RewardRef"


VARIANTS = frozenset({"RewardRef", "FirstOfRef", "OnFailure", "RetryRef"})
"""The names of variants, which pydantic adds to the locations of errors."""

EntryRef = Annotated[
    Annotated[RewardRef, Tag("RewardRef")] | Annotated[FirstOfRef, Tag("FirstOfRef")], Discriminator(_shape)
]
"""One scorer, or a `first_of`."""


class ScoringRef(Strict):
    """Where the rubrics' workers run."""

    ray: str | None = None
    """`auto`, or the address of a Ray cluster: workers on all its nodes. By default, workers on this machine."""
    workers: Annotated[int, Field(gt=0)] | None = None
    """How many workers share the sync verifiers; by default one for each CPU, at most 16 on this machine."""


class ToolRef(ComponentRef):
    """A tool or an environment that a stage's model may use."""

    name: Name | None = None
    """A tool's name for the model, and an environment's in logs; by default the plugin's name."""
    when: dict[str, Any] = {}
    """The rows that it is offered to, by column: each must equal the value, or be one of a list's."""
    timeout: Annotated[Finite, Field(gt=0)] | None = None
    """Seconds for one call; by default the plugin's, else 30."""
    max_output: Annotated[int, Field(gt=0)] = MAX_OUTPUT
    """The most characters of a result that the model reads."""


class EvaluationRef(Strict):
    """An evaluation while a stage trains: the policy answers other prompts, and a rubric judges the answers."""

    every: Annotated[int, Field(gt=0)]
    """Steps between evaluations. The model before the first step and the last one are evaluated too."""
    data: Annotated[list[SourceRef], Field(min_length=1)]
    """The rows whose prompts are answered, such as those of `split: heldout`."""
    rewards: list[EntryRef] = []
    """The rubric; by default the stage's own. An entry of weight 0 only measures."""
    num_generations: Annotated[int, Field(gt=0)] = 1
    """Samples of each prompt."""
    best: Name | None = None
    """An entry of the rubric, or `reward`: the evaluated model with the highest mean is the stage's output."""
    max_drops: dict[Name, Annotated[Finite, Field(ge=0)]] = {}
    """By entry, how far its mean may fall below that of the first model; a model below is not the `best`."""
    patience: Annotated[int, Field(gt=0)] | None = None
    """Training stops after so many evaluations in a row without a better model."""
    keep_checkpoints: bool = False
    """Whether each evaluated model is kept in the output, under `checkpoints/step-<step>`."""


class StageRef(Strict):
    """One stage."""

    id: Name
    """The stage's name in other stages, tables and folders."""
    use: str
    """The stage plugin."""
    init: str | ModelRef | list[str | ModelRef] = "base"
    """The starting point: `base` (the manifest's model), `stage:<id>`, a hub id or folder, `none`, or a list."""
    data: list[SourceRef] = []
    """The stage's data sources, read one after another."""
    rewards: list[EntryRef] = []
    """The stage's rubric."""
    tools: list[ToolRef] = []
    """The tools that the model may call."""
    environments: list[ToolRef] = []
    """The environments, one for each rollout, whose methods the model may call."""
    evaluation: EvaluationRef | None = None
    """The evaluation while the stage trains."""
    params: dict[str, Any] = {}
    """The stage plugin's params; `guerdon plugins show NAME` lists them."""


class Manifest(Strict):
    """A whole run."""

    name: Name
    """The run's name, also that of its folder under `runs/`."""
    description: str = ""
    """A description for readers."""
    # NumPy takes 32 bits and no sign, and the processes of a launch add their numbers to the seed.
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """The seed of everything random in the run."""
    model: str | ModelRef | None = None
    """The base model, which `init: base` refers to."""
    heldout: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of rows on the held-out side of a split."""
    failure_budget: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of a verifier's latest scores that may fail before the run stops."""
    scoring: ScoringRef = ScoringRef()
    """Where the workers of all rubrics run; by default on this machine."""
    hooks: list[ComponentRef] = []
    """Hook plugins in addition to the progress display and the JSONL log, which every run has."""
    stages: Annotated[list[StageRef], Field(min_length=1)]
    """The stages. `init` and `data` decide their order; otherwise the file's order applies."""
