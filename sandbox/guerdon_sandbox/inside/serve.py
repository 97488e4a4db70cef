"""The candidate's process: load a program and answer requests to call its functions and use its objects.

A candidate that manipulates this module changes only its own answers. The other processes trust none of its
judgements. It needs only the standard library.
"""

import builtins
import contextlib
import operator
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from guerdon_sandbox.codec import CodecError, State, dumps, loads
from guerdon_sandbox.inside.frames import MAX_REQUEST, read_frames, send_frame
from guerdon_sandbox.inside.interpreter import leave
from guerdon_sandbox.inside.sources import compile_prelude, compile_source, describe, report
from guerdon_sandbox.inside.values import BUILTIN, VALUES, plain, value_kind

_MAX_BASES = 20


def serve(payload: dict[str, Any], inbox: int, outbox: int) -> NoReturn:
    """Load a candidate and answer requests until they end.

    The first frame is sent before any candidate code runs, so it cannot be forged: ``["began"]``, or ``["broken", type
    name, text]`` if the problem's own code fails.
    """
    os.environ.update(payload["env"])
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a Path costs as much as the program
    requests, replies = os.fdopen(inbox, "rb"), os.fdopen(outbox, "wb")
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    try:
        if payload["ambient"]:
            module.__dict__["__builtins__"] = _ambient(payload["ambient"])
        _run_prelude(payload["prelude"], module)
    except BaseException as error:
        send_frame(replies, dumps(["broken", *describe(error)]))
        leave(1)
    shared = {
        name: one
        for name, one in module.__dict__.items()
        if isinstance(one, type) and name not in payload["names"]
    }
    send_frame(replies, dumps(["began"]))
    server = _Server(module, shared)
    try:
        _load(payload["prelude"], payload["source"], module)
    except BaseException as error:
        report(error)
        send_frame(replies, server.raised(error))
        leave(1)
    send_frame(replies, dumps(["ready"]))
    for request in read_frames(requests, MAX_REQUEST):
        send_frame(replies, server.answer(request))
    leave(0)


def _ambient(source: str) -> dict[str, Any]:
    """Return the builtins, and the names that a source binds.

    In the module itself these names would count as the candidate's functions: an empty program would have a ``gcd``.
    """
    names = dict(vars(builtins))
    exec(compile(source, "ambient.py", "exec", dont_inherit=True), names)
    return names


def _run_prelude(prelude: str, module: types.ModuleType) -> None:
    """Execute the problem's own code, unless the candidate continues it within something else than a function."""
    try:
        code = compile_prelude(prelude)
    except SyntaxError:
        return
    exec(code, module.__dict__)


def _load(prelude: str, source: str, module: types.ModuleType) -> None:
    """Execute the candidate's source in a module.

    A source that is not a complete program is read as the continuation of the prelude, which ends in a function's head.
    """
    try:
        code = compile_source(source, "candidate.py")
    except SyntaxError:
        if not prelude:
            raise
        code = compile_source(f"{prelude}\n{source}", "candidate.py")
    exec(code, module.__dict__)


class _Server:
    def __init__(self, module: types.ModuleType, shared: dict[str, type]) -> None:
        self._module = module
        self._shared = shared
        self._objects: list[object] = []
        self._numbers: dict[int, int] = {}
        self._pending: dict[int, BaseException] = {}

    def answer(self, request: bytes) -> bytes:
        """Return the reply: ``["value", result, arguments, keyword arguments]`` or as `raised`.

        The arguments are the call's copies after the call. The test decides whether to use them.
        """
        try:
            operation, target, args, kwargs, changes = loads(
                request, self._object, inside=True, build=self._build
            )
            if operation == "draw":
                return dumps(["value", self._draw(target, *args), [], {}], self._handle)
            result = _OPERATIONS[operation](self._resolve(target), *args, **kwargs)
            if changes == "always" or (changes == "if none" and result is None):
                return dumps(["value", result, _changeable(args), _changeable(kwargs)], self._handle)
            return dumps(["value", result, [], {}], self._handle)
        except BaseException as error:
            return self.raised(error)

    def raised(self, error: BaseException) -> bytes:
        """Return ``["raised", type name, text, names of the type and its bases, arguments, attributes]``."""
        shown = ["raised", *describe(error), [base.__name__ for base in type(error).__mro__[:_MAX_BASES]]]
        for parts in ([list(error.args), _attributes(error)], [list(error.args), {}]):
            with contextlib.suppress(BaseException):
                return dumps([*shown, *parts], _refuse)
        return dumps([*shown, None, {}])

    def _handle(self, value: object) -> list[Any] | State | None:
        """Return the handle of an object that stays here: its number, its type's name, its kind.

        Objects of a class that the problem's own code defines are sent as their state, because both sides have the
        class. Return None for a value that is just a builtin.
        """
        name = type(value).__name__
        own: Any = type(value)
        kind = value_kind(own) if isinstance(value, VALUES) else _kind(value)
        if not kind:
            return None
        if name in self._shared and hasattr(value, "__dict__"):
            return State(name, dict(vars(value)))
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)
        return [number, name, kind]

    def _object(self, body: list[Any]) -> object:
        return self._resolve(body[0]) if isinstance(body[0], str) else self._objects[body[0]]

    def _build(self, name: str, state: dict[str, Any]) -> object:
        own = self._module.__dict__.get(name)
        kind = own if isinstance(own, type) else self._shared[name]
        built: Any = object.__new__(kind)
        built.__dict__.update(state)
        return built

    def _resolve(self, target: object) -> Any:
        """Return a function by name: a global, or else a method of the class ``Solution``, as on competition sites."""
        if type(target) is not str:
            return target
        if hasattr(self._module, target):
            return getattr(self._module, target)
        solution = getattr(self._module, "Solution", None)
        if solution is not None and hasattr(solution, target):
            return getattr(solution(), target)
        raise NameError(f"name '{target}' is not defined")

    def _draw(self, iterator: Any, count: int) -> list[Any]:
        """Return at most this many items of an iterator, and whether it has ended."""
        pending = self._pending.pop(id(iterator), None)
        if pending is not None:
            raise pending
        items: list[object] = []
        while len(items) < count:
            try:
                items.append(next(iterator))
            except StopIteration:
                return [items, True]
            except BaseException as error:
                if not items:
                    raise
                self._pending[id(iterator)] = error
                break
        return [items, False]


