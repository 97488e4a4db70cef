"""What one process raises is raised in all, in its own words."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from guerdon.errors import FailureBudgetError
from guerdon.training.together import raised_in_all

SCRIPT = textwrap.dedent(
    """
    import multiprocessing, os, socket, sys

    class Own(Exception):
        def __init__(self, a, b):  # cannot be pickled: it takes two, and has one
            super().__init__(a)

    def say(line):
        os.write(1, f"{line}\\n".encode())  # one write: `print` writes the end of the line apart

    def run(rank, port, kind):
        os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port), WORLD_SIZE="2")
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        from accelerate import PartialState
        from guerdon.errors import FailureBudgetError
        from guerdon.training.together import raised_in_all
        PartialState(cpu=True)
        error = {"own": Own("a word", 2), "value": ValueError("a word"),
                 "budget": FailureBudgetError("a word"), "none": None}[kind]
        try:
            with raised_in_all():
                if rank == 1 and error is not None:
                    raise error
        except Exception as raised:
            say(f"{rank} {type(raised).__name__} {raised}")
        else:
            say(f"{rank} nothing")

    if __name__ == "__main__":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        children = [fork.Process(target=run, args=(rank, port, sys.argv[1])) for rank in range(2)]
        for child in children: child.start()
        for child in children: child.join(100)
        sys.exit(any(child.exitcode for child in children))
    """
)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("own", ["0 StageFailedError process 1 raised Own: a word", "1 Own a word"]),
        ("value", ["0 StageFailedError process 1 raised ValueError: a word", "1 ValueError a word"]),
        ("budget", ["0 FailureBudgetError a word", "1 FailureBudgetError a word"]),
        ("none", ["0 nothing", "1 nothing"]),
    ],
)
def test_raised_in_all_raises_an_error_of_any_class_in_both_processes(kind: str, lines: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, kind], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(done.stdout.splitlines()) == lines


def test_raised_in_all_in_one_process_raises_the_error_itself() -> None:
    error = FailureBudgetError("a word")
    with pytest.raises(FailureBudgetError) as raised, raised_in_all():
        raise error
    assert raised.value is error
