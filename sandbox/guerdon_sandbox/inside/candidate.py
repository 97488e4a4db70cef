"""The checker's end of the pipes to the candidate.

It needs only the standard library.
"""

import contextlib
import os
import types
from pathlib import Path
from typing import Any

from guerdon_sandbox.codec import CodecError, State, dumps, loads
from guerdon_sandbox.inside.blame import CandidateError, UnsupportedTestError, blame, remade
from guerdon_sandbox.inside.constants import Constants, replace_content
from guerdon_sandbox.inside.emptiness import is_nan, is_table, says_nothing
from guerdon_sandbox.inside.frames import MAX_REPLY, read_frames, send_frame
from guerdon_sandbox.inside.remote import Reference, Remote, RemoteIterator, generate, run_remotely
from guerdon_sandbox.inside.values import VALUES, Value, value_of


class Candidate:
    """The checker's end of the pipes to the candidate."""

    def __init__(self, replies: Any, requests: Any, classes: set[str]) -> None:
        self._replies = read_frames(replies, MAX_REPLY)
        self._requests = requests
        self._loaded = False
        self._folders: tuple[Path, Path] | None = None
        self.classes = classes
        """The names of the candidate's classes in the tests."""
        self.exceptions: dict[str, type[Exception]] = {}
        """The candidate's exceptions that the tests catch."""
        self.shared: dict[str, type] = {}
        """Classes that the problem's own code defines, on both sides."""
        self.in_place = False
        """Whether the current test checks what a call does to its arguments."""
        self.constants = Constants(lambda name: self.ask("value", name), self.dumps, self.refuse)
        self.asked = 0
        self.gave = False
        """Whether it has given a value that is neither empty nor NaN."""
        self.gave_nan = False
        """Whether a result was NaN."""
        self.gave_table: type | None = None
        """The class of an array, a column or a frame that was a result."""
        self.fault = ""
        """Why the candidate cannot answer any more. After that, a test cannot pass, whatever it catches."""
        self.unsupported = ""
        """Why the current test cannot run here, whatever it catches."""

    def share_files(self, own: Path, work: Path) -> None:
        """Copy the files of one folder into another before each request."""
        self._folders = (own, work)

    def remove_files(self) -> None:
        """Remove the folder and the copies of its files, which the candidate may not remove."""
        if self._folders is None:
            return
        own, work = self._folders
        for entry in os.scandir(own):
            with contextlib.suppress(OSError):
                (work / entry.name).unlink()
        import shutil  # here, because its libraries would cost every fork

        shutil.rmtree(own, ignore_errors=True)

    def _copy_files(self) -> None:
        if self._folders is None:
            return
        own, work = self._folders
        for entry in os.scandir(own):
            if not entry.is_file(follow_symlinks=False):
                raise self.refuse("the test makes folders or links, which the candidate cannot see")
            with contextlib.suppress(OSError):
                _copy(Path(entry.path), work / entry.name)

    def load(self) -> None:
        """Wait until the candidate's program has run."""
        if self._loaded:
            return
        self._loaded = True
        # The first frame was sent before any candidate code ran, so only this one is trusted.
        match self._next():
            case ["began"]:
                self._receive("ready")
            case ["broken", str(name), str(text)]:
                raise self.refuse(f"the problem's own code raises {name}: {text}")
            case _:
                raise self._gone()

    def ask(self, operation: str, target: object, *args: object, **kwargs: object) -> Any:
        """Let the candidate run an operation. Return its result or raise its exception."""
        self.load()
        if operation != "value":
            self.constants.check()
        self._copy_files()
        request = self.dumps([operation, target, list(args), kwargs, "always" if self.in_place else "never"])
        if self._folders is not None and bytes(self._folders[0]) in request:
            raise self.refuse("the test passes a path in its own folder, which the candidate cannot reach")
        self.asked += 1
        try:
            send_frame(self._requests, request)
        except OSError:
            raise self._gone() from None
        _, result, changed, changed_kwargs = self._receive("value")
        if self.in_place:
            for mine, theirs in zip(args, changed, strict=False):
                _take_over(mine, theirs)
            for name, mine in kwargs.items():
                _take_over(mine, changed_kwargs.get(name))
        if operation != "value":
            self.constants.refresh()
        self.gave = self.gave or _says_something(operation, result)
        self.gave_nan = self.gave_nan or is_nan(result)
        if is_table(result):
            self.gave_table = type(result)
        return result

    def dumps(self, value: object) -> bytes:
        try:
            return dumps(value, self._outgoing)
        except CodecError as error:
            raise self.refuse(f"the test passes a value that cannot cross: {error}") from None

    def refuse(self, why: str) -> UnsupportedTestError:
        """Record that the test cannot run here."""
        self.unsupported = self.unsupported or why
        return UnsupportedTestError(why)

    def _receive(self, kind: str) -> list[Any]:
        """Return the next reply, which must be of a kind, or raise the candidate's exception."""
        match self._next():
            case ["ready"] as reply if kind == "ready":
                return list(reply)
            case ["value", _, list(), dict()] as reply if kind == "value":
                return list(reply)
            case ["raised", str(name), str(text), list(bases), args, dict(attributes)]:
                error = remade([str(base) for base in bases] or [name], text, args, self.exceptions)
                with contextlib.suppress(AttributeError, TypeError):
                    vars(error).update({name: value for name, value in attributes.items() if name[:1] != "_"})
                raise blame(error)
        self.fault = "the candidate's reply is malformed"
        raise blame(CandidateError(self.fault))

    def _next(self) -> Any:
        try:
            frame = next(self._replies, None)
            if frame is not None:
                return loads(frame, self._incoming, inside=True, build=self._build)
        except (CodecError, MemoryError) as error:
            self.fault = str(error) or "the reply takes too much memory"
            raise blame(CandidateError(self.fault)) from None
        raise self._gone()

    def _gone(self) -> CandidateError:
        self.fault = "the candidate's process has ended"
        gone: CandidateError = blame(CandidateError(self.fault))
        return gone

    def _incoming(self, body: Any) -> object:
        number, type_name, kind, *builtin = body
        reference = Reference(int(number))
        if kind == "value" and builtin:
            return value_of(builtin[0], Remote(self, reference, str(type_name)))
        if kind == "coroutine":
            return run_remotely(self, reference)
        if kind in ("iterator", "generator"):
            iterator = RemoteIterator(self, reference, str(type_name))
            return generate(iterator) if kind == "generator" else iterator
        return Remote(self, reference, str(type_name), builtin=kind if builtin else "")

    def _outgoing(self, value: Any) -> object:
        if isinstance(value, Value):
            value = value._remote
        elif isinstance(value, types.GeneratorType) and value.gi_code is generate.__code__ and value.gi_frame:
            value = value.gi_frame.f_locals["iterator"]
        elif isinstance(value, VALUES):
            return None
        if isinstance(value, Reference):
            return [value.number]
        if type(value) in (Remote, RemoteIterator):
            target = object.__getattribute__(value, "_target")
            return [target.number if isinstance(target, Reference) else target]
        if isinstance(value, types.CoroutineType) and value.cr_code is run_remotely.__code__:
            raise blame(TypeError("the candidate's coroutine is passed on, and never awaited"))
        name = type(value).__name__
        if self.shared.get(name) is type(value) and hasattr(value, "__dict__"):
            return State(name, dict(vars(value)))
        raise self.refuse(f"the test passes a {name} to the candidate, which only values can be")

    def _build(self, name: str, attributes: dict[str, Any]) -> object:
        if name not in self.shared:
            raise CodecError(f"an object of {name}, which the problem does not define")
        built: Any = object.__new__(self.shared[name])
        built.__dict__.update(attributes)
        return built


