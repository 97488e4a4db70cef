"""What one process raises is raised in all, in its own words."""

from __future__ import annotations

import textwrap

import pytest
from warm_python import WarmPython

from guerdon.errors import FailureBudgetError
from guerdon.training.together import raised_in_all

SCRIPT = textwrap.dedent(
    """
    import os, sys

    class Own(Exception):
        def __init__(self, a, b):  # cannot be pickled: it takes two, and has one
            super().__init__(a)

    from accelerate import PartialState
    from guerdon.errors import FailureBudgetError
    from guerdon.training.together import raised_in_all

    rank = int(os.environ["RANK"])
    PartialState(cpu=True)
    error = {"own": Own("a word", 2), "value": ValueError("a word"),
             "budget": FailureBudgetError("a word"), "none": None}[sys.argv[1]]
    try:
        with raised_in_all():
            if rank == 1 and error is not None:
                raise error
    except Exception as raised:
        print(type(raised).__name__, raised)
    else:
        print("nothing")
    """
)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("own", ["StageFailedError process 1 raised Own: a word", "Own a word"]),
        ("value", ["StageFailedError process 1 raised ValueError: a word", "ValueError a word"]),
        ("budget", ["FailureBudgetError a word", "FailureBudgetError a word"]),
        ("none", ["nothing", "nothing"]),
    ],
)
def test_raised_in_all_raises_an_error_of_any_class_in_both_processes(
    kind: str, lines: list[str], warm_python: WarmPython
) -> None:
    ranks = warm_python.launch(2, "-c", SCRIPT, kind)
    assert [rank.returncode for rank in ranks] == [0, 0], ranks[0].stderr[-2000:]
    assert [rank.stdout.rstrip("\n") for rank in ranks] == lines


def test_raised_in_all_in_one_process_raises_the_error_itself() -> None:
    error = FailureBudgetError("a word")
    with pytest.raises(FailureBudgetError) as raised, raised_in_all():
        raise error
    assert raised.value is error
