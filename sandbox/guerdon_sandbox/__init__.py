"""Run untrusted programs in locked-down containers, many per second. Usable without the rest of guerdon.

    async with Sandbox() as sandbox:
        result = await sandbox.run(Program(source="print(1 + 1)"))

A job's behaviour is in its result. A failure of the infrastructure raises `SandboxUnavailableError`.
"""

from guerdon_sandbox.codec import Opaque
from guerdon_sandbox.engine import PYTHON_IMAGE, TOOLCHAIN_IMAGE, BoxOptions
from guerdon_sandbox.errors import (
    SandboxError,
    SandboxImageError,
    SandboxOverloadedError,
    SandboxUnavailableError,
    SandboxUsageError,
)
from guerdon_sandbox.inside.wire import Limit
from guerdon_sandbox.jobs import Call, Calls, Check, Job, Program
from guerdon_sandbox.limits import Limits
from guerdon_sandbox.pool import Isolation, Sandbox
from guerdon_sandbox.results import (
    CallsResult,
    CheckOutcome,
    CheckResult,
    ProgramResult,
    Raised,
    Result,
    Returned,
)
from guerdon_sandbox.session import LOCKED, CommandResult, Session, SessionOptions, Sessions, Snapshot, Tree
from guerdon_sandbox.sync import SyncSandbox

__all__ = [
    "LOCKED",
    "PYTHON_IMAGE",
    "TOOLCHAIN_IMAGE",
    "BoxOptions",
    "Call",
    "Calls",
    "CallsResult",
    "Check",
    "CheckOutcome",
    "CheckResult",
    "CommandResult",
    "Isolation",
    "Job",
    "Limit",
    "Limits",
    "Opaque",
    "Program",
    "ProgramResult",
    "Raised",
    "Result",
    "Returned",
    "Sandbox",
    "SandboxError",
    "SandboxImageError",
    "SandboxOverloadedError",
    "SandboxUnavailableError",
    "SandboxUsageError",
    "Session",
    "SessionOptions",
    "Sessions",
    "Snapshot",
    "SyncSandbox",
    "Tree",
]
