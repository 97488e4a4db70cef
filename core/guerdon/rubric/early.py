"""Judge completions in a thread while others are generated."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from guerdon.errors import one_line

logger = logging.getLogger(__name__)

__all__ = ["EarlyJudge", "early_names"]

_Item = TypeVar("_Item")


def early_names(rubric: Any) -> frozenset[str]:
    """Return the names of the verdicts that early calls give. A rubric of another maker may only score."""
    names: frozenset[str] = getattr(rubric, "early_names", frozenset())
    return names


class EarlyJudge(Generic[_Item]):
    """Judges what is submitted, in the order of submission, in a thread of its own.

    All that waits is judged together, so that slow verifiers have many completions at once. Everything after an error
    is left to the call that needs every judgement, which raises the error again if its cause is still there.

    Args:
        judge: Judges items by an early call of :meth:`guerdon.rubric.Rubric.score`.
        whole: The number of items of a prompt that are judged together; 1 if each is judged as it comes.
        finish: Whether what still waits when the block ends is judged first. If not, it is left to the call that
            needs every judgement.
    """

    def __init__(
        self, judge: Callable[[Sequence[_Item]], object], whole: int = 1, *, finish: bool = False
    ) -> None:
        self._judge = judge
        self._whole = whole
        self._finish = finish
        self._parts: dict[int, dict[int, _Item | None]] = {}
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="guerdon-early", daemon=True)

    def submit(self, prompt: int, number: int, item: _Item | None) -> None:
        """Submit one of a prompt's items.

        Args:
            prompt: The number of the prompt.
            number: The item's number in the order of the prompt's items.
            item: The item; ``None`` if it cannot be judged.
        """
        parts = self._parts.setdefault(prompt, {})
        parts[number] = item
        if len(parts) < self._whole:
            return
        del self._parts[prompt]
        with self._changed:
            self._waiting += [part for _, part in sorted(parts.items()) if part is not None]
            self._changed.notify()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ended = True
            if error is not None or not self._finish:
                self._waiting.clear()
            self._changed.notify()
        if error is None:  # otherwise the rubric is closed next, which ends its running call
            self._thread.join()

    def _work(self) -> None:
        while items := self._next():
            try:
                self._judge(items)
            except Exception as error:
                if not self._ended:
                    logger.warning(
                        "completions are judged when all are generated, not as they finish: %s",
                        one_line(error),
                    )
                return

    def _next(self) -> list[_Item]:
        """Return all items that wait; none when the block has ended and all are judged."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            items = list(self._waiting)
            self._waiting.clear()
            return items
