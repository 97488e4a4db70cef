"""What a session gives, and how the host reads it from the answers of the container, which is not trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon_sandbox.errors import SandboxUnavailableError
from guerdon_sandbox.given import check_path, check_tree
from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.wire import Limit, WireError

NAMES_BYTES = 8 << 20
"""The longest list of a tree's paths."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended."""

    output: bytes
    """Its output and error output, in the order in which they were written."""
    exit_code: int | None
    """None if a signal ended the shell."""
    limit: Limit | None
    """``wall`` if its deadline ended it; ``memory`` if the kernel killed a process for memory meanwhile."""
    truncated: bool
    """Whether output was dropped, because it was too long."""
    wall_s: float
    """Seconds, without the waits for a CPU."""

    @property
    def ok(self) -> bool:
        """Return whether the command ended normally with status 0."""
        return self.exit_code == 0 and self.limit is None


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a folder."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """The regular files' contents by path. Links, pipes and devices are never part of it."""
    executables: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    left_out: int = 0
    """The number of entries that were left out: links and the like, and what is too large, too deep, or unreadable."""

    def without(self, paths: Sequence[str]) -> Tree:
        """Return the tree without some files."""
        kept = {path: content for path, content in self.files.items() if path not in paths}
        return Tree(kept, self.executables & kept.keys(), self.folders, self.left_out)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session's files, and what its shell exported. Processes are not part of it."""

    tree: Tree
    shell: bytes


def read_header(data: bytes, caps: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
    """Return an answer's header, and its blobs' sizes, each of which is at most its cap.

    Raises:
        WireError: The bytes are not an answer.
    """
    try:
        answer = json.loads(data)
        sizes = answer.pop("sizes")
        fits = len(sizes) <= len(caps) and all(
            type(size) is int and 0 <= size <= cap for size, cap in zip(sizes, caps, strict=False)
        )
        if not fits or sum(sizes) > wire.COLLECT_TOTAL_BYTES + NAMES_BYTES:
            raise ValueError("its parts are too many or too large")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"not an answer: {error}") from None
    return answer, sizes


def read_ending(answer: Mapping[str, Any]) -> tuple[int, Limit | None, float, float]:
    """Return the wait status, the limit, the seconds that the command waited, and those that it took.

    Raises:
        SandboxUnavailableError: The answer has other values.
    """
    try:
        limit = None if answer["limit"] is None else Limit(answer["limit"])
        status, waited_s, wall_s = int(answer["status"]), float(answer["waited_s"]), float(answer["wall_s"])
        if not (0 <= status < 1 << 16 and 0 <= waited_s < math.inf and 0 <= wall_s < math.inf):
            raise ValueError("a number is out of range")
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise SandboxUnavailableError(f"a session's answer cannot be read: {error}") from None
    return status, limit, waited_s, wall_s


def read_tree(entries: Any, contents: Sequence[bytes], left_out: int) -> Tree:
    """Return a tree whose paths have been checked.

    Raises:
        ValueError: The entries are not those of a tree.
    """
    files: dict[str, bytes] = {}
    executables, folders = set(), set()
    left = iter(contents)
    for path, executable in entries:
        check_path(path.removesuffix("/"))
        if path.endswith("/"):
            folders.add(path.removesuffix("/"))
            continue
        if path in files:
            raise ValueError("two files have the same path")
        files[path] = next(left)
        if executable:
            executables.add(path)
    check_tree(files)
    return Tree(files, frozenset(executables), frozenset(folders), left_out)
