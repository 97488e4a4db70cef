"""The values that plugins and the engine exchange. This module has no heavy imports."""

from guerdon.data.messages import Messages, completion_text, message_text
from guerdon.types.rollout import Rollout, Row, ToolCall
from guerdon.types.score import Failure, Outcome, Score, Span, total_usage
from guerdon.types.verdict import Judgement, Judgements, OnFailure, Verdict, total_reward

__all__ = [
    "Failure",
    "Judgement",
    "Judgements",
    "Messages",
    "OnFailure",
    "Outcome",
    "Rollout",
    "Row",
    "Score",
    "Span",
    "ToolCall",
    "Verdict",
    "completion_text",
    "message_text",
    "total_reward",
    "total_usage",
]
