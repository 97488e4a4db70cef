"""Verifiers whose boxes all tests of this folder share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from guerdon import Score
from guerdon_plugins.verifiers.code import CodeVerifier, verifier
from guerdon_sandbox import Sandbox


class Judge:
    """Verifiers in one event loop, as in a worker of the engine.

    A box takes most of the CPU time of a test, so verifiers that need the same boxes share a sandbox.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._verifiers: dict[str, CodeVerifier] = {}
        self._sandboxes: dict[str, Sandbox] = {}

    def __call__(
        self, programs: list[str], reference: Any, *, fence: str = "python", **params: Any
    ) -> list[Score]:
        """Return the programs' scores, judged at once."""
        completions = [f"<think>so</think>\n```{fence}\n{program.rstrip()}\n```" for program in programs]
        return self.completions(completions, reference, **params)

    def completions(self, completions: list[str], reference: Any, **params: Any) -> list[Score]:
        """Return the completions' scores, judged at once."""
        return self.rows([(completion, reference) for completion in completions], **params)

    def rows(self, rows: list[tuple[str, Any]], **params: Any) -> list[Score]:
        """Return the scores of completions, each with its reference, judged at once."""

        async def judge() -> list[Score]:
            calls: list[Awaitable[Score]] = [
                judging(completion, reference=reference) for completion, reference in rows
            ]
            return list(await asyncio.gather(*calls))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verifier, "Sandbox", self._sandbox)
            judging = self._verifiers.setdefault(
                repr(params), CodeVerifier(**{"cpu_s": 1, "wall_s": 15.0, "boxes": 2, **params})
            )
            return self._runner.run(judge())

    def _sandbox(self, **options: Any) -> Sandbox:
        """Return the sandbox with these options."""
        return self._sandboxes.setdefault(repr(options), Sandbox(**options))

    def close(self) -> None:
        for sandbox in self._sandboxes.values():
            self._runner.run(sandbox.aclose())
        self._runner.close()


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()


@pytest.fixture
def score(judge: Judge) -> Callable[..., Score]:
    """Judges one program."""

    def score(program: str, reference: Any, **params: Any) -> Score:
        return judge([program], reference, **params)[0]

    return score
