"""What a process of a job does: run a program, serve a candidate's functions, or check them.

The candidate and the checker are two processes with two uids and one pipe each way. Requests and replies are frames of
encoded values, so the checker touches nothing but plain builtins and handles, and the candidate never holds a test.
It needs the standard library only.
"""

import builtins
import contextlib
import io
import linecache
import os
import struct
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from guerdon_sandbox.codec import CodecError, dumps, loads
from guerdon_sandbox.inside.interpreter import leave, own_frames

MAX_FRAME = 8 << 20


# --- program ---------------------------------------------------------------------------------------------------------


def program(payload: dict[str, Any]) -> NoReturn:
    """Run ``python main.py`` without starting a python, or exec another command."""
    os.environ.update(payload["env"])
    if payload["command"]:
        try:
            os.execvp(payload["command"][0], payload["command"])
        except OSError as error:
            sys.stderr.write(f"{payload['command'][0]}: {error.strerror}\n")
            leave(127)
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__="main.py", __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.argv = ["main.py", *payload["argv"]]
    sys.path.insert(0, str(Path.cwd()))
    code = 1
    try:
        exec(_compile(payload["source"], "main.py"), main.__dict__)
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        _report(error)
    leave(code)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _compile(source: str, name: str) -> types.CodeType:
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec", dont_inherit=True)


def _report(error: BaseException) -> None:
    """Print the traceback as python does, without the frames that started the program."""
    with contextlib.suppress(BaseException):
        error = error.with_traceback(own_frames(error.__traceback__))
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(
                error
            )  # reads the source's lines from linecache, which the hook in C does not
        else:
            sys.excepthook(type(error), error, error.__traceback__)


# --- serve -----------------------------------------------------------------------------------------------------------


def serve(payload: dict[str, Any], inbox: int, outbox: int) -> NoReturn:
    """Load a candidate and answer calls of its functions, until the requests end."""
    os.environ.update(payload["env"])
    requests, replies = os.fdopen(inbox, "rb"), os.fdopen(outbox, "wb")
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    try:
        if payload["ambient"]:
            module.__dict__["__builtins__"] = _ambient(payload["ambient"])
        _load(payload["prelude"], payload["source"], module)
    except BaseException as error:
        _report(error)
        _send(replies, dumps(["raised", *_describe(error)]))
        leave(1)
    _send(replies, dumps(["ready"]))
    server = _Server(module)
    for request in _frames(requests):
        _send(replies, server.answer(request))
    leave(0)


def _ambient(source: str) -> dict[str, Any]:
    """The builtins, and the names that a source binds.

    In the module itself these names would count as the candidate's functions: an empty program would have a ``gcd``.
    """
    names = dict(vars(builtins))
    exec(compile(source, "ambient.py", "exec", dont_inherit=True), names)
    return names


def _load(prelude: str, source: str, module: types.ModuleType) -> None:
    """Execute the candidate's source in a module.

    A source that is no program by itself is taken for the continuation of the prelude, which ends in a function's head.
    """
    try:
        code = _compile(source, "candidate.py")
    except SyntaxError:
        if not prelude:
            raise
        code = _compile(f"{prelude}\n{source}", "candidate.py")
    else:
        if prelude:
            exec(compile(prelude, "prelude.py", "exec", dont_inherit=True), module.__dict__)
    exec(code, module.__dict__)


class _Server:
    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._objects: list[object] = []

    def answer(self, request: bytes) -> bytes:
        """The reply to one request: ``["value", result, mutable arguments]`` or ``["raised", type name, text]``."""
        try:
            operation, target, args, kwargs = loads(request, self._object)
            result = _OPERATIONS[operation](self._resolve(target), *args, **kwargs)
            # The caller's lists and dicts are copies here. It takes over what became of them if that is all that the
            # call gives; otherwise a candidate could make the test's own data fit its wrong result.
            changed = args if result is None else []
            return dumps(["value", result, changed], self._handle)
        except BaseException as error:
            return dumps(["raised", *_describe(error)])

    def _handle(self, value: object) -> list[Any]:
        self._objects.append(value)
        return [len(self._objects) - 1, type(value).__name__]

    def _object(self, body: list[Any]) -> object:
        return self._objects[body[0]]

    def _resolve(self, target: object) -> Any:
        """A function by name: a global, or else a method of the class ``Solution``, as on competition sites."""
        if not isinstance(target, str):
            return target
        if hasattr(self._module, target):
            return getattr(self._module, target)
        solution = getattr(self._module, "Solution", None)
        if solution is not None and hasattr(solution, target):
            return getattr(solution(), target)
        raise NameError(f"name '{target}' is not defined")


