"""Make the viewer's charts: drawn, with the data that a pointer reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from guerdon.index.histograms import reward_histogram
from guerdon.index.metrics import metric_curve, metric_names
from guerdon.index.summing import MEASURES, overview, rollout_curves
from guerdon.report.charts import Curve, draw, draw_histogram, short, thinned
from guerdon.report.stage_charts import stage_charts
from guerdon.view.runs import ViewedRun


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart of a page."""

    title: str
    svg: str
    labels: Sequence[str] = ()
    data: str = "[]"
    """The curves as JSON, for a pointer."""


def figure(title: str, curves: Mapping[str, Curve], smooth: bool = True) -> Figure:
    """Return a chart of curves."""
    data: list[Any] = [[label, thinned(curve)] for label, curve in curves.items() if curve]
    return Figure(title, draw(title, curves, smooth=smooth), list(curves), json.dumps(data))


def overview_figures(run: ViewedRun) -> dict[str, list[Figure]]:
    """Return the charts that show each stage's progress."""
    charts = {stage: stage_charts(run.index, stage) for stage in metric_names(run.index)}
    return {
        stage: [figure(chart.title, chart.curves) for chart in of_stage]
        for stage, of_stage in charts.items()
        if of_stage
    }


def curve_sections(
    runs: Sequence[ViewedRun], stage: str, part: str, by_task: bool, smooth: bool
) -> dict[str, list[Figure]]:
    """Return the charts of everything that a stage has logged, with the runs laid over each other.

    Args:
        runs: The runs; a chart has a curve for each.
        stage: The stage's id.
        part: A part of the names to show; empty for all.
        by_task: Whether the means over rollouts have a curve for each task.
        smooth: Whether long curves get a moving mean.
    """
    several = len(runs) > 1
    charts: dict[str, dict[str, dict[str, Curve]]] = {"Rollouts": {}, "Metrics": {}}
    for run in runs:
        entries = overview(run.index).names.entries
        for measure in (*MEASURES, *entries):
            for label, curve in rollout_curves(run.index, stage, measure, by_task).items():
                name = f"{run.key}: {label}" if several and by_task else run.key if several else label
                charts["Rollouts"].setdefault(f"{measure} (mean)", {})[name] = curve
        for metric in metric_names(run.index).get(stage, ()):
            curve = metric_curve(run.index, stage, metric)
            charts["Metrics"].setdefault(metric, {})[run.key if several else metric] = curve
    sections = {}
    for title, named in charts.items():
        figures = [
            figure(name, curves, smooth) for name, curves in named.items() if part.lower() in name.lower()
        ]
        if figures:
            sections[title] = figures
    return sections


def histogram_figures(run: ViewedRun) -> list[Figure]:
    """Return the rewards of each stage over its steps; a pointer reads each range of rewards as a curve."""
    figures = []
    for stage in overview(run.index).names.stages:
        found = reward_histogram(run.index, stage)
        if found is None:
            continue
        curves: list[tuple[str, list[tuple[int, int]]]] = []
        for place, (low, high) in enumerate(pairwise(found.edges)):
            columns = zip(found.steps, found.counts, strict=True)
            curve = [(first, column[place]) for (first, _), column in columns if column[place]]
            if curve:
                curves.append((f"{short(low)} to {short(high)}:", curve))
        svg = draw_histogram(stage, found.steps, found.edges, found.counts)
        figures.append(Figure(stage, svg, data=json.dumps(curves)))
    return figures
