"""Programs behave in a box as they do under a python of their own, and every limit holds."""

from __future__ import annotations

import pytest

from guerdon_sandbox import Limit, Limits, Program, ProgramResult, SyncSandbox

pytestmark = pytest.mark.docker


def run(sandbox: SyncSandbox, source: str, **options: object) -> ProgramResult:
    return sandbox.run(Program(source=source, **options))  # type: ignore[arg-type]


def test_input_arguments_environment_and_outputs(sandbox: SyncSandbox) -> None:
    source = "import os, sys\nprint(input(), sys.argv[1:], os.environ['X'])\nprint('oops', file=sys.stderr)"
    result = run(sandbox, source, stdin="größe\n".encode(), argv=["a", "b"], env={"X": "1"})
    assert result.ok
    assert result.stdout.decode() == "größe ['a', 'b'] 1\n"
    assert result.stderr == b"oops\n"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('why')", 1),
        ("import os; os._exit(3)", 3),
        ("1 / 0", 1),
        ("this is no python", 1),
        ("import atexit; atexit.register(print, 'late')", 0),
    ],
)
def test_exit_codes_are_pythons(sandbox: SyncSandbox, source: str, code: int) -> None:
    assert run(sandbox, source).exit_code == code


def test_tracebacks_show_the_programs_lines_only(sandbox: SyncSandbox) -> None:
    stderr = run(sandbox, "def f():\n    return 1 / 0\nf()\n").stderr.decode()
    assert stderr.startswith("Traceback")
    assert "    return 1 / 0" in stderr
    assert stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "guerdon" not in stderr


def test_a_program_is_main_and_joins_its_threads(sandbox: SyncSandbox) -> None:
    source = (
        "import threading, time, __main__\n"
        "assert __name__ == '__main__' and __main__.x == 1 if hasattr(__main__, 'x') else True\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('joined'))).start()\nprint('end')"
    )
    assert run(sandbox, source).stdout == b"end\njoined\n"


def test_input_through_every_door(sandbox: SyncSandbox) -> None:
    for source in (
        "import sys; print(sum(map(int, sys.stdin)))",
        "import sys; print(sum(map(int, sys.stdin.buffer.read().split())))",
        "print(sum(map(int, open(0))))",
        "print(sum(map(int, open('/dev/stdin'))))",
        "import os; print(sum(map(int, os.read(0, 99).split())))",
    ):
        assert run(sandbox, source, stdin=b"1\n2\n3\n").stdout == b"6\n", source


@pytest.mark.parametrize(
    "source",
    [
        "open('/dev/stdout', 'w').write('out'); open('/dev/stderr', 'w').write('err')",
        "import os; os.system('printf out > /dev/stdout; printf err > /dev/stderr')",
    ],
)
def test_output_through_the_device_files(sandbox: SyncSandbox, source: str) -> None:
    result = run(sandbox, source)
    assert (result.stdout, result.stderr) == (b"out", b"err")


def test_output_cannot_be_read_back(sandbox: SyncSandbox) -> None:
    result = run(sandbox, "open('/dev/stdout').read()")
    assert b"PermissionError" in result.stderr


def test_files_go_in_and_come_back(sandbox: SyncSandbox) -> None:
    source = (
        "import helper, os, pathlib\nassert open('data/in.txt').read() == 'in'\n"
        "pathlib.Path('out.txt').write_text(helper.word)\nos.symlink('/etc/passwd', 'link')\nos.mkdir('folder')"
    )
    files = {"helper.py": b"word = 'out'", "data/in.txt": b"in"}
    result = run(sandbox, source, files=files, collect=["out.txt", "link", "folder", "missing"])
    assert result.ok, result.stderr
    assert result.files == {"out.txt": b"out"}


def test_a_command_in_place_of_a_source(sandbox: SyncSandbox) -> None:
    script = Program(
        command=["./go", "x"], files={"go": b"#!/bin/sh\necho $1"}, executables=frozenset({"go"})
    )
    assert sandbox.run(script).stdout == b"x\n"
    assert sandbox.run(Program(command=["no-such-program"])).exit_code == 127


def test_large_input_and_output(sandbox: SyncSandbox) -> None:
    data = bytes(range(256)) * (1 << 15)
    source = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
    result = run(sandbox, source, stdin=data, limits=Limits(stdout_bytes=len(data)))
    assert result.stdout == data[::-1]
    assert not result.truncated


def test_libraries_of_the_image_import(sandbox: SyncSandbox) -> None:
    assert run(sandbox, "import numpy; print(numpy.arange(4).sum())").stdout == b"6\n"


@pytest.mark.parametrize(
    ("source", "limit"),
    [
        ("while True: pass", Limit.CPU),
        ("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", Limit.CPU),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", Limit.MEMORY),
        ("import sys\nwhile True: sys.stdout.write('x' * 99999)", Limit.OUTPUT),
        # What goes to stderr beyond its limit is dropped.
        ("import sys\nwhile True: sys.stderr.write('x' * 99999)", Limit.CPU),
    ],
)
def test_the_limit_that_ended_a_program_is_named(sandbox: SyncSandbox, source: str, limit: Limit) -> None:
    result = run(sandbox, source, limits=Limits(cpu_s=1, wall_s=30.0, memory_bytes=64 << 20))
    assert result.limit is limit
    assert not result.ok


def test_a_program_that_sleeps_is_ended_by_wall_time(sandbox: SyncSandbox) -> None:
    result = run(sandbox, "import time; time.sleep(60)", limits=Limits(wall_s=1.0))
    assert result.limit is Limit.WALL
    assert result.cpu_s < 1


def test_output_is_cut_at_its_limit_and_kept_up_to_it(sandbox: SyncSandbox) -> None:
    result = run(sandbox, "print('x' * 5000)", limits=Limits(stdout_bytes=1000))
    assert result.stdout == b"x" * 1000
    assert result.truncated == {"stdout"}


def test_a_file_and_the_processes_are_limited(sandbox: SyncSandbox) -> None:
    big = "open('f', 'wb').write(b'x' * (1 << 20))"
    assert b"File too large" in run(sandbox, big, limits=Limits(file_bytes=1000)).stderr
    many = """
import os, time
started = 0
try:
    while os.fork():
        started += 1
    time.sleep(9)
except OSError:
    print(started)
"""
    assert run(sandbox, many, limits=Limits(processes=5)).stdout == b"4\n"


def test_what_a_program_used_is_measured(sandbox: SyncSandbox) -> None:
    busy = run(sandbox, "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass")
    assert 0.2 <= busy.cpu_s < 1
    assert busy.wall_s >= 0.2
    large = run(sandbox, "x = bytearray(50 << 20)")
    assert large.peak_memory_bytes > 50 << 20
    assert (
        run(sandbox, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").ending == "killed by SIGSEGV"
    )


def test_only_programs_that_name_numpy_start_with_it(sandbox: SyncSandbox) -> None:
    source = "import sys\nprint({} in sys.modules)"
    assert run(sandbox, source.format("'numpy'")).stdout == b"True\n"
    assert run(sandbox, source.format("'num' + 'py'")).stdout == b"False\n"
