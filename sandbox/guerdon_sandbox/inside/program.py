"""Run a program as ``python main.py`` would, without starting Python.

It needs only the standard library.
"""

import builtins
import os
import sys
import types
from typing import Any, NoReturn

from guerdon_sandbox.inside.interpreter import leave
from guerdon_sandbox.inside.sources import compile_source, report


def program(payload: dict[str, Any]) -> NoReturn:
    """Run the payload's source, or exec its command."""
    os.environ.update(payload["env"])
    if payload["command"]:
        try:
            os.execvp(payload["command"][0], payload["command"])
        except OSError as error:
            sys.stderr.write(f"{payload['command'][0]}: {error.strerror}\n")
            leave(127)
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__="main.py", __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.argv = ["main.py", *payload["argv"]]
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a Path costs as much as the program
    code = 1
    try:
        exec(compile_source(payload["source"], "main.py"), main.__dict__)
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        report(error)
    leave(code)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1
