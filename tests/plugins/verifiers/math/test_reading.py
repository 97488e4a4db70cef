"""How answers are read, kind by kind: pairs that say the same and near misses, judged by the verifier both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon_plugins.verifiers.math import MathVerifier

VERIFIER = MathVerifier()


def pairs(name: str) -> list[tuple[str, str]]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    found = [
        (left, right) for line in lines if not line.startswith("# ") for left, right in [line.split("  ~  ")]
    ]
    assert found, name
    return found


def value(reference: str, answer: str) -> float | None:
    return VERIFIER(f"so $\\boxed{{{answer}}}$.", reference).value


@pytest.mark.parametrize("name", ["reading_same.txt", "fresh_same.txt"])
def test_reading_of_the_same_in_another_form_is_correct(name: str) -> None:
    """One test for a file: pytest takes longer for a case of its own than the verifier for a pair."""
    wrong = [
        (reference, answer, found)
        for reference, answer in pairs(name)
        if (found := (value(reference, answer), value(answer, answer))) != (1.0, 1.0)
    ]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("name", ["reading_different.txt", "fresh_different.txt"])
def test_reading_of_a_near_miss_is_incorrect(name: str) -> None:
    wrong = [
        (reference, answer, (given, turned))
        for reference, answer in pairs(name)
        for given, turned in [(value(reference, answer), value(answer, reference))]
        if given != 0.0 or turned == 1.0
    ]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"25^\circ", r"25^\circ C"),
        ("(1)见解析;(2)3", "(1)3"),
        ("(1)略;(2)4", "(1)4"),
        ("16/35; 12/7", "12/7, 16/35"),
        ("2, 3", "[2, 3]"),
        ("123", r"(1\ 2\ 3)"),
        ("36", r"\begin{pmatrix}9\\7\end{pmatrix}"),
        (r"\frac{1}{12}", r"\frac{1}{12}\approx 0.3"),
    ],
)
def test_reading_of_what_only_the_reference_tells_apart_is_incorrect(reference: str, answer: str) -> None:
    assert value(reference, answer) == 0.0


@pytest.mark.parametrize("answer", ["无解", r"\emptyset", r"\text{no solution}"])
@pytest.mark.parametrize("reference", ["无实数解", r"\text{no real solutions}"])
def test_no_solution_where_the_reference_counts_real_ones_is_correct(reference: str, answer: str) -> None:
    assert value(reference, answer) == 1.0
    assert value(answer, reference) == 0.0


@pytest.mark.parametrize(
    "code", [0xAD, 0x200B, 0x200E, 0x200F, 0x202A, 0x202C, 0x2066, 0x2069, 0xFE0F, 0xFEFF]
)
def test_invisible_characters_say_nothing(code: int) -> None:
    mark = chr(code)
    assert value("12", f"{mark}1{mark}2{mark}") == value(f"{mark}12", "12") == 1.0
    assert value("12", f"1{mark}3") == 0.0


@pytest.mark.parametrize("code", [0xA0, 0x2002, 0x2005, 0x2009, 0x202F, 0x205F, 0x3000])
def test_each_kind_of_space_is_a_space(code: int) -> None:
    assert value("5 cm", f"5{chr(code)}cm") == 1.0
