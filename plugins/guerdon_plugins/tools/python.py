"""A Python session in the sandbox: what one call defines, the next can use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guerdon.errors import InfrastructureError
from guerdon_sandbox import Limits, Program, SandboxError, SyncSandbox

_RUNNER = """
import ast, contextlib, io, json, os, random, sys, traceback
cells = json.load(open("cells.json"))
os.unlink("cells.json")
random.seed(0)
space = {"__name__": "__main__"}

def run(source):
    tree = ast.parse(source, "<cell>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), space)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
        if value is not None:
            print(repr(value))

for cell in cells[:-1]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(BaseException):
        run(cell)
try:
    run(cells[-1])
except BaseException as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"line {frame.lineno}" for frame in frames if frame.filename == "<cell>"]
    print(f"{type(error).__name__}: {error}" + (f" ({lines[-1]})" if lines else ""))
"""


class PythonSession:
    """Runs Python in the sandbox, without a network. A call sees what the rollout's earlier calls defined.

    The state is made again in each call, by running the earlier calls without their output. A call that was stopped, by
    a limit or an exit, leaves nothing. So it needs no process for
    each rollout, survives the loss of a worker, and is the same in a resumed run.

    Args:
        cpu_s: CPU seconds of a call, the earlier ones included.
        memory_mb: Memory in MB.

    Raises:
        ValueError: A param is below 1.
    """

    max_workers = 2
    timeout_s = 60.0
    setup_timeout_s = 120.0

    def __init__(self, cpu_s: int = 10, memory_mb: int = 256) -> None:
        for name, value in (("cpu_s", cpu_s), ("memory_mb", memory_mb)):
            if value < 1:
                raise ValueError(f"{name} is {value}: give 1 or more.")
        self._limits = Limits(cpu_s=cpu_s, memory_bytes=memory_mb << 20, stdout_bytes=64 << 10)
        self._sandbox = SyncSandbox()

    def preflight(self) -> None:
        """Check that a sandbox can be opened."""
        with SyncSandbox() as sandbox:
            self._run(sandbox, ["1"])

    def setup(self) -> None:
        """Open the sandbox."""
        try:
            self._sandbox.__enter__()
        except SandboxError as error:
            raise InfrastructureError(str(error)) from error

    async def aclose(self) -> None:
        """Close the sandbox."""
        self._sandbox.close()

    def __call__(self, code: str, earlier_calls: Sequence[Any] = ()) -> str:
        """Run Python code. Variables, functions and imports of earlier calls are there. The last expression is printed.

        Args:
            code: The code to run.
            earlier_calls: Given by the engine.
        """
        if not isinstance(code, str):
            raise TypeError("the code is not text")
        earlier = [
            call["code"]
            for call in earlier_calls
            if isinstance(call, dict) and isinstance(call.get("code"), str)
        ]
        return self._run(self._sandbox, [*earlier, code])

    def _run(self, sandbox: SyncSandbox, cells: Sequence[str]) -> str:
        written = json.dumps(list(cells)).encode()
        program = Program(source=_RUNNER, files={"cells.json": written}, limits=self._limits)
        try:
            result = sandbox.run(program)
        except SandboxError as error:
            raise InfrastructureError(str(error)) from error
        output = result.stdout.decode("utf-8", "replace")
        if not result.ok:
            raise ValueError(f"{output}\n[stopped: {result.ending}]".lstrip())
        return output.rstrip("\n") or "[no output]"
