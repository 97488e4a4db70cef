"""Small Python functions to complete, in HumanEval's form: a head with a docstring, and hidden asserts.

Each is one expression. A model of a hundred million parameters solves some of them, so reinforcement has a signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

_TESTS = 6
"""The asserts of a problem, all of which must pass."""
_CONSTANTS = range(2, 21)
_LETTERS = "aeilnorst"
_WORDS = "apple river stone letter music orange silver planet tree noon level"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A family of problems. In all its texts, ``{k}`` is a number and ``{c}`` a letter."""

    parameters: str
    """The parameters in the head, which determine the tests' arguments."""
    names: tuple[str, ...]
    """Names of the function."""
    docstrings: tuple[str, ...]
    """Docstrings with the same meaning."""
    solution: str
    """The expression to return."""


_KINDS = (
    _Kind("a, b", ("add", "add_numbers"), ("Return the sum of a and b.",), "a + b"),
    _Kind("a, b", ("multiply", "product"), ("Return the product of a and b.",), "a * b"),
    _Kind("a, b", ("larger", "maximum"), ("Return the larger of a and b.",), "max(a, b)"),
    _Kind("n", ("increase", "add"), ("Return n plus {k}.", "Add {k} to n."), "n + {k}"),
    _Kind("n", ("decrease", "subtract"), ("Return n minus {k}.", "Subtract {k} from n."), "n - {k}"),
    _Kind("n", ("multiply", "times"), ("Return n times {k}.", "Multiply n by {k}."), "n * {k}"),
    _Kind("n", ("remainder", "modulo"), ("Return the remainder of n divided by {k}.",), "n % {k}"),
    _Kind("n", ("is_divisible", "divisible"), ("Return True if n is divisible by {k}.",), "n % {k} == 0"),
    _Kind("n", ("is_greater", "is_above"), ("Return True if n is greater than {k}.",), "n > {k}"),
    _Kind("n", ("is_less", "is_below"), ("Return True if n is less than {k}.",), "n < {k}"),
    _Kind("numbers", ("total", "add_all"), ("Return the sum of the numbers.",), "sum(numbers)"),
    _Kind("numbers", ("largest", "find_max"), ("Return the largest of the numbers.",), "max(numbers)"),
    _Kind("numbers", ("smallest", "find_min"), ("Return the smallest of the numbers.",), "min(numbers)"),
    _Kind("numbers", ("last", "last_number"), ("Return the last of the numbers.",), "numbers[-1]"),
    _Kind(
        "numbers",
        ("squares", "square_all"),
        ("Return the square of each number.",),
        "[n * n for n in numbers]",
    ),
    _Kind("numbers", ("add_to_all", "shift"), ("Add {k} to each number.",), "[n + {k} for n in numbers]"),
    _Kind(
        "numbers", ("scale", "multiply_all"), ("Multiply each number by {k}.",), "[n * {k} for n in numbers]"
    ),
    _Kind(
        "numbers",
        ("above", "keep_large"),
        ("Return the numbers that are greater than {k}.",),
        "[n for n in numbers if n > {k}]",
    ),
    _Kind(
        "numbers",
        ("count_above", "count_large"),
        ("Return how many numbers are greater than {k}.",),
        "sum(n > {k} for n in numbers)",
    ),
    _Kind("text", ("length", "count_characters"), ("Return the length of text.",), "len(text)"),
    _Kind("text", ("upper", "to_upper"), ("Return text in upper case.",), "text.upper()"),
    _Kind("text", ("reverse", "backwards"), ("Return text reversed.",), "text[::-1]"),
    _Kind("text", ("repeat", "repeat_text"), ("Return text repeated {k} times.",), "text * {k}"),
    _Kind(
        "text", ("prefix", "first_characters"), ("Return the first {k} characters of text.",), "text[:{k}]"
    ),
    _Kind(
        "text", ("count_words", "word_count"), ("Return the number of words in text.",), "len(text.split())"
    ),
    _Kind(
        "text",
        ("count_letter", "occurrences"),
        ("Return how many times '{c}' occurs in text.",),
        "text.count('{c}')",
    ),
    _Kind("text", ("has_letter", "contains"), ("Return True if text contains '{c}'.",), "'{c}' in text"),
    _Kind("text", ("remove", "drop_letter"), ("Remove every '{c}' from text.",), "text.replace('{c}', '')"),
)


class SmallFunctions:
    """An endless source, the same for the same seed; give the data entry a ``limit``.

    Every row has ``prompt`` (messages), ``reference`` (a row of HumanEval's form, with ``prompt``, ``entry_point``,
    ``test`` and ``canonical_solution``), ``task`` (``code``) and ``split_key``: the same for other wordings and
    function names of a problem.

    Args:
        seed: Another seed gives other rows.
    """

    endless = True

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = Random(self._seed)
        while True:
            yield _row(rng)


def _row(rng: Random) -> dict[str, Any]:
    kind = rng.choice(_KINDS)
    constant, letter = rng.choice(_CONSTANTS), rng.choice(_LETTERS)
    solution = kind.solution.format(k=constant, c=letter)
    docstring = rng.choice(kind.docstrings).format(k=constant, c=letter)
    name = rng.choice(kind.names)
    head = f'def {name}({kind.parameters}):\n    """{docstring}"""\n'
    return {
        "prompt": [{"role": "user", "content": f"Complete this function:\n\n{head}"}],
        "reference": {
            "prompt": head,
            "entry_point": name,
            "test": _test(rng, kind.parameters, solution, constant),
            "canonical_solution": f"    return {solution}\n",
        },
        "task": "code",
        "split_key": solution,
    }


def _test(rng: Random, parameters: str, solution: str, constant: int) -> str:
    """Return HumanEval's ``check``: calls with different results, so that no constant passes."""
    function = eval(f"lambda {parameters}: {solution}")  # the text comes from this file
    while True:
        calls = _calls(rng, parameters, constant)
        results = [repr(function(*arguments)) for arguments in calls]
        if len(set(results)) > 1:
            break
    lines = [
        f"    assert candidate({', '.join(map(repr, arguments))}) == {result}\n"
        for arguments, result in zip(calls, results, strict=True)
    ]
    return f"def check(candidate):\n{''.join(lines)}"


def _calls(rng: Random, parameters: str, constant: int) -> list[list[Any]]:
    """Return arguments for each test. Numbers include the constant, where "greater" and "not less" differ."""
    if parameters == "text":
        return [[" ".join(rng.sample(_WORDS.split(), rng.randint(1, 4)))] for _ in range(_TESTS)]
    if parameters == "numbers":
        return [[_shuffled(rng, [constant, *_numbers(rng, rng.randint(1, 5))])] for _ in range(_TESTS)]
    if parameters == "n":
        near = [constant - 1, constant, constant + 1, 2 * constant]
        return [[n] for n in near + _numbers(rng, _TESTS - len(near))]
    return [_numbers(rng, 2) for _ in range(_TESTS)]


def _numbers(rng: Random, count: int) -> list[int]:
    return rng.sample(range(-30, 31), count)


def _shuffled(rng: Random, items: list[int]) -> list[int]:
    return rng.sample(items, len(items))
