"""Judges completions with a cache on disk; what the test of a kill in the middle of a batch starts.

Called as `judge_process.py FOLDER`. The verifier is this file's :class:`Noted`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

COUNT = 40


class Noted:
    """Leaves a line for each call."""

    def __init__(self, folder: str) -> None:
        self._calls = Path(folder) / "calls.txt"

    def __call__(self, completion: str) -> float:
        with self._calls.open("a") as file:
            file.write(f"{completion}\n")
        time.sleep(0.05)
        return 1.0


class NotedAsync(Noted):
    """The same, as a coroutine."""

    async def __call__(self, completion: str) -> float:  # type: ignore[override]
        import asyncio

        number = int(completion)
        await asyncio.sleep(0.05 * number)
        with self._calls.open("a") as file:
            file.write(f"{completion}\n")
        return 1.0


def main() -> None:
    from guerdon.plugins.component import load_component
    from guerdon.plugins.discovery import SCORERS, find_plugin
    from guerdon.rubric import Entry, Rubric
    from guerdon.scoring.cache import ScoreCache
    from guerdon.types import Rollout

    folder, verifier = sys.argv[1:]
    component = load_component(find_plugin(f"{__file__}:{verifier}", SCORERS), {"folder": folder}, None)
    cache = ScoreCache(Path(folder, "scores.sqlite"))
    with Rubric([Entry("noted", component)], cache=cache, workers=2) as rubric:
        judgements = rubric.score([Rollout("", str(number), {}) for number in range(COUNT)])
    assert all(judgement.reward == 1.0 for judgement in judgements)


if __name__ == "__main__":
    main()
