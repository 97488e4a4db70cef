"""The verifier ``my_plugin``."""

from __future__ import annotations

from guerdon import Failure, Score


class MyPlugin:
    """1 if the last line of the completion is the reference, else 0.

    Args:
        ignore_case: Whether capital and small letters are the same.
    """

    def __init__(self, ignore_case: bool = True) -> None:
        self._ignore_case = ignore_case

    def __call__(self, completion: str, reference: str | None) -> Score:
        if reference is None or not reference.strip():
            return Score.failed(Failure.REFERENCE, "the reference is empty")
        answer = completion.strip().rpartition("\n")[2]
        if self._plain(answer) == self._plain(reference):
            return Score(1.0, answer=answer)
        return Score(0.0, answer=answer[:200], explanation=f"the last line is not {reference!r}")

    def gold_completion(self, reference: str) -> str:
        """Return a completion that scores 1. ``guerdon check`` uses it to check the references of a data set."""
        return reference

    def _plain(self, text: str) -> str:
        return text.strip().casefold() if self._ignore_case else text.strip()
