"""A program finds the streams that ``python main.py`` has, and what it wrote arrives, whatever buffer it lies in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from guerdon_sandbox import Limits, Program, SyncSandbox

pytestmark = pytest.mark.docker

DESCRIBE = """
import sys
for stream in (sys.stdin, sys.stdout, sys.stderr):
    for part in (stream, stream.buffer, stream.buffer.raw):
        for name in sorted(dir(part)):
            try:
                value = getattr(part, name)
            except Exception as error:
                value = type(error).__name__
            if callable(value):
                value = type(value).__name__
            if name in ("__dict__", "__doc__") or " at 0x" in repr(value):
                value = type(value).__name__
            print(type(part).__name__, name, value)
    print(stream is getattr(sys, "__" + stream.name.strip("<>") + "__"))
"""

FAST_IO = {
    "an object over os.read with the stream's mode": """
import os, sys
from io import BytesIO, IOBase
class FastIO(IOBase):
    newlines = 0
    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None
    def readline(self):
        while self.newlines == 0:
            b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
            self.newlines = b.count(b"\\n") + (not b)
            ptr = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
        self.newlines -= 1
        return self.buffer.readline()
    def flush(self):
        if self.writable:
            os.write(self._fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
class Wrapper(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush = self.buffer.flush
        self.writable = self.buffer.writable
        self.write = lambda s: self.buffer.write(s.encode("ascii"))
        self.readline = lambda: self.buffer.readline().decode("ascii")
sys.stdin, sys.stdout = Wrapper(sys.stdin), Wrapper(sys.stdout)
input = lambda: sys.stdin.readline().rstrip("\\r\\n")
print(int(input()) + int(input()))
""",
    "a map of stdin": """
import mmap, sys
data = mmap.mmap(0, 0, prot=mmap.PROT_READ)
print(sum(map(int, bytes(data).split())))
""",
    "a reader of the raw stream and a writer at the exit": """
import atexit, io, os, sys
data = io.BytesIO(os.read(0, os.fstat(0).st_size))
out = io.BytesIO()
atexit.register(lambda: os.write(1, out.getvalue()))
sys.stdout = io.TextIOWrapper(out, write_through=True)
print(sum(int(line) for line in data))
""",
    "readlines of open(0)": "print(sum(map(int, open(0).readlines())))",
    "the stream without its wrapper": "import sys\nprint(sum(map(int, sys.stdin.detach().read().split())))",
    "a new wrapper": (
        "import io, sys\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer, newline=None)\n"
        "print(sum(map(int, sys.stdin.read().split())))"
    ),
}

AT_THE_END = {
    "a saved stdout": "import io, sys\nold = sys.stdout\nsys.stdout = io.StringIO()\nold.write('x')",
    "a writer of one's own": "import os\nout = os.fdopen(1, 'w')\nout.write('x')",
    "a writer without closefd": "out = open(1, 'w', closefd=False)\nout.write('x')",
    "a binary writer": "out = open(1, 'wb')\nout.write(b'x')",
    "a writer on a copy": "import os\nout = os.fdopen(os.dup(1), 'w')\nout.write('x')",
    "a writer in an object": (
        "import os\nclass Out:\n    def __init__(self): self.file = os.fdopen(os.dup(1), 'w')\n"
        "out = Out()\nout.file.write('x')"
    ),
    "a writer in a circle": (
        "import os\nclass Out: pass\nout = Out()\nout.self = out\nout.file = os.fdopen(os.dup(1), 'w')\n"
        "out.file.write('x')"
    ),
    "atexit's order": "import atexit\natexit.register(print, 'first')\natexit.register(print, 'second')\nprint('now')",
    "an exit in the middle": "import sys\nold = sys.stdout\nsys.stdout = None\nold.write('x')\nsys.exit(3)",
    "a finalizer": "class Last:\n    def __del__(self): print('bye')\nlast = Last()\nprint('now')",
    "an exception": "import os\nout = os.fdopen(os.dup(1), 'w')\nout.write('x')\n1 / 0",
    "stdout closed": "import os, sys\nsys.stdout.write('x')\nsys.stdout.close()",
    "a thread that writes late": (
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()"
    ),
}


def native(source: str, stdin: bytes, folder: Path) -> tuple[int, bytes]:
    """What a Python of its own writes for the program, run like a job."""
    file = folder / "main.py"
    file.write_text(source)
    given = folder / "stdin"
    given.write_bytes(stdin)
    with given.open("rb") as stream:
        ran = subprocess.run(
            [sys.executable, "main.py"],
            stdin=stream,
            capture_output=True,
            cwd=folder,
            env={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        )
    return ran.returncode, ran.stdout


def test_streams_have_the_attributes_of_a_new_python(sandbox: SyncSandbox) -> None:
    same_python = sandbox.run(Program(command=["python3", "main.py"], files={"main.py": DESCRIBE.encode()}))
    assert sandbox.run(Program(source=DESCRIBE)).stdout.decode() == same_python.stdout.decode()


@pytest.mark.parametrize("template", FAST_IO)
def test_template_for_fast_input_reads_everything(sandbox: SyncSandbox, template: str) -> None:
    result = sandbox.run(Program(source=FAST_IO[template], stdin=b"2\n3\n"))
    assert (result.exit_code, result.stdout) == (0, b"5\n"), result.stderr


@pytest.mark.parametrize("program", AT_THE_END)
def test_output_at_the_end_is_a_new_pythons(sandbox: SyncSandbox, program: str, tmp_path: Path) -> None:
    result = sandbox.run(Program(source=AT_THE_END[program]))
    assert (result.exit_code, result.stdout) == native(AT_THE_END[program], b"", tmp_path)


@pytest.mark.parametrize("line", [b"a\r\n", b"\xff\n", "ä\n".encode(), b"", b"no end"])
def test_input_is_decoded_as_by_a_new_python(sandbox: SyncSandbox, line: bytes, tmp_path: Path) -> None:
    source = "import sys\nprint(ascii(sys.stdin.read()))"
    assert (0, sandbox.run(Program(source=source, stdin=line)).stdout) == native(source, line, tmp_path)


@pytest.mark.parametrize("size", [1 << 16, 1 << 26, 1 << 28, 1 << 29, (1 << 29) + 4096])
def test_thread_with_a_large_stack_starts(sandbox: SyncSandbox, size: int) -> None:
    source = (
        f"import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size({size})\n"
        "def depth(n): return n and 1 + depth(n - 1)\n"
        "thread = threading.Thread(target=lambda: print(depth(20_000)))\nthread.start()\nthread.join()"
    )
    assert sandbox.run(Program(source=source, limits=Limits(cpu_s=5))).stdout == b"20000\n"


def test_stack_size_that_is_not_one_is_refused(sandbox: SyncSandbox) -> None:
    source = "import threading\ntry: threading.stack_size(17)\nexcept ValueError: print('refused')"
    assert sandbox.run(Program(source=source)).stdout == b"refused\n"


def test_syntax_error_shows_the_program_only(sandbox: SyncSandbox) -> None:
    stderr = sandbox.run(Program(source="def f(:\n")).stderr
    assert b"SyntaxError" in stderr
    assert b"guerdon" not in stderr
