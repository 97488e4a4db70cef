"""Render a run's record as one self-contained HTML page, without scripts or network access."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from guerdon import __version__
from guerdon.errors import MissingDependencyError
from guerdon.report.charts import stage_charts
from guerdon.report.intervals import with_intervals
from guerdon.report.reading import RunRecord, StageRecord
from guerdon.types import completion_text, message_text

_SAMPLED_STEPS = 3
"""The number of a training stage's steps whose rollouts are shown."""

_SHOWN = 4000
"""The most characters of a prompt or a completion."""


def render_page(run: RunRecord) -> str:
    """Return the report of a run as HTML.

    Raises:
        MissingDependencyError: The extra ``report`` is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise MissingDependencyError("guerdon report", "jinja2", "report") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=_number, duration=_duration, size=_size, words=_words, json=_indented_json
    )
    source = (resources.files("guerdon.report") / "page.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        run=run,
        version=__version__,
        columns=_columns,
        merged=with_intervals,
        charts={stage.id: [(c.title, Markup(c.svg)) for c in stage_charts(stage)] for stage in run.stages},
        samples={stage.id: _samples(stage) for stage in run.stages},
    )


def _columns(rows: list[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _samples(stage: StageRecord) -> list[dict[str, Any]]:
    return [_sample(record) for record in stage.rollouts.samples(_SAMPLED_STEPS)]


def _sample(record: Mapping[str, Any]) -> dict[str, Any]:
    scores = record.get("scores")
    return {
        "where": f"of {record['model']}" if "model" in record else f"step {record['step']}",
        "reward": record.get("reward"),
        "prompt": _prompt(record.get("prompt", "")),
        "completion": _cut(completion_text(record.get("completion", ""))),
        "tokens": record.get("completion_tokens"),
        "scores": scores if isinstance(scores, dict) else {},
    }


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, str):
        return _cut(prompt)
    return _cut("\n".join(f"{message.get('role')}: {message_text([message])}" for message in prompt))


def _cut(text: str) -> str:
    rest = len(text) - _SHOWN
    return text if rest <= 0 else f"{text[:_SHOWN]}\n… {rest} more characters"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def _duration(seconds: float) -> str:
    if not seconds:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def _size(number: int | None) -> str:
    if number is None:
        return "–"
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def _indented_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _words(name: str) -> str:
    return name.replace("_", " ")
