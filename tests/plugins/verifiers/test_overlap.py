"""Overlap with reference texts, beside sacrebleu, rouge-score and jiwer."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon.errors import MissingDependencyError
from guerdon_plugins.verifiers.overlap import Overlap

METRICS = ["chrf", "chrf++", "bleu", "rouge_l", "wer", "cer"]
WORDS = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "dog", "ran"]), min_size=1, max_size=9
).map(" ".join)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "text", ["The cat sat on the mat today.", "图书馆早上九点开门。", "Библиотека открывается в девять утра."]
)
def test_overlap_reference_itself_scores_1_and_another_text_less(metric: Any, text: str) -> None:
    verifier = Overlap(metric)
    assert verifier(f"<think>hm</think>{text}", text).value == pytest.approx(1.0)
    assert verifier(text, ["Something else entirely here", text]).value == pytest.approx(1.0)
    other = verifier("xyz qqq", text).value
    assert other is not None
    assert other < 0.2
    assert verifier("", text).value == 0.0
    assert verifier(f"{text} " * 4 + "x" * 30, text).value == 0.0
    assert verifier(verifier.gold_completion([text, "x"]) or "", text).value == pytest.approx(1.0)


@pytest.mark.parametrize("reference", ["", None, [], {}, "n/a", "x" * 30_000])
def test_overlap_unreadable_reference_fails(reference: Any) -> None:
    assert Overlap()("x", reference).failure is Failure.REFERENCE
    assert Overlap().gold_completion(reference) is None


@given(WORDS, WORDS)
def test_overlap_bleu_and_chrf_agree_with_sacrebleu(ours: str, theirs: str) -> None:
    import sacrebleu

    for metric, expected in (
        ("chrf", sacrebleu.sentence_chrf(ours, [theirs]).score),
        ("chrf++", sacrebleu.sentence_chrf(ours, [theirs], word_order=2).score),
        ("bleu", sacrebleu.sentence_bleu(ours, [theirs]).score),
    ):
        assert Overlap(metric, max_ratio=50)(ours, theirs).value == pytest.approx(min(expected / 100, 1.0))  # type: ignore[arg-type]


@given(WORDS, WORDS)
def test_overlap_rouge_l_agrees_with_rouge_score(ours: str, theirs: str) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    expected = scorer.score(theirs, ours)["rougeL"].fmeasure
    assert Overlap("rouge_l", max_ratio=50)(ours, theirs).value == pytest.approx(expected)


@given(WORDS, WORDS)
def test_overlap_error_rates_agree_with_jiwer(ours: str, theirs: str) -> None:
    jiwer = pytest.importorskip("jiwer")
    assert Overlap("wer", max_ratio=50)(ours, theirs).value == pytest.approx(
        max(0, 1 - jiwer.wer(theirs, ours))
    )


def test_overlap_case_and_punctuation_count_if_asked() -> None:
    assert Overlap("wer")("hello world", "Hello, world!").value == 0.5
    assert Overlap("wer", lowercase=True)("hello world", "Hello, world!").value == 1.0
    assert Overlap("wer", lowercase=True, punctuation=True)("hello world", "Hello, world!").value == 0.5


@pytest.mark.parametrize(("module", "metric"), [("sacrebleu.metrics.bleu", "chrf"), ("rapidfuzz", "wer")])
def test_overlap_without_its_library_names_the_extra(
    module: str, metric: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingDependencyError, match=rf"{module.partition('.')[0]}.*pip install 'guerdon\[overlap\]'"
    ):
        Overlap(metric)


def test_overlap_ratio_below_1_raises() -> None:
    with pytest.raises(ValueError, match="max_ratio"):
        Overlap(max_ratio=0.5)


@given(st.text(max_size=100), st.sampled_from(METRICS))
def test_overlap_any_text_gets_a_share(text: str, metric: Any) -> None:
    value = Overlap(metric)(text, "The cat sat on the mat.").value
    assert value is not None
    assert 0 <= value <= 1
