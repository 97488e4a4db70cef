"""Attribute exceptions to a candidate or a test, and rebuild them in another process.

It needs only the standard library.
"""

import builtins
import contextlib
from typing import Any

_UNFIT = (StopIteration, StopAsyncIteration)
"""Exceptions that end loops. Raised by a candidate's call, they would end the test's own loop."""


class UnsupportedTestError(Exception):
    """The test does something that is impossible across processes: the candidate is not at fault."""


class CandidateError(Exception):
    """The candidate raised an exception that is not a builtin, misused the channel, or is gone."""


def blame(error: BaseException) -> Any:
    """Mark an exception as the candidate's fault."""
    error._of_candidate = True  # type: ignore[attr-defined]
    return error


def is_blamed(error: BaseException) -> bool:
    """Return whether an exception is the candidate's fault."""
    return getattr(error, "_of_candidate", False) is True


def remade(names: list[str], text: str, args: Any, known: dict[str, type[Exception]]) -> BaseException:
    """Rebuild an exception from its class's name, the names of the class's bases, its text and its arguments."""
    bases: list[type[BaseException]] = [known[name] for name in names if name in known]
    builtin = next((kind for name in names if (kind := _builtin_exception(name)) is not None), Exception)
    if issubclass(builtin, _UNFIT):
        builtin = Exception
    if not bases and builtin is Exception:
        return CandidateError(f"{names[0]}: {text}" if text else names[0])
    if not bases and names[0] == builtin.__name__:
        kind = builtin
    else:
        kind = type(names[0], (*dict.fromkeys(bases), *(() if builtin is Exception else (builtin,))), {})
    for arguments in (args if isinstance(args, list) else [text], [text]):
        with contextlib.suppress(Exception):
            made = kind(*arguments)
            if str(made) != text:
                made = type(names[0], (kind,), {"__str__": lambda _: text})(*arguments)
            return made
    return CandidateError(f"{names[0]}: {text}")


def _builtin_exception(name: str) -> type[BaseException] | None:
    kind = getattr(builtins, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None
