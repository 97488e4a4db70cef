"""Agreement of scorers with labels."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Judgement, Score, Verdict
from guerdon.errors import DataError
from guerdon.offline.agreement import Agreement, check_labels, kappa, read_label


def judgement(value: float | None) -> Judgement:
    score = Score.skipped() if value is None else Score(value)
    return Judgement.of({"a": Verdict(score, 1.0, 0.0)})


def test_agreement_counts_labelled_rows_with_a_value() -> None:
    agreement = Agreement(["a"])
    rows = [(True, 1.0), (True, 0.5), (True, 0.0), (False, 0.0), (False, 0.9), (None, 1.0), (True, None)]
    for label, value in rows:
        agreement.add(label, judgement(value))
    (row,) = agreement.rows()
    assert row == {
        "name": "a",
        "labelled": 5,
        "no value": 1,
        "accuracy": 0.6,
        "kappa": pytest.approx(1 / 6),
        "wrongly yes": 1,
        "wrongly no": 1,
    }


def test_kappa_of_cohens_example() -> None:
    pairs = {(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15}
    assert kappa(pairs) == pytest.approx(0.4)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_kappa_is_one_for_full_agreement_and_never_above_accuracy(pairs: list[tuple[bool, bool]]) -> None:
    found = kappa(Counter(pairs))
    if found is not None:
        accuracy = sum(one is other for one, other in pairs) / len(pairs)
        assert found <= accuracy + 1e-9
        assert (accuracy == 1) == (found == pytest.approx(1))
    else:
        assert len(set(pairs)) <= 1


@pytest.mark.parametrize(
    ("value", "label"),
    [(True, True), (0, False), (0.5, True), ("no", False), ("0.7", True), ("", None), (None, None)],
)
def test_read_label(value: Any, label: bool | None) -> None:
    assert read_label("row 1", {"gold": value}, "gold") is label


@pytest.mark.parametrize("value", ["maybe", [1], "nan", float("inf")])
def test_read_label_of_something_else_is_an_error(value: Any) -> None:
    with pytest.raises(DataError, match="the label 'gold' is"):
        read_label("row 1", {"gold": value}, "gold")


def test_check_labels_without_a_label_lists_the_columns() -> None:
    with pytest.raises(DataError, match=r"'humn', .* Did you mean 'human'\? Columns: prompt, human\."):
        check_labels([("row 1", {"prompt": "p"}), ("row 2", {"human": 1})], "humn")
    with pytest.raises(DataError, match=r"'human', which --labels names\. Columns: human\."):
        check_labels([("row 1", {"human": None})], "human")
    check_labels([("row 1", {}), ("row 2", {"human": 1})], "human")
