"""Turn a manifest into a plan: load the plugins, check their params, and order the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from guerdon.errors import UsageError
from guerdon.manifest.entries import STAGE_PREFIX, EntryPlanner, named_stages
from guerdon.manifest.evaluations import choice_problems
from guerdon.manifest.loading import Location, ManifestFile, Problem
from guerdon.manifest.planned import EvaluationPlan, NamedModel, Plan, SourcePlan, StagePlan
from guerdon.manifest.schema import ComponentRef, EntryRef, ModelRef, SourceRef, StageRef, ToolRef
from guerdon.plugins.component import Component, load_component, load_scorer
from guerdon.plugins.discovery import SCORERS, STAGE_SOURCE, Kind, find_plugin, installed_plugins
from guerdon.plugins.spelling import did_you_mean
from guerdon.rubric import Entry
from guerdon.tools.entries import ToolEntry
from guerdon.tools.toolbox import check_names

__all__ = [
    "STAGE_SOURCE",
    "EvaluationPlan",
    "NamedModel",
    "Plan",
    "SourcePlan",
    "StagePlan",
    "draft_run",
    "plan_rubric",
    "plan_run",
]

T = TypeVar("T")


def plan_run(file: ManifestFile) -> Plan:
    """Find and load every plugin that a manifest selects, and check everything that needs no data.

    Raises:
        ManifestError: Something does not fit; all mistakes at once, each with its line.
    """
    plan, problems = draft_run(file)
    if problems:
        raise file.error(problems)
    return plan


def draft_run(file: ManifestFile) -> tuple[Plan, Sequence[Problem]]:
    """Plan the valid parts of a manifest.

    Returns:
        A plan of the valid parts, and all mistakes in the manifest.
    """
    planner = _Planner(file)
    hooks = [
        planner.sound(partial(planner.component, ref, (Kind.HOOKS,), ("hooks", i)))
        for i, ref in enumerate(file.manifest.hooks)
    ]
    stages: list[StagePlan] = []
    for i, ref in enumerate(file.manifest.stages):
        before = len(planner.problems)
        stage = planner.stage(ref, ("stages", i))
        left_out = {key for stage_id, key in file.left_out if stage_id == ref.id}
        if stage is not None:
            sound = not left_out and len(planner.problems) == before
            stages.append(replace(stage, sound=sound, incomplete={*left_out, *stage.incomplete}))
    planner.check_ids()
    in_order = planner.sort(stages)
    problems = [*file.problems, *planner.problems]
    return Plan(file, in_order, [hook for hook in hooks if hook is not None]), problems


def plan_rubric(file: ManifestFile, stage: str | None = None) -> tuple[str, list[Entry]]:
    """Return one stage's rubric, for callers that only score. Only verifiers and rewards are loaded.

    Args:
        file: The manifest.
        stage: The stage's id; needed if several have rewards.

    Returns:
        The stage's id, and the rubric's entries.

    Raises:
        ManifestError: The rubric does not fit; all mistakes at once, each with its line.
        UsageError: There is no such stage, or several have rewards and none is named, or a reward needs a stage's
            output.
    """
    with_rewards = {ref.id: (ref, i) for i, ref in enumerate(file.manifest.stages) if ref.rewards}
    if stage is None and len(with_rewards) == 1:
        (stage,) = with_rewards
    if stage not in with_rewards:
        asked = (
            "Say which one is meant."
            if stage is None
            else f"There is none in '{stage}'.{did_you_mean(stage, with_rewards)}"
        )
        raise UsageError(
            f"{file.path} has rewards in the stages {', '.join(with_rewards) or 'none'}. {asked}"
        )
    planner = _Planner(file)
    ref, index = with_rewards[stage]
    entries = list(planner.rubric(ref, ("stages", index)).values())
    planner.finish()
    for entry in entries:
        for param, stage_id in named_stages(entry).items():
            raise UsageError(
                f"{file.path}: '{entry.name}' of stage '{stage}' uses the checkpoint of stage '{stage_id}', which only "
                f"a run makes. Set its param '{param}' to a checkpoint's folder."
            )
    return stage, entries


def _first_within(entries: Mapping[Location, Entry], place: Location) -> Entry | None:
    """Return the entry at a place of the manifest, or the first member of a ``first_of`` there."""
    return next((entry for at, entry in entries.items() if at[: len(place)] == place), None)


class _Planner:
    """Plans a manifest's parts and collects their mistakes."""

    def __init__(self, file: ManifestFile) -> None:
        self._file = file
        self._base_dir = file.path.resolve().parent
        self._stage_ids = [stage.id for stage in file.manifest.stages]
        self._left_out = set(file.left_out)
        self.problems: list[Problem] = []

    def finish(self) -> None:
        """Raise a ``ManifestError`` with all recorded problems, if there are any."""
        if self.problems:
            raise self._file.error(self.problems)

    def problem(self, location: Location, message: str) -> None:
        self.problems.append(self._file.problem(location, message))

    def sound(self, plan: Callable[[], T | None]) -> T | None:
        """Return the result of ``plan``, or ``None`` if it has recorded a problem."""
        before = len(self.problems)
        part = plan()
        return part if len(self.problems) == before else None

    def component(
        self, ref: ComponentRef | StageRef, kinds: Sequence[Kind], location: Location
    ) -> Component | None:
        component = self._try((*location, "use"), lambda: self._load(ref, kinds))
        if component is None:
            return None
        problems = self._try((*location, "use"), lambda: component.problems())
        if isinstance(ref, StageRef) and (ref.id, "params") in self._left_out:
            return component  # the params it lacks may be those that were left out
        for problem in problems or []:
            place = (*location, "params", problem.param) if problem.param else (*location, "use")
            self.problem(place, problem.message)
        return component

    def _load(self, ref: ComponentRef | StageRef, kinds: Sequence[Kind]) -> Component:
        if kinds == SCORERS:
            return load_scorer(ref.use, ref.params, self._base_dir)
        return load_component(find_plugin(ref.use, kinds, self._base_dir), ref.params, self._base_dir)

    def stage(self, ref: StageRef, location: Location) -> StagePlan | None:
        before = len(self.problems)
        component = self.component(ref, (Kind.STAGE,), location)
        wrong = component.problems() if component is not None and len(self.problems) > before else []
        sources = [
            self.sound(partial(self._source, source, (*location, "data", i)))
            for i, source in enumerate(ref.data)
        ]
        entries = self.rubric(ref, location)
        places = [(*location, "rewards", i) for i in range(len(ref.rewards))]
        tools = self._tools(ref, location)
        evaluation = self._evaluation(ref, location, entries)
        inits = ref.init if isinstance(ref.init, list) else [ref.init]
        if (ref.id, "init") in self._left_out:
            inits = ["none"]  # the default is not what was meant
        init = [self._init(one, (*location, "init")) for one in inits if one != "none"]
        if component is None:
            return None
        self._check_keys(ref, component, location, starts_from_model=any(one != "none" for one in inits))
        parts: dict[str, Sequence[object]] = {
            "init": init,
            "data": sources,
            "rewards": [_first_within(entries, place) for place in places],
        }
        return StagePlan(
            ref,
            component,
            [one for one in init if one is not None],
            [source for source in sources if source is not None],
            list(entries.values()),
            location,
            list(entries),
            tools=tools,
            evaluation=evaluation,
            incomplete={key for key, planned in parts.items() if None in planned},
            param_problems=wrong,
        )

    def _check_keys(
        self, ref: StageRef, component: Component, location: Location, *, starts_from_model: bool
    ) -> None:
        """Check that a stage has the keys that its plugin needs, and none that it does not know."""
        given = {"model": starts_from_model, "data": bool(ref.data), "rewards": bool(ref.rewards)}
        for need in component.member("needs", ()):
            key = "init" if need == "model" else need
            if need in given and not given[need] and (ref.id, key) not in self._left_out:
                what = "an 'init' other than none" if need == "model" else f"'{need}'"
                self.problem(
                    location, f"stage '{ref.id}' ({component.plugin.name}) needs {what}, and has none."
                )
        for key in ("tools", "environments"):
            if getattr(ref, key) and not component.member("uses_tools", False):
                self.problem(
                    (*location, key),
                    f"stage '{ref.id}' ({component.plugin.name}) lets the model call no tools. Remove '{key}'.",
                )
        if ref.evaluation is not None and not component.member("evaluates", False):
            self.problem(
                (*location, "evaluation"),
                f"stage '{ref.id}' ({component.plugin.name}) does not evaluate while it trains. Remove 'evaluation'.",
            )

    def _tools(self, ref: StageRef, location: Location) -> list[ToolEntry]:
        """Return the valid tools, then the valid environments."""
        found: list[ToolEntry] = []
        for key, kind in (("tools", Kind.TOOL), ("environments", Kind.ENVIRONMENT)):
            for i, tool in enumerate(getattr(ref, key)):
                entry = self.sound(partial(self._tool, tool, kind, (*location, key, i)))
                if entry is not None:
                    found.append(entry)
        self._try(location, lambda: check_names(found))
        return found

    def _tool(self, ref: ToolRef, kind: Kind, location: Location) -> ToolEntry | None:
        component = self.component(ref, (kind,), location)
        if component is None:
            return None
        name = ref.name or component.plugin.name
        return ToolEntry(name, component, ref.when, ref.timeout, ref.max_output)

    def rubric(self, ref: StageRef, location: Location) -> dict[Location, Entry]:
        """Return the valid entries, by location. An entry that needs an invalid one is left out too."""
        whole = (ref.id, "rewards") not in self._left_out
        return self._entries(ref.rewards, (*location, "rewards"), whole=whole)

    def _entries(self, refs: Sequence[EntryRef], location: Location, *, whole: bool) -> dict[Location, Entry]:
        planner = EntryPlanner(self.component, self._known_stage, self.problem, self.sound)
        return planner.plan(refs, location, whole=whole)

    def _evaluation(
        self, ref: StageRef, location: Location, own: dict[Location, Entry]
    ) -> EvaluationPlan | None:
        """Return the evaluation while a stage trains.

        Args:
            ref: The stage.
            location: Its place.
            own: The entries of the stage's own rubric, by location.
        """
        if ref.evaluation is None:
            return None
        place = (*location, "evaluation")
        sources = [
            self.sound(partial(self._source, source, (*place, "data", i)))
            for i, source in enumerate(ref.evaluation.data)
        ]
        before = len(self.problems)
        whole = (ref.id, "evaluation") not in self._left_out
        entries = own
        if ref.evaluation.rewards:
            entries = self._entries(ref.evaluation.rewards, (*place, "rewards"), whole=whole)
        elif whole and not ref.rewards and (ref.id, "rewards") not in self._left_out:
            self.problem(
                place, f"stage '{ref.id}' has no 'rewards' to evaluate by. Give the evaluation its own."
            )
        planned = {spot[: spot.index("rewards") + 2] for spot in entries}
        if (
            whole
            and len(self.problems) == before
            and len(planned) == len(ref.evaluation.rewards or ref.rewards)
        ):
            for keys, message in choice_problems(ref.evaluation, list(entries.values())):
                self.problem((*place, *keys), message)
        return EvaluationPlan(
            ref.evaluation,
            [source for source in sources if source is not None],
            list(entries.values()),
            list(entries),
        )

    def check_ids(self) -> None:
        """Record a problem for each id that an earlier stage has."""
        for i, stage_id in enumerate(self._stage_ids):
            if stage_id in self._stage_ids[:i]:
                self.problem(("stages", i, "id"), f"another stage has the id '{stage_id}' too.")

    def sort(self, stages: Sequence[StagePlan]) -> list[StagePlan]:
        """Return the stages with each after those that it needs; none, and a problem, if they need each other."""
        by_id = {stage.ref.id: stage for stage in stages}
        sorter = TopologicalSorter(
            {stage.ref.id: [need for need in stage.needs if need in by_id] for stage in stages}
        )
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = [str(stage_id) for stage_id in reversed(error.args[1])]
            place = ("stages", self._stage_ids.index(cycle[0]))
            self.problem(place, f"stages wait for each other in a circle: {' -> '.join(cycle)}.")
            return []
        in_order: list[StagePlan] = []
        while sorter.is_active():  # of the stages that are ready, take the first in the file
            ready = sorted(sorter.get_ready(), key=self._stage_ids.index)
            in_order += [by_id[stage_id] for stage_id in ready]
            sorter.done(*ready)
        return in_order

    def _source(self, ref: SourceRef, location: Location) -> SourcePlan | None:
        if (named := self._stage_named_by(ref.use)) is not None:
            self.problem(
                (*location, "use"),
                f"'{ref.use}' names no source. For the data set of stage '{named}' write "
                f"{{use: stage, params: {{id: {named}}}}}.",
            )
            return None
        if ref.use != STAGE_SOURCE:
            component = self.component(ref, (Kind.SOURCE,), location)
            return None if component is None else SourcePlan(ref, component, location=location)
        stage_id = ref.params.get("id")
        if set(ref.params) != {"id"} or not isinstance(stage_id, str):
            self.problem(location, "source 'stage' takes one param: id, the stage whose data set it is.")
            return None
        return (
            SourcePlan(ref, None, stage_id, location)
            if self._known_stage(stage_id, (*location, "params", "id"))
            else None
        )

    def _stage_named_by(self, use: str) -> str | None:
        """Return the id of the stage whose data set a source's ``use`` seems to mean, or ``None``."""
        if use.startswith(STAGE_PREFIX):
            return use.removeprefix(STAGE_PREFIX)
        if use in self._stage_ids and use != STAGE_SOURCE:
            is_source = any(use == source.name for source in installed_plugins(Kind.SOURCE))
            return None if is_source else use
        return None

    def _init(self, init: str | ModelRef, location: Location) -> ModelRef | str | None:
        if isinstance(init, ModelRef):
            return init
        if init == "base":
            base = self._file.manifest.model
            if base is None and ("", "model") in self._left_out:
                return None
            if base is None:
                self.problem(
                    location, "init is 'base', and the manifest has no 'model'. Add one, or set init to none."
                )
                return None
            ref = base if isinstance(base, ModelRef) else ModelRef(path=base)
            return NamedModel(name="base", **ref.model_dump())
        if init.startswith(STAGE_PREFIX):
            stage_id = init.removeprefix(STAGE_PREFIX)
            return stage_id if self._known_stage(stage_id, location) else None
        if init in self._stage_ids:
            self.problem(
                location,
                f"init is '{init}', which would be a model's path. For the stage write 'stage:{init}'.",
            )
            return None
        return ModelRef(path=init)

    def _known_stage(self, stage_id: str, location: Location) -> bool:
        """Return whether the manifest has a stage. If not, record a problem."""
        known = stage_id in self._stage_ids or (stage_id, "") in self._left_out
        if not known:
            ids = ", ".join(self._stage_ids)
            hint = did_you_mean(stage_id, self._stage_ids)
            self.problem(location, f"there is no stage '{stage_id}'. Stages: {ids}.{hint}")
        return known

    def _try(self, location: Location, attempt: Callable[[], T]) -> T | None:
        """Return the result of ``attempt``. If it raises a ``UsageError``, record a problem and return ``None``."""
        try:
            return attempt()
        except UsageError as error:
            self.problem(location, str(error))
            return None
