"""Formulas are read without running them, and only those that are cheap and plain."""

from __future__ import annotations

import pytest

from guerdon_plugins.shared.formulas import formula, integers, is_arithmetic, value_of


@pytest.mark.parametrize(
    "text", ["x", "-4*(-2*x - 8)**(3/2)/3 + C", "(x**2 + 1)**2", "sin(2*x)", " 1.5*exp(x) ", "10*(8 - 5) - 6"]
)
def test_formulas_are_read(text: str) -> None:
    assert formula(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "exec(x)",
            "(exec)(x)",
            "ｅxec(x)",
            "x(1)",
            "x.y",
            "x[0]",
            "sin(*x)",
            "sin(x=1)",
            "'a'",
            "f'{x}'",
            "1j",
        ),
        *(
            "x if y else z",
            "lambda: x",
            "[x]",
            "x, y",
            "x < y",
            "True",
            "x\nexec(1)",
            "1 # 2",
            "0x18",
            "1_0",
            "1e3",
        ),
        *(
            "9**9**9**9",
            "((9**9)**9)**9",
            "9**101",
            "(" * 900 + "1" + ")" * 900,
            "1+" * 1000 + "1",
            "٣",
            "24 = 4*6",
        ),
    ],
)
def test_other_texts_are_not_formulas(text: str) -> None:
    assert formula(text) is None


@pytest.mark.parametrize("text", ["x", "2**3", "1.5", "5//2", "1/(2 - 2)", "-" * 1900 + "1", "sqrt(4)"])
def test_other_formulas_are_not_arithmetic(text: str) -> None:
    tree = formula(text)
    assert tree is None or not is_arithmetic(tree)


def test_arithmetic_has_an_exact_value_and_its_numbers() -> None:
    tree = formula("-(9*5 + +4)/2 - 3")
    assert tree is not None
    assert is_arithmetic(tree)
    assert value_of(tree) == -27.5
    assert sorted(integers(tree)) == [2, 3, 4, 5, 9]
