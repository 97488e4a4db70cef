"""Reports on a run: one HTML page on each stage's work and results, and the model card of the trained model."""

from guerdon.report.card import card_path, model_card, trained_stage
from guerdon.report.page import render_page, require_templates
from guerdon.report.reading import RunRecord, read_run
from guerdon.report.stage_charts import draw_curves

__all__ = [
    "RunRecord",
    "card_path",
    "draw_curves",
    "model_card",
    "read_run",
    "render_page",
    "require_templates",
    "trained_stage",
]
