"""Verifiers and rewards as plugins, and a GRPO engine that trains with them.

This module is the public API for plugin authors. It imports neither torch nor any plugin.
"""

from guerdon.deadline import current_deadline
from guerdon.stage import Model, StageContext, StageResult
from guerdon.types import (
    Failure,
    Judgement,
    Messages,
    Outcome,
    Rollout,
    Row,
    Score,
    Span,
    Verdict,
    completion_text,
    message_text,
)

__version__ = "0.1.0"

__all__ = [
    "Failure",
    "Judgement",
    "Messages",
    "Model",
    "Outcome",
    "Rollout",
    "Row",
    "Score",
    "Span",
    "StageContext",
    "StageResult",
    "Verdict",
    "completion_text",
    "current_deadline",
    "message_text",
]
