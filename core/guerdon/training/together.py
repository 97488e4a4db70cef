"""Raise errors of one process in all processes of a launch, because the others would wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import PartialState
from accelerate.utils import gather_object

from guerdon.errors import GuerdonError, StageFailedError, one_line


@contextmanager
def raised_in_all() -> Iterator[None]:
    """Raise an error of the block in any process in every process. All processes must enter the block.

    The block must not communicate between processes. guerdon's own errors are raised unchanged everywhere. For other
    errors, the other processes raise an error with the same text, because they may not have the class.

    Raises:
        StageFailedError: Another process raised an error that is not guerdon's.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised
    state = PartialState()
    if state.num_processes > 1:
        errors: list[GuerdonError | str | None] = gather_object([_sendable(error, state.process_index)])
        if error is None:
            for other in errors:
                if other is not None:
                    raise other if isinstance(other, GuerdonError) else StageFailedError(other)
    if error is not None:
        raise error


def _sendable(error: Exception | None, process: int) -> GuerdonError | str | None:
    """Return an error in a form that other processes can load: guerdon's own errors, and the text of others."""
    if error is None or isinstance(error, GuerdonError):
        return error
    return f"process {process} raised {type(error).__name__}: {one_line(error)}"
