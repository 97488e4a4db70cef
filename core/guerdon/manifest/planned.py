"""What a plan consists of: stages, sources and evaluations, ready to run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from guerdon.manifest.entries import named_stages
from guerdon.manifest.loading import Location, ManifestFile
from guerdon.manifest.schema import (
    EvaluationRef,
    Manifest,
    ModelRef,
    SourceRef,
    StageRef,
)
from guerdon.plugins.component import Component
from guerdon.plugins.params import ParamProblem
from guerdon.rubric import Entry
from guerdon.tools.entries import ToolEntry

__all__ = ["EvaluationPlan", "NamedModel", "Plan", "SourcePlan", "StagePlan"]


class NamedModel(ModelRef):
    """A model with the name that the manifest gives it."""

    name: str
    """What tables and logs call it: ``base``, or its path."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One entry of a stage's data."""

    ref: SourceRef
    component: Component | None
    """The source plugin, or ``None`` for another stage's data set."""
    stage_id: str | None = None
    """The stage that produces the data set."""
    location: Location = ()
    """Its place in the manifest."""


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """The evaluation while a stage trains, ready to run."""

    ref: EvaluationRef
    sources: Sequence[SourcePlan]
    entries: Sequence[Entry]
    """The entries of its own rubric, or of the stage's."""
    entry_locations: Sequence[Location]
    """The places of its entries."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage, ready to run."""

    ref: StageRef
    component: Component
    init: Sequence[ModelRef | str]
    """The models, and the ids of the stages whose checkpoints the stage starts from."""
    sources: Sequence[SourcePlan]
    entries: Sequence[Entry]
    location: Location = ()
    """Its place in the manifest."""
    entry_locations: Sequence[Location] = ()
    """The places of its entries."""
    tools: Sequence[ToolEntry] = ()
    """The tools and the environments."""
    evaluation: EvaluationPlan | None = None
    """The evaluation while it trains."""
    sound: bool = True
    """Whether the stage has no mistakes. A stage with mistakes contains only its valid parts."""
    incomplete: Collection[str] = ()
    """The keys of the stage, such as ``data``, of which parts with mistakes were left out."""
    param_problems: Sequence[ParamProblem] = ()
    """The mistakes in the stage's own params."""

    @property
    def needs(self) -> list[str]:
        """Return the ids of the stages that must be finished first."""
        entries, sources = list(self.entries), list(self.sources)
        if self.evaluation is not None:
            entries += self.evaluation.entries
            sources += self.evaluation.sources
        checkpoints = [init for init in self.init if isinstance(init, str)]
        checkpoints += [stage_id for entry in entries for stage_id in named_stages(entry).values()]
        return checkpoints + [source.stage_id for source in sources if source.stage_id is not None]

    @property
    def evaluated(self) -> StagePlan | None:
        """Return the stage with the data and the rubric of its evaluation instead of its own, for their checks."""
        if self.evaluation is None:
            return None
        return replace(
            self,
            sources=self.evaluation.sources,
            entries=self.evaluation.entries,
            entry_locations=self.evaluation.entry_locations,
            location=(*self.location, "evaluation"),
            evaluation=None,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run, ready to start."""

    file: ManifestFile
    stages: Sequence[StagePlan]
    """The stages, each after those that it needs."""
    hooks: Sequence[Component]

    @property
    def manifest(self) -> Manifest:
        return self.file.manifest

    @property
    def base_dir(self) -> Path:
        """Return the folder that relative paths start from: the manifest's."""
        return self.file.path.resolve().parent