def _call(function: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    return function(*args, **kwargs)


_OPERATIONS: dict[str, Callable[..., object]] = {
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "getitem": lambda target, key: target[key],
    "setitem": lambda target, key, value: target.__setitem__(key, value),
    "iter": lambda target: list(target),
    "len": len,
    "str": str,
    "repr": repr,
}


def _describe(error: BaseException) -> tuple[str, str]:
    try:
        return type(error).__name__, str(error)[:500]
    except BaseException:
        return type(error).__name__, ""


# --- check -----------------------------------------------------------------------------------------------------------


def check(payload: dict[str, Any], inbox: int, outbox: int, verdict: int) -> NoReturn:
    """Run tests against a candidate in another process, and report each test's outcome.

    Writes one frame per test, ``[passed, why not]``; ``passed`` is null for a test that cannot be run here.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    outcomes = os.fdopen(verdict, "wb")
    candidate = _Candidate(os.fdopen(inbox, "rb"), os.fdopen(outbox, "wb"))
    namespace: dict[str, Any] = {"__name__": "checker", "__builtins__": builtins}
    if payload["prelude"]:
        exec(_compile(payload["prelude"], "prelude.py"), namespace)
    namespace.update({name: Remote(candidate, name, name) for name in payload["names"]})
    try:
        candidate.load()
        if payload["setup"]:
            exec(_compile(payload["setup"], "setup.py"), namespace)
    except BaseException as error:
        why = "{}: {}".format(*_describe(error))
        for _ in payload["tests"]:
            _send(outcomes, dumps([False, why]))
        os._exit(0)
    for index, test in enumerate(payload["tests"]):
        _send(outcomes, dumps(_outcome(test, f"test{index}.py", namespace)))
    os._exit(0)


def _outcome(test: str, name: str, namespace: dict[str, Any]) -> tuple[bool | None, str]:
    try:
        exec(_compile(test, name), namespace)
    except UnsupportedTestError as error:
        return None, str(error)
    except BaseException as error:
        kind, text = _describe(error)
        line = ""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == name:
                line = linecache.getline(name, trace.tb_lineno).strip()
            trace = trace.tb_next
        return False, f"{kind}: {text}" + (f" at: {line[:200]}" if line else "")
    return True, ""


class UnsupportedTestError(Exception):
    """The test does something that cannot be done across processes: the candidate is not to blame."""


class CandidateError(Exception):
    """The candidate raised something that is no builtin exception, or is gone."""


class _Candidate:
    """The checker's end of the pipes to the candidate."""

    def __init__(self, replies: io.BufferedIOBase | Any, requests: io.BufferedIOBase | Any) -> None:
        self._replies = replies
        self._requests = requests

    def load(self) -> None:
        self._receive()

    def ask(self, operation: str, target: object, *args: object, **kwargs: object) -> Any:
        """Have the candidate do something, and give its result or raise what it raised."""
        request = dumps([operation, target, list(args), kwargs], _handle_of)
        try:
            _send(self._requests, request)
        except OSError:
            raise CandidateError("the candidate's process has ended") from None
        _, result, changed = self._receive()
        for mine, theirs in zip(args, changed, strict=False):
            _take_over(mine, theirs)
        return result

    def _receive(self) -> list[Any]:
        frame = next(_frames(self._replies), None)
        if frame is None:
            raise CandidateError("the candidate's process has ended")
        reply = loads(frame, lambda body: Remote(self, _Reference(body), str(body[1])))
        if not isinstance(reply, list) or not reply or reply[0] not in ("ready", "value", "raised"):
            raise CodecError("the candidate's reply is malformed")
        if reply[0] == "raised":
            raise _exception(str(reply[1]), str(reply[2]))
        if reply[0] == "value" and (len(reply) != 3 or not isinstance(reply[2], list)):
            raise CodecError("the candidate's reply is malformed")
        return reply


def _take_over(mine: object, theirs: object) -> None:
    """Make an argument what the candidate made of its copy."""
    if type(mine) is not type(theirs) or mine == theirs:
        return
    if isinstance(mine, list) and isinstance(theirs, list):
        mine[:] = theirs
    elif isinstance(mine, dict | set) and isinstance(theirs, dict | set):
        mine.clear()
        mine.update(theirs)


def _exception(name: str, text: str) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError:
        with contextlib.suppress(TypeError):
            return kind(text)
    return CandidateError(f"{name}: {text}" if text else name)


class _Reference:
    """Names an object of the candidate in a request."""

    def __init__(self, body: object) -> None:
        self.body = body


class Remote:
    """A function or object of the candidate, as tests see it.

    Only operations whose result the test goes on to judge are forwarded. Comparisons, arithmetic, truth and containment
    are not: the candidate would be judging itself.
    """

    __slots__ = ("_candidate", "_target", "_type_name")

    def __init__(self, candidate: _Candidate, target: object, type_name: str) -> None:
        object.__setattr__(self, "_candidate", candidate)
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_type_name", type_name)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return self._candidate.ask("call", self._target, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._candidate.ask("getattr", self._target, name)

    def __setattr__(self, name: str, value: object) -> None:
        self._candidate.ask("setattr", self._target, name, value)

    def __getitem__(self, key: object) -> Any:
        return self._candidate.ask("getitem", self._target, key)

    def __setitem__(self, key: object, value: object) -> None:
        self._candidate.ask("setitem", self._target, key, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._candidate.ask("iter", self._target))

    def __len__(self) -> int:
        return int(self._candidate.ask("len", self._target))

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return str(self._candidate.ask("str", self._target))

    def __repr__(self) -> str:
        return f"<{self._type_name} of the candidate>"


def _handle_of(value: object) -> object:
    if isinstance(value, _Reference):
        return value.body
    if isinstance(value, Remote):
        target = object.__getattribute__(value, "_target")
        if isinstance(target, _Reference):
            return target.body
    raise UnsupportedTestError(
        f"the test passes a {type(value).__name__} to the candidate, which only values can be"
    )


# --- frames ----------------------------------------------------------------------------------------------------------


def _frames(stream: Any) -> Iterator[bytes]:
    while len(head := stream.read(4)) == 4:
        (size,) = struct.unpack(">I", head)
        if size > MAX_FRAME:
            raise CodecError(f"a frame of {size} bytes; at most {MAX_FRAME} can cross")
        frame = stream.read(size)
        if len(frame) < size:
            return
        yield frame


def _send(stream: Any, frame: bytes) -> None:
    stream.write(struct.pack(">I", len(frame)) + frame)
    stream.flush()
