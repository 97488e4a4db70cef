"""Every error that guerdon raises on purpose, as one tree.

    GuerdonError
    ├── UsageError (ValueError)             the user's mistake: exit code 2
    │   ├── ManifestError                   a manifest that cannot be run, with file and line
    │   ├── PluginNotFoundError (LookupError)   no plugin has that name
    │   ├── DuplicatePluginError            several plugins have that name
    │   ├── PluginLoadError (ImportError)   a plugin that was asked for does not import
    │   ├── PluginContractError (TypeError) a plugin broke its kind's contract
    │   ├── ParamsError (TypeError)         params that do not fit a plugin's signature
    │   └── DataError                       rows that cannot be used
    ├── CheckFailedError (AssertionError)   something ran and did not hold: exit code 1
    │   ├── FailureBudgetError              so many scores failed that training would learn from noise
    │   └── StageFailedError                a stage could not produce its result
    ├── InfrastructureError (OSError)       something outside guerdon is missing or down: exit code 3
    │   └── MissingDependencyError          an extra is not installed
    └── RunInterruptedError                 a signal stopped the run: exit code 128 + its number

A message says what happened (with the value and its place), why, and the fix, in one line. Plugins raise plain Python
exceptions, and the engine adds the plugin's name. All errors can be pickled, because they cross process borders.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "CheckFailedError",
    "DataError",
    "DuplicatePluginError",
    "FailureBudgetError",
    "GuerdonError",
    "InfrastructureError",
    "ManifestError",
    "MissingDependencyError",
    "ParamsError",
    "PluginContractError",
    "PluginLoadError",
    "PluginNotFoundError",
    "RunInterruptedError",
    "StageFailedError",
    "UsageError",
    "library_of",
    "one_line",
]


def one_line(what: object) -> str:
    """Return the text of an error or a value on one line."""
    return " ".join(str(what).split())


class GuerdonError(Exception):
    """Base of every error that guerdon raises on purpose."""

    exit_code: int = 1
    """The status with which the command line ends when this error reaches it."""


class UsageError(GuerdonError, ValueError):
    """The input is at fault: a manifest, a name, a parameter, a row."""

    exit_code = 2


class ManifestError(UsageError):
    """A manifest cannot be run. The message lists every mistake, one line each, as ``file:line: what``."""


class PluginNotFoundError(UsageError, LookupError):
    """No installed plugin has the name that was asked for."""


class DuplicatePluginError(UsageError):
    """Several distributions register the name that was asked for."""


class PluginLoadError(UsageError, ImportError):
    """A plugin that was asked for cannot be imported."""


class PluginContractError(UsageError, TypeError):
    """A plugin does not keep the contract of its kind."""


class ParamsError(UsageError, TypeError):
    """Parameters do not fit the signature of the plugin that they were given to."""


class DataError(UsageError):
    """Data rows cannot be read, or lack something that the stage needs."""


class CheckFailedError(GuerdonError, AssertionError):
    """A check failed."""


class FailureBudgetError(CheckFailedError):
    """So many scores failed that training on the rest would learn from noise."""


class StageFailedError(CheckFailedError):
    """A stage ran and could not produce its result."""


class InfrastructureError(GuerdonError, OSError):
    """Something outside guerdon is missing or down. Never turned into a score."""

    exit_code = 3


class RunInterruptedError(GuerdonError):
    """A signal stopped the run. The same command resumes it.

    Args:
        message: What was stopped, and what is kept.
        number: The signal's number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self._number = number
        self.exit_code = 128 + number

    def __reduce__(self) -> tuple[type[RunInterruptedError], tuple[str, int]]:
        return type(self), (str(self), self._number)


class MissingDependencyError(InfrastructureError):
    """An optional dependency is needed and not installed.

    Args:
        feature: What needs it, as the subject of a sentence: ``"source 'hub'"``.
        package: The missing import.
        extra: The extra that brings it; empty if the package has to be installed by itself.
        distribution: The distribution that has the extra.
    """

    def __init__(self, feature: str, package: str, extra: str, distribution: str = "guerdon") -> None:
        wanted = f"'{distribution}[{extra}]'" if extra else package.replace("_", "-")
        super().__init__(
            f"{feature} needs the package '{package}', which is not installed. Install it with: pip install {wanted}"
        )
        self._args = (feature, package, extra, distribution)

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str, str, str]]:
        return type(self), self._args


@contextmanager
def library_of(feature: str, *, extra: str = "", package: str = "") -> Iterator[None]:
    """Name what needs the library that the block imports, and how to install it.

    A library that is there and broken raises its own error.

    Args:
        feature: What needs it, as the subject of a sentence: ``"source 'hub'"``.
        extra: guerdon's extra that brings it and what it imports itself.
        package: Without an extra, the import that has to be installed by itself.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not extra and missing != package:
            raise
        raise MissingDependencyError(feature, missing, extra) from error
