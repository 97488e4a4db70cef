"""Draw curves and histograms as SVG, for pages and for files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Curve = Sequence[tuple[float, float]]
"""Steps and values."""

COLOURS = ("#3b82f6", "#d9480f", "#2f9e44", "#a855f7", "#0c8599", "#e64980", "#9c7a00", "#6b7280")
"""Strokes with a contrast of 3:1 or more to a white and to a nearly black page."""

GREY = "#777777"
"""The text of axes and legends, which a page may set in its own colour."""

POINTS = 400
"""A curve is drawn with at most this many points; each is the mean of its neighbours."""

SMOOTHED = 40
"""A curve with at least this many points is drawn as a moving mean over a tenth of them, with the points behind it."""

_WIDTH, _HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 26
_LEGEND_ROW, _LEGEND_COLUMNS = 18, 2


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    least: float
    most: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.least) / (self.most - self.least) * (self.end - self.start)


def thinned(curve: Curve, most: int = POINTS) -> list[tuple[float, float]]:
    """Return a curve with at most so many points, by the mean of each block of neighbours."""
    width = -(-len(curve) // most) if curve else 1
    if width == 1:
        return list(curve)
    blocks = (curve[start : start + width] for start in range(0, len(curve), width))
    return [(block[-1][0], math.fsum(value for _, value in block) / len(block)) for block in blocks]


def smoothed(curve: Curve) -> list[tuple[float, float]]:
    """Return the moving mean of a curve over a tenth of its points."""
    width = max(1, len(curve) // 10)
    total, means = 0.0, []
    for place, (step, value) in enumerate(curve):
        total += value - (curve[place - width][1] if place >= width else 0.0)
        means.append((step, total / min(place + 1, width)))
    return means


def draw(title: str, curves: Mapping[str, Curve], *, smooth: bool = True, legend: bool = False) -> str:
    """Return curves as one SVG element, without a legend if the page has it.

    Args:
        title: What a screen reader says.
        curves: The curves by label, each with a point or more.
        smooth: Whether long curves get a moving mean.
        legend: Whether the labels are drawn below the axes, for a file of its own.
    """
    shown = {label: thinned(curve) for label, curve in curves.items() if curve}
    across = _scale([step for curve in shown.values() for step, _ in curve], _LEFT, _WIDTH - _RIGHT)
    up = _scale([value for curve in shown.values() for _, value in curve], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(across, up), *_lines(shown, across, up, smooth)]
    if legend:
        parts += _legend(list(shown))
    rows = -(-len(shown) // _LEGEND_COLUMNS) if legend else 0
    return _svg(title, parts, _HEIGHT + rows * _LEGEND_ROW)


def _svg(title: str, parts: Sequence[str], height: int = _HEIGHT) -> str:
    return _tag(
        *("svg", "".join(parts)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        font_family="system-ui, sans-serif",
        font_size=11,
        role="img",
        aria_label=title,
    )


def _tag(name: str, content: str = "", **attributes: str | float) -> str:
    """Return an element; an underscore in an attribute's name means a hyphen, numbers are rounded."""
    given = "".join(
        f' {key.replace("_", "-")}="{escape(str(round(value, 2) if isinstance(value, float) else value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{content}</{name}>"


def colour(place: int) -> str:
    """Return the colour of a curve."""
    return COLOURS[place % len(COLOURS)]


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    least, most = min(values, default=0.0), max(values, default=1.0)
    if least == most:
        half = abs(least) * 0.05 or 0.5
        least, most = least - half, most + half
    return Scale(least, most, start, end)


def _lines(curves: Mapping[str, Curve], across: Scale, up: Scale, smooth: bool) -> list[str]:
    raw, bold = [], []
    for place, curve in enumerate(curves.values()):
        is_long = smooth and len(curve) >= SMOOTHED
        if is_long:
            raw.append(_polyline(curve, across, up, place, 1, 0.55))
        bold.append(_polyline(smoothed(curve) if is_long else curve, across, up, place, 2, 1))
    return raw + bold


def _polyline(curve: Curve, across: Scale, up: Scale, place: int, width: float, opacity: float) -> str:
    if len(curve) == 1:
        ((step, value),) = curve
        return _tag("circle", cx=across(step), cy=up(value), r=3, fill=colour(place))
    points = " ".join(f"{across(step):.1f},{up(value):.1f}" for step, value in curve)
    return _tag(
        "polyline",
        points=points,
        fill="none",
        stroke=colour(place),
        stroke_width=width,
        stroke_opacity=opacity,
        stroke_linejoin="round",
    )


def _axes(across: Scale, up: Scale) -> Iterator[str]:
    for value in ticks(up.least, up.most, 4):
        y = up(value)
        yield _tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, stroke="#888", stroke_opacity=0.25)
        yield _tag("text", short(value), x=_LEFT - 6, y=y + 4, text_anchor="end", fill=GREY)
    for value in ticks(across.least, across.most, 5):
        if value == int(value):
            x = min(across(value), _WIDTH - _RIGHT - 8)
            yield _tag("text", short(value), x=x, y=_HEIGHT - 8, text_anchor="middle", fill=GREY)
    y = _HEIGHT - _BOTTOM
    yield _tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, stroke="#888", stroke_opacity=0.6)


def _legend(labels: Sequence[str]) -> Iterator[str]:
    for place, label in enumerate(labels):
        x = _LEFT + place % _LEGEND_COLUMNS * ((_WIDTH - _LEFT) // _LEGEND_COLUMNS)
        y = _HEIGHT + place // _LEGEND_COLUMNS * _LEGEND_ROW + 8
        yield _tag("line", x1=x, x2=x + 16, y1=y - 4, y2=y - 4, stroke=colour(place), stroke_width=2)
        yield _tag("text", escape(label), x=x + 22, y=y, fill=GREY)


def ticks(least: float, most: float, count: int) -> list[float]:
    """Return about so many round values from one limit to the other."""
    rough = (most - least) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(least / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(most / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return an axis' number."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.3g}"
    if abs(value) >= 10_000:
        return f"{value / 1000:,.4g}k"
    return f"{value:.4g}"


def draw_histogram(
    title: str, columns: Sequence[tuple[int, int]], edges: Sequence[float], counts: Sequence[Sequence[int]]
) -> str:
    """Return how values are spread over the steps: a column for each step or steps, dark where many values are.

    Args:
        title: What a screen reader says.
        columns: First and last step of each column.
        edges: The bins' limits.
        counts: The values by column and bin.
    """
    up = Scale(edges[0], edges[-1], _HEIGHT - _BOTTOM, _TOP)
    across = Scale(columns[0][0], columns[-1][1] + 1, _LEFT, _WIDTH - _RIGHT)
    width = (_WIDTH - _LEFT - _RIGHT) / len(columns)
    cells = []
    for place, ((first, last), column) in enumerate(zip(columns, counts, strict=True)):
        total = sum(column)
        for (lower, upper), count in zip(pairwise(edges), column, strict=True):
            if count:
                step = f"step {first}" if first == last else f"steps {first} to {last}"
                said = f"{step}: {count:,} of {total:,} rewards from {short(lower)} to {short(upper)}"
                cells.append(
                    _tag(
                        *("rect", _tag("title", said)),
                        x=_LEFT + place * width,
                        y=up(upper),
                        width=max(width - 0.5, 0.5),
                        height=up(lower) - up(upper) - 0.5,
                        fill=COLOURS[0],
                        fill_opacity=0.12 + 0.88 * count / total,
                    )
                )
    return _svg(title, [*_axes(across, up), *cells])
