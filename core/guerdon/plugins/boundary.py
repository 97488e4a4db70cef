"""Convert the exceptions that plugins raise into errors of guerdon that name the plugin."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guerdon.errors import GuerdonError, InfrastructureError, ParamsError, PluginContractError, one_line


def describe(error: BaseException) -> str:
    """Return ``Type: text`` on one line, even if the error's ``__str__`` fails."""
    try:
        text = one_line(error)
    except Exception as broken:  # the error's class comes from a plugin
        text = f"<its text cannot be made: {type(broken).__name__}>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def line_of(error: BaseException, loaded: object) -> str:
    """Return where in a plugin's own file an error was raised, such as ``" (stage.py:12)"``, or an empty text.

    Args:
        error: What the plugin raised.
        loaded: The function, class or object that is the plugin.
    """
    subject = loaded if inspect.isclass(loaded) or inspect.isroutine(loaded) else type(loaded)
    try:
        file = inspect.getfile(subject)
    except (TypeError, OSError):  # a builtin, or a class that was made at run time
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}:{lines[-1]})" if lines else ""


@contextmanager
def boundary(
    what: str,
    raises: type[GuerdonError] = PluginContractError,
    *,
    outside: type[OSError] = ConnectionError,
    blames_params: tuple[type[Exception], ...] = (),
    params_of: object = "",
    fix: str = "",
) -> Iterator[None]:
    """Raise any exception of the block as an error that names the plugin.

    Errors of guerdon pass unchanged, because their text already names the plugin.

    Args:
        what: The subject and the verb of the message, such as ``"the preflight of verifier 'math' (guerdon 1.0)
            raised"``.
        raises: The class of the error.
        outside: The exceptions that mean that an external service or file is missing or down. They become an
            :class:`~guerdon.errors.InfrastructureError`.
        blames_params: The exceptions that mean that the plugin refuses its params. They become a
            :class:`~guerdon.errors.ParamsError`.
        params_of: The plugin that the params belong to.
        fix: What to do, as a sentence.

    Raises:
        GuerdonError: The block raised.
    """
    try:
        yield
    except GuerdonError:
        raise
    except outside as error:
        raise InfrastructureError(f"{what} {describe(error)}.") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, blames_params):
            raise ParamsError(f"{params_of} refuses its params: {one_line(error)}") from error
        raise raises(" ".join(filter(None, [f"{what} {describe(error).rstrip('.')}.", fix]))) from error


def settled(returned: Any) -> Any:
    """Return a value, or the result of an awaitable, because optional members may be sync or async."""
    if not inspect.isawaitable(returned):
        return returned
    import asyncio  # imported late, because most commands do not need it

    return asyncio.run(_wait(returned))


async def _wait(awaitable: Any) -> Any:
    return await awaitable
