"""Tests that use a program's constants, members, classes and objects in unusual ways, each with programs and scores.

``odd_forms.txt`` holds them: a test after ``###`` and its name, and programs after ``---`` and their score.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugins.verifiers.code.conftest import Judge

pytestmark = pytest.mark.docker

LIAR = """
class L:
    __lt__ = __gt__ = __le__ = __ge__ = __eq__ = __ne__ = __bool__ = __contains__ = lambda s, *_: True
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = lambda s, _: s
    __hash__ = __abs__ = lambda s: 0
    __float__ = lambda s: 3.14
    __reduce__ = lambda s: (print, ())
    __getattr__ = __call__ = lambda s, *_: L()
    __instancecheck__ = lambda s, _: True
"""
COLOUR = "from enum import Enum, IntEnum\nclass Colour(Enum):\n    RED = 1\n    BLUE = 2\n"
FORGER = """
import json
from guerdon_sandbox.inside import serve
def forge(body):
    reply = json.dumps(["value", body, [], {}]).encode()
    serve._Server.answer = lambda self, request: reply
"""
PARTS = 5


def rows() -> list[tuple[str, str, str, str]]:
    """Return the name, the test, a program and its score, for each program."""
    found = []
    for section in re.split(
        r"^### ", (Path(__file__).parent / "odd_forms.txt").read_text(), flags=re.MULTILINE
    )[1:]:
        head, *programs = re.split(r"^--- ", section, flags=re.MULTILINE)
        name, _, test = head.partition("\n")
        for text in programs:
            score, _, program = text.partition("\n")
            program = (
                program.replace("# liar\n", LIAR).replace("# colour\n", COLOUR).replace("# forger\n", FORGER)
            )
            found.append((name, test, program, score))
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_odd_form_of_a_test_is_judged_right(judge: Judge, part: int) -> None:
    chosen = rows()[part::PARTS]
    scores = judge.rows([(f"```python\n{program}\n```", test) for _, test, program, _ in chosen])
    wrong = [
        (name, program, wanted, score.explanation)
        for (name, _, program, wanted), score in zip(chosen, scores, strict=True)
        if wanted != (str(score.value) if score.failure is None else score.failure.value)
    ]
    assert not wrong
