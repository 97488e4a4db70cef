"""The rows of ``small_functions`` in the sandbox: the function bare, its body, fenced, another function, prose."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from guerdon_plugins.sources.miniature.small_functions import SmallFunctions
from guerdon_plugins.verifiers.code import CodeVerifier


@pytest.mark.docker
def test_the_code_verifier_judges_small_functions() -> None:
    async def values() -> list[tuple[float | None, ...]]:
        verifier = CodeVerifier(bare=True, cpu_s=2)
        judged = []
        for row in islice(SmallFunctions(), 30):
            reference = row["reference"]
            whole = reference["prompt"] + reference["canonical_solution"]
            completions = (
                whole,
                reference["canonical_solution"],
                f"<think>Easy.</think>\n{reference['canonical_solution']}",
                f"```python\n{whole}```\nIt returns what is asked for.",
                whole.replace(f"def {reference['entry_point']}", "def other"),
                "You can use a list comprehension:",
            )
            scores = await asyncio.gather(
                *(verifier(completion, reference=reference) for completion in completions)
            )
            judged.append(tuple(score.value for score in scores))
        await verifier.aclose()
        return judged

    assert set(asyncio.run(values())) == {(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)}
