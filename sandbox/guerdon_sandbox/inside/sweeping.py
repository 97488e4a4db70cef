"""Read from the work folder and empty it. A job may have left anything there, at any depth and under any name.

It needs only the standard library.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

WORK = b"/box"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_ROUNDS = 3
"""The rounds of cleaning. One is not enough, because folders of two users may contain each other."""


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Act on files and processes as a job's user. Root here may not access what that user forbids to others.

    The real uid changes too, because it decides which signals are allowed. ``kill(-1)`` as root would end the zygote.
    """
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def write_file(path: str, content: bytes, executable: bool) -> None:
    """Write a file into the work folder."""
    target = os.path.join(os.fsdecode(WORK), path)  # noqa: PTH118 - a Path costs as much as the file
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if executable else 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def read_file(path: str, most: int) -> bytes | None:
    """Return the content of a regular file of the job, or None. No link in the path is followed."""
    return read_below(WORK, path, most)


def read_below(root: bytes, path: str, most: int) -> bytes | None:
    """Return the content of a regular file below a folder, or None. No link in the path is followed."""
    *folders, name = os.fsencode(path).split(b"/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        folder = os.open(root, flags)
        stack.callback(os.close, folder)
        for part in filter(None, folders):
            folder = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
            stack.callback(os.close, folder)
        file = os.open(name, flags, dir_fd=folder)
        stack.callback(os.close, file)
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and status.st_size <= most:
            return _read(file, status.st_size)
    return None


def _read(fd: int, size: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read(size)


def share_memory() -> None:
    """Move POSIX semaphores and shared memory into the work folder, so that only this folder must be emptied."""
    with contextlib.suppress(OSError):  # the engine mounts a separate folder there, or /dev is read-only
        os.symlink(WORK, "/dev/shm")  # noqa: PTH211


def reset_devices() -> None:
    """Reset the times of world-writable devices after every job, because a job could store information in them."""
    for name in _DEVICES:
        with contextlib.suppress(OSError):
            os.utime(f"/dev/{name}", (0, 0))


def sweep(uids: Iterable[int], root: bytes = WORK) -> str | None:
    """Empty a folder, by default the work folder. Return why the box is dirty, if something cannot be removed."""
    why: OSError | None = None
    for _ in range(_ROUNDS):
        if not os.listdir(root):  # noqa: PTH208
            return None
        for uid in uids:
            try:
                with as_user(uid):
                    _empty(root)
            except OSError as error:
                why = error
    return f"the work folder cannot be emptied: {why}" if os.listdir(root) else None  # noqa: PTH208


def _empty(root: bytes) -> None:
    """Remove everything that the current user may remove.

    Nested folders are moved up next to their parent, so that no path has more than three names, at any depth.
    """
    number, unguessable = 0, os.urandom(8).hex().encode()
    pending = [entry.path for entry in _entries(root)]
    while pending:
        path = pending.pop()
        if not _is_folder(path):
            with contextlib.suppress(PermissionError):  # the other user's file
                os.unlink(path)  # noqa: PTH108
            continue
        with contextlib.suppress(PermissionError):
            os.chmod(path, 0o777)  # noqa: PTH101 - so that the other user can take out what is theirs
        with contextlib.suppress(PermissionError):
            for entry in _entries(path):
                if not entry.is_dir(follow_symlinks=False):
                    with contextlib.suppress(PermissionError):
                        os.unlink(entry.path)  # noqa: PTH108
                    continue
                number += 1
                moved = b"%s/.%s.%d" % (root, unguessable, number)
                with contextlib.suppress(PermissionError):
                    os.chmod(entry.path, 0o777)  # noqa: PTH101
                    os.rename(entry.path, moved)  # noqa: PTH104
                    pending.append(moved)
        with contextlib.suppress(OSError):  # not empty yet: the other user is next
            os.rmdir(path)  # noqa: PTH106


def _entries(folder: bytes) -> list["os.DirEntry[bytes]"]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is_folder(path: bytes) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
