"""Every error that the sandbox raises on purpose, as one tree.

    SandboxError
    ├── SandboxUsageError (ValueError)          a job or an option that cannot be right: exit code 2
    └── SandboxUnavailableError (OSError)       no engine answers, or boxes keep dying: exit code 3
        ├── SandboxImageError                   the image is missing or cannot be built
        └── SandboxOverloadedError              other work kept the CPU from a job for too long

A job's behaviour is never an error: it is in the job's result.
"""


class SandboxError(Exception):
    """Base of every error that the sandbox raises on purpose."""

    exit_code: int = 1
    """The status with which the command line ends when this error reaches it."""


class SandboxUsageError(SandboxError, ValueError):
    """A job or an option is not one that the sandbox can run."""

    exit_code = 2


class SandboxUnavailableError(SandboxError, OSError):
    """The infrastructure is missing or down, so nothing is known about the job. Never turned into a result."""

    exit_code = 3


class SandboxOverloadedError(SandboxUnavailableError):
    """Other work kept the CPU from a job for too long, so nothing is known about the job."""


class SandboxImageError(SandboxUnavailableError):
    """The image that boxes are made of is missing, or building it failed."""
