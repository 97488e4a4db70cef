"""A sample of the pairs made by grammar: no near miss is accepted, and hardly an equal one lost."""

from __future__ import annotations

import pytest
from pair_fuzz import pairs

from guerdon_plugins.verifiers.math import compare


@pytest.mark.parametrize("seed", [101, 102])
def test_compare_pairs_made_by_grammar_has_their_truth(seed: int) -> None:
    made = list(pairs(seed, 500))
    wrong = [pair for pair in made if bool(compare(pair.answer, pair.reference)) != pair.equal]
    assert wrong == []
    assert {pair.equal for pair in made} == {True, False}
    assert len({pair.family for pair in made}) >= 18
