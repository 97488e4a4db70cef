"""Choose the curves of a stage that show its progress."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from guerdon.errors import InfrastructureError
from guerdon.index import RunIndex
from guerdon.index.metrics import metric_curve, metric_names
from guerdon.index.summing import rollout_curves
from guerdon.report.charts import Curve, draw


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over a stage's steps."""

    stage_id: str
    title: str
    curves: Mapping[str, Curve]

    @property
    def file_name(self) -> str:
        """Return the name of the chart's own file."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", f"{self.stage_id}-{self.title}").strip("-").lower() + ".svg"


_REWARD = re.compile(r"rewards/(.+)/mean")

_CORRECTIONS = "Words of self-correction in a response"

_METRICS: Mapping[str, Mapping[str, str]] = {
    "Reward": {"reward": "weighted sum"},
    "Response length (tokens)": {"completions/mean_length": "mean"},
    _CORRECTIONS: {},
    "Entropy": {"entropy": "mean"},
    "Groups without variance (share)": {"frac_reward_zero_std": "share"},
    "Unscored rollouts (share)": {"unscored_rate": "share"},
    "KL divergence": {"kl": "mean"},
    "Loss": {"loss": "loss"},
    "Accuracy": {"mean_token_accuracy": "tokens", "accuracy": "pairs"},
}
"""Charts by title, with the metrics that each shows and their labels."""


def _key_charts(stage_id: str, metrics: Mapping[str, Curve], corrections: Curve) -> Iterator[Chart]:
    """Yield the charts that show a stage's progress, for metrics logged at two or more steps.

    Args:
        stage_id: The stage.
        metrics: Its metrics by name.
        corrections: The mean number of words of self-correction in its rollouts.
    """
    charts: dict[str, dict[str, Curve]] = {title: {} for title in _METRICS}
    for metric, curve in metrics.items():
        for title, label in _places(metric):
            charts[title][label] = curve
    if not any(charts.values()):  # a stage of one's own, whose metrics have names of its own
        charts = {metric: {metric: curve} for metric, curve in metrics.items()}
    if charts.get("Reward"):
        charts[_CORRECTIONS]["mean"] = corrections
        if len(charts["Reward"]) == 2:  # with one verifier, the sum equals its curve
            charts["Reward"].pop("weighted sum", None)
        charts.pop("Loss")  # a policy gradient's loss does not show progress
    for title, curves in charts.items():
        shown = {label: curve for label, curve in curves.items() if len(curve) > 1}
        always_zero = not any(value for curve in shown.values() for _, value in curve)
        if shown and not (always_zero and "share" in shown):
            yield Chart(stage_id, title, shown)


def stage_charts(index: RunIndex, stage_id: str) -> list[Chart]:
    """Return the charts that show a stage's progress, from the run's index."""
    names = metric_names(index).get(stage_id, [])
    metrics = {name: metric_curve(index, stage_id, name) for name in names}
    corrections = rollout_curves(index, stage_id, "self-correction").get("self-correction", [])
    return list(_key_charts(stage_id, metrics, corrections))


def draw_curves(index: RunIndex, folder: Path) -> list[Path]:
    """Write every stage's curves, one file for each chart.

    Args:
        index: The run's index, up to date.
        folder: The folder of the files.

    Raises:
        InfrastructureError: The folder cannot be written to.
    """
    charts = [chart for stage in metric_names(index) for chart in stage_charts(index, stage)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for chart in charts:
            svg = draw(chart.title, chart.curves, legend=True)
            (folder / chart.file_name).write_text(svg, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written to: {error.strerror}. Choose another."
        ) from None
    return [folder / chart.file_name for chart in charts]


def _places(metric: str) -> Iterator[tuple[str, str]]:
    """Yield the charts that show a metric, with its label."""
    if verifier := _REWARD.fullmatch(metric):
        yield "Reward", verifier[1]
    for title, names in _METRICS.items():
        if metric in names:
            yield title, names[metric]
