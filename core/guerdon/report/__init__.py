"""The report of a run: what each stage did and gained, and why a rollout got its reward, in one HTML page."""

from guerdon.report.charts import draw_curves
from guerdon.report.page import render_page
from guerdon.report.reading import RunRecord, read_run

__all__ = ["RunRecord", "draw_curves", "read_run", "render_page"]