_ABOUT_OBJECTS = frozenset(("len", "bool", "isinstance", "issubclass", "is", "identity"))
"""Operations whose answers say nothing of an object's content."""


def _says_something(operation: str, result: Any) -> bool:
    """Return whether an operation gave a value that is not empty."""
    if operation in _ABOUT_OBJECTS:
        return False
    return not says_nothing(result[:1] if operation == "draw" and isinstance(result, list) else result)


def _copy(source: Path, target: Path) -> None:
    """Write a file that only the checker may change.

    A file of the candidate there is kept, and a link is not followed.
    """
    mine = os.path.lexists(target) and target.lstat().st_uid == os.getuid()
    fresh = os.O_TRUNC if mine else os.O_CREAT | os.O_EXCL
    fd = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | fresh, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(source.read_bytes())


def _take_over(mine: Any, theirs: Any) -> None:
    """Give an argument the value of the candidate's copy."""
    if type(mine) is not type(theirs):
        return
    if isinstance(mine, list | bytearray | dict | set):
        replace_content(mine, theirs)
    elif hasattr(mine, "extend"):
        mine.clear()
        mine.extend(theirs)
    elif type(mine).__module__ == "numpy":
        mine[...] = theirs
    elif hasattr(mine, "__dict__"):
        mine.__dict__.clear()
        mine.__dict__.update(vars(theirs))
