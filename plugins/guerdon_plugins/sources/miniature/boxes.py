"""Problems for a miniature agent: open a box with a tool, then calculate with the number in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any, Literal

from guerdon_plugins.tools.boxes import LARGEST, SMALLEST, number_in

Kind = Literal["problems", "pages"]

_ADDENDS = [number for number in range(-9, 10) if number != 0]

_QUESTIONS = (
    "What is box {box} {sign} {size}?",
    "Open box {box}, then {verb} {size}.",
    "Box {box} holds a number. {Verb} {size}.",
)

# The authors of the pages: half of them guess, and a third open the right box and calculate rightly.
_SHARE_OF_GUESSES = 0.5
_SHARE_OF_WRONG_BOXES = 0.1
_SHARE_OF_WRONG_SUMS = 0.2
_SHARE_OF_TORN_CALLS = 0.1


class Boxes:
    """An endless source, the same for the same params; give the data entry a ``limit``.

    Every row has ``prompt`` (messages) and ``split_key`` (the box). Problems have ``reference``, ``task`` and ``box``;
    pages have ``completion`` (messages): replies of all qualities, most of them wrong.

    Args:
        kind: ``problems`` to be solved with the tool ``open_box``, or ``pages``: problems with careless replies.
        seed: Another seed gives other rows.
    """

    endless = True

    def __init__(self, kind: Kind = "problems", seed: int = 0) -> None:
        self._kind = kind
        self._seed = f"{seed}/{kind}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = Random(self._seed)
        while True:
            box, addend = _box(rng), rng.choice(_ADDENDS)
            row: dict[str, Any] = {"prompt": [{"role": "user", "content": _question(rng, box, addend)}]}
            row["split_key"] = box
            if self._kind == "problems":
                row |= {"reference": str(number_in(box) + addend), "task": "boxes", "box": box}
            else:
                row["completion"] = _page(rng, box, addend)
            yield row


def _box(rng: Random) -> str:
    return f"{rng.randint(10, 99)}-{rng.randint(10, 99)}"


def _question(rng: Random, box: str, addend: int) -> str:
    verb = "add" if addend > 0 else "take away"
    return rng.choice(_QUESTIONS).format(
        box=box,
        sign="plus" if addend > 0 else "minus",
        size=abs(addend),
        verb=verb,
        Verb=verb.capitalize(),
    )


def _page(rng: Random, box: str, addend: int) -> list[dict[str, Any]]:
    """Return a reply of mixed quality."""
    if rng.random() < _SHARE_OF_GUESSES:
        return [_answer(rng.randint(SMALLEST, LARGEST), addend, 0)]
    if rng.random() < _SHARE_OF_TORN_CALLS:
        torn = json.dumps({"name": "open_box", "arguments": {"box": box}})[: rng.randint(5, 30)]
        return [{"role": "assistant", "content": f"<tool_call>{torn}</tool_call>"}]
    opened = _box(rng) if rng.random() < _SHARE_OF_WRONG_BOXES else box
    number = number_in(opened)
    slip = rng.choice((-10, -2, -1, 1, 2, 10)) if rng.random() < _SHARE_OF_WRONG_SUMS else 0
    call = {"type": "function", "function": {"name": "open_box", "arguments": {"box": opened}}}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "open_box", "content": str(number)},
        _answer(number, addend, slip),
    ]


def _answer(number: int, addend: int, slip: int) -> dict[str, Any]:
    sign = "plus" if addend > 0 else "minus"
    result = max(0, number + addend + slip)
    text = f"{number} {sign} {abs(addend)} is {result}. The answer is \\boxed{{{result}}}."
    return {"role": "assistant", "content": text}