def _kind(value: object) -> str:
    if isinstance(value, types.CoroutineType):
        return "coroutine"
    if isinstance(value, types.GeneratorType):
        return "generator"
    return "iterator" if isinstance(value, Iterator) else "object"


def _changeable(args: Any) -> Any:
    """Return the arguments that a call may have changed, and None instead of the others."""
    if isinstance(args, dict):
        return {name: value if _is_changeable(value) else None for name, value in args.items()}
    return [value if _is_changeable(value) else None for value in args]


def _is_changeable(value: object) -> bool:
    return not isinstance(value, str | bytes | int | float | complex | tuple | frozenset | range | type(None))


def _attributes(error: BaseException) -> dict[str, object]:
    """Return an exception's own attributes, and those of the program's classes."""
    own = [name for kind in type(error).__mro__ if kind.__module__ == "candidate" for name in vars(kind)]
    names = [name for name in (*own, *vars(error)) if not name.startswith("_")]
    found = {name: getattr(error, name) for name in names}
    return {name: value for name, value in found.items() if not callable(value)}


def _refuse(value: object) -> Any:
    if isinstance(value, BUILTIN):
        return None
    raise CodecError(f"a {type(value).__name__} does not cross in an exception")


def _await(coroutine: Any) -> object:
    import asyncio

    return asyncio.run(coroutine)


def _state(value: object) -> object:
    """Return what an object consists of: the name of an enum's member, or else the attributes."""
    import enum

    if isinstance(value, enum.Enum):
        return value.name
    declared = [vars(kind).get("__slots__", ()) for kind in type(value).__mro__]
    slots = [name for names in declared for name in ([names] if isinstance(names, str) else names)]
    attributes = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**attributes, **(vars(value) if hasattr(value, "__dict__") or not slots else {})}


def _call(function: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    return function(*args, **kwargs)


_IDENTITY: tuple[object, ...] = (object.__hash__,)
_OPERATIONS: dict[str, Callable[..., object]] = {
    "call": _call,
    "await": _await,
    "value": lambda value: [] if isinstance(value, type) or callable(value) else [value],
    "plain": plain,
    "type": lambda value: type(value),
    "is": operator.is_,
    "identity": lambda value: type(value).__name__ if type(value).__hash__ not in _IDENTITY else None,
    "state": lambda value: [type(value).__name__, _state(value)],
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "iter": iter,
    "len": len,
    "bool": bool,
    "str": str,
    "repr": repr,
    "format": format,
    "int": int,
    "float": float,
    "complex": complex,
    "round": round,
    "isinstance": lambda kind, value: isinstance(value, kind),
    "issubclass": lambda kind, value: issubclass(value, kind),
    "enter": lambda manager: manager.__enter__(),
    "exit": lambda manager: manager.__exit__(None, None, None),
    "operate": lambda _, name, *operands: _OPERATORS[name](*operands),
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "contains": operator.contains,
    "index": operator.index,
}
_OPERATORS: dict[str, Callable[..., object]] = {
    "pow": pow,
    "divmod": divmod,
    **{
        name: getattr(operator, name)
        for name in (
            *("lt", "le", "gt", "ge", "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod"),
            *("lshift", "rshift", "and_", "or_", "xor", "neg", "pos", "abs", "invert"),
        )
    },
}
