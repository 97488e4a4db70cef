"""The rows of ``small_functions`` in the sandbox: the function bare, its body, fenced, another function, prose."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from guerdon_plugins.sources.miniature.small_functions import SmallFunctions

if TYPE_CHECKING:
    from tests.plugins.verifiers.code.conftest import Judge


@pytest.mark.docker
def test_the_code_verifier_judges_small_functions(judge: Judge) -> None:
    rows = []
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
        rows += [(completion, reference) for completion in completions]
    scores = judge.rows(rows, bare=True, cpu_s=2)
    assert [score.value for score in scores] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0] * 30
