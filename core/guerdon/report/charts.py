"""The curves of a run's stages, as static SVG."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """Some curves over a stage's steps."""

    stage_id: str
    title: str
    curves: Mapping[str, Curve]
    svg: str

    @property
    def file_name(self) -> str:
        """For the chart as a file of its own."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", f"{self.stage_id}-{self.title}").strip("-").lower() + ".svg"


_REWARD = re.compile(r"rewards/(.+)/mean")

_METRICS: Mapping[str, Callable[[str], str | None]] = {
    "Reward": lambda metric: (
        "sum" if metric == "reward" else (m[1] if (m := _REWARD.fullmatch(metric)) else None)
    ),
    "Response length (tokens)": {"completions/mean_length": "mean"}.get,
    "Entropy": {"entropy": "mean"}.get,
    "Groups without variance (share)": {"frac_reward_zero_std": "share"}.get,
    "Unscored rollouts (share)": {"unscored_rate": "share"}.get,
    "KL divergence": {"kl": "mean"}.get,
    "Loss": {"loss": "loss"}.get,
    "Accuracy": {"mean_token_accuracy": "tokens", "accuracy": "pairs"}.get,
}
"""Charts by title: what each calls a metric, if it shows it."""


def stage_charts(stage: StageRecord) -> Iterator[Chart]:
    """The charts of one stage, of what it has logged at two steps or more.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    for title, curves in _charts(stage).items():
        shown = {name: curve for name, curve in curves.items() if len(curve) > 1}
        if shown and not (
            title.endswith("(share)") and all(value == 0 for c in shown.values() for _, value in c)
        ):
            yield Chart(stage.id, title, shown, _svg(title, shown))


def draw_curves(run: RunRecord, folder: Path) -> list[Path]:
    """Write every stage's curves, a chart a file.

    Raises:
        InfrastructureError: The folder cannot be written to.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stage in run.stages:
            for chart in stage_charts(stage):
                paths.append(folder / chart.file_name)
                paths[-1].write_text(chart.svg, encoding="utf-8")
    except OSError as error:
        if isinstance(error, InfrastructureError):
            raise
        raise InfrastructureError(
            f"{folder} cannot be written to: {error.strerror}. Choose another."
        ) from None
    return paths


def _charts(stage: StageRecord) -> dict[str, dict[str, Curve]]:
    charts: dict[str, dict[str, Curve]] = {title: {} for title in _METRICS}
    trains_on_rollouts = False
    for step, metrics in stage.progress:
        trains_on_rollouts |= "reward" in metrics
        for metric, value in metrics.items():
            for title, name_of in _METRICS.items():
                name = name_of(metric)
                if name is not None and isinstance(value, int | float) and isfinite(value):
                    charts[title].setdefault(name, []).append((step, value))
    if trains_on_rollouts:
        charts = _after(
            charts,
            "Response length (tokens)",
            "Words of self-correction in a response",
            _self_corrections(stage),
        )
        if len(charts["Reward"]) == 2:  # the sum is the one verifier's
            charts["Reward"].pop("sum")
        charts.pop("Loss")  # a policy gradient's says nothing about progress
    return charts


def _self_corrections(stage: StageRecord) -> dict[str, Curve]:
    steps = sorted(stage.rollouts.steps.items())
    return {"mean": [(step + 1, means.self_corrections / means.count) for step, means in steps]}


def _after(
    charts: dict[str, dict[str, Curve]], place: str, title: str, curves: dict[str, Curve]
) -> dict[str, dict[str, Curve]]:
    ordered = {}
    for name, value in charts.items():
        ordered[name] = value
        if name == place:
            ordered[title] = curves
    return ordered


_SMOOTHED = 40
"""Points from which on a curve is drawn as a moving mean over a tenth of them, the points behind it."""


def _svg(title: str, curves: Mapping[str, Curve]) -> str:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependencyError("guerdon report", "matplotlib", "report") from error
    grey = "#777777"
    # Text stays text, in the page's own font; the salt makes the same run the same file.
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
                axes.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=0.8)
        axes.set_title(title, loc="left", color=grey, fontsize=9)
        axes.set_xlabel("step", color=grey)
        axes.tick_params(colors=grey)
        axes.grid(color=grey, alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(grey)
        if len(curves) > 1:
            axes.legend(frameon=False, labelcolor=grey)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _moving_mean(values: Sequence[float]) -> list[float]:
    width = max(1, len(values) // 10)
    windows = (values[max(0, end - width) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]
