"""The stage ``my_plugin``."""

from __future__ import annotations

import json

from guerdon import StageContext, StageResult
from guerdon.types import message_text


class MyPlugin:
    """Keeps the rows whose prompts have at most ``max_words`` words, as a data set for other stages.

    Args:
        max_words: The largest number of words in a prompt.

    Raises:
        ValueError: ``max_words`` is below 1.
    """

    needs = ("data",)

    def __init__(self, max_words: int = 50) -> None:
        if max_words < 1:
            raise ValueError(f"max_words is {max_words}; it must be at least 1")
        self._max_words = max_words

    def run(self, context: StageContext) -> StageResult:
        rows = list(context.rows())
        kept = [row for row in rows if len(message_text(row["prompt"]).split()) <= self._max_words]
        dataset = context.output / "rows.jsonl"
        dataset.write_text("".join(json.dumps(dict(row)) + "\n" for row in kept))
        context.progress(1, 1, {"kept": len(kept)})
        return StageResult(dataset=dataset, metrics={"rows": len(rows), "kept": len(kept)})
