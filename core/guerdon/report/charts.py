"""Draw the curves of a run's stages, as static SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from math import isfinite
from pathlib import Path

from guerdon.errors import InfrastructureError, MissingDependencyError
from guerdon.report.reading import RunRecord, StageRecord

Curve = list[tuple[float, float]]
"""Steps and values."""


@dataclass(frozen=True)
class Chart:
    """Curves over a stage's steps."""

    stage_id: str
    title: str
    curves: Mapping[str, Curve]
    svg: str

    @property
    def file_name(self) -> str:
        """Return the name of the chart's own file."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", f"{self.stage_id}-{self.title}").strip("-").lower() + ".svg"


_REWARD = re.compile(r"rewards/(.+)/mean")

_METRICS: Mapping[str, Mapping[str, str]] = {
    "Reward": {"reward": "weighted sum"},
    "Response length (tokens)": {"completions/mean_length": "mean"},
    "Words of self-correction in a response": {},
    "Entropy": {"entropy": "mean"},
    "Groups without variance (share)": {"frac_reward_zero_std": "share"},
    "Unscored rollouts (share)": {"unscored_rate": "share"},
    "KL divergence": {"kl": "mean"},
    "Loss": {"loss": "loss"},
    "Accuracy": {"mean_token_accuracy": "tokens", "accuracy": "pairs"},
}
"""Charts by title, with the metrics that each shows and their labels."""


def stage_charts(stage: StageRecord) -> Iterator[Chart]:
    """Return the charts of one stage, for metrics logged at two or more steps.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    for title, curves in _charts(stage).items():
        shown = {name: curve for name, curve in curves.items() if len(curve) > 1}
        always_zero = not any(value for curve in shown.values() for _, value in curve)
        if shown and not (always_zero and "share" in shown):
            yield Chart(stage.id, title, shown, _svg(title, shown))


def draw_curves(run: RunRecord, folder: Path) -> list[Path]:
    """Write every stage's curves, one file for each chart.

    Raises:
        InfrastructureError: The folder cannot be written to.
    """
    charts = [chart for stage in run.stages for chart in stage_charts(stage)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for chart in charts:
            (folder / chart.file_name).write_text(chart.svg, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written to: {error.strerror}. Choose another."
        ) from None
    return [folder / chart.file_name for chart in charts]


def _charts(stage: StageRecord) -> dict[str, dict[str, Curve]]:
    charts: dict[str, dict[str, Curve]] = {title: {} for title in _METRICS}
    for step, metrics in stage.progress:
        for metric, value in metrics.items():
            for title, name in _places(metric):
                if isinstance(value, int | float) and isfinite(value):
                    charts[title].setdefault(name, []).append((step, value))
    if charts["Reward"]:
        charts["Words of self-correction in a response"]["mean"] = [
            (step, means.self_corrections / means.count)
            for step, means in sorted(stage.rollouts.steps.items())
        ]
        if len(charts["Reward"]) == 2:  # with one verifier, the sum equals its curve
            charts["Reward"].pop("weighted sum", None)
        charts.pop("Loss")  # a policy gradient's loss does not show progress
    return charts


def _places(metric: str) -> Iterator[tuple[str, str]]:
    """Yield the charts that show a metric, with its label."""
    if verifier := _REWARD.fullmatch(metric):
        yield "Reward", verifier[1]
    for title, names in _METRICS.items():
        if metric in names:
            yield title, names[metric]


_SMOOTHED = 40
"""A curve with at least this many points is drawn as a moving mean over a tenth of them, with the points behind it."""


def _svg(title: str, curves: Mapping[str, Curve]) -> str:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependencyError("guerdon report", "matplotlib", "report") from error
    grey = "#777777"
    # Text stays text in the page's font. A fixed salt makes the same run produce the same file.
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 9}
    ):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        axes = figure.subplots()
        for name, curve in curves.items():
            steps, values = zip(*curve, strict=True)
            label = name.replace("$", r"\$").lstrip("_")
            if len(values) < _SMOOTHED:
                axes.plot(steps, values, label=label, linewidth=1.6)
            else:
                (line,) = axes.plot(steps, _moving_mean(values), label=label, linewidth=1.6)
                axes.plot(steps, values, color=line.get_color(), alpha=0.4, linewidth=0.8)
        axes.set_title(title, loc="left", color=grey, fontsize=9)
        axes.set_xlabel("step", color=grey)
        axes.tick_params(colors=grey)
        axes.grid(color=grey, alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(grey)
        if len(curves) > 1:
            # Below the axes, because inside it would cover the curves.
            figure.legend(loc="outside lower left", ncols=2, frameon=False, labelcolor=grey)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _moving_mean(values: Sequence[float]) -> list[float]:
    width = max(1, len(values) // 10)
    windows = (values[max(0, end - width) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]
