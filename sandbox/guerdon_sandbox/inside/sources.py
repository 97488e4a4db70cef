"""Compile a job's sources so that tracebacks show their lines, and print those tracebacks.

It needs only the standard library.
"""

import ast
import contextlib
import linecache
import sys
import traceback
import types
from collections.abc import Sequence
from typing import Any

from guerdon_sandbox.inside.interpreter import own_frames


def compile_source(source: str, name: str, changes: Sequence[ast.NodeTransformer] = ()) -> types.CodeType:
    """Compile a module's source, which may be changed, under a name that tracebacks can look up."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    code: Any = ast.parse(source, name) if changes else source
    for change in changes:
        code = change.visit(code)
    return compile(code, name, "exec", dont_inherit=True)


def compile_prelude(source: str) -> types.CodeType:
    """Compile the problem's own code, which may end in the head of a function that the candidate continues."""
    try:
        return compile_source(source, "prelude.py")
    except SyntaxError:
        return compile_source(f"{source}\n    pass", "prelude.py")


def report(error: BaseException) -> None:
    """Print the traceback as python does, without the frames that started the program."""
    with contextlib.suppress(BaseException):
        error = error.with_traceback(own_frames(error.__traceback__))
        if sys.excepthook is sys.__excepthook__:
            # This reads the source's lines from linecache; the hook in C does not.
            traceback.print_exception(error)
        else:
            sys.excepthook(type(error), error, error.__traceback__)


def describe(error: BaseException) -> tuple[str, str]:
    """Return the exception's type name and text; the text may run the program's code."""
    try:
        return type(error).__name__, str(error)[:2000]
    except BaseException:
        return type(error).__name__, ""
