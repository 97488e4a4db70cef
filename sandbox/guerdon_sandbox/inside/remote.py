"""The candidate as a test sees it: functions and objects that live in another process.

What may be believed of an object of the candidate:

* what a test gets out of it (a call's result, an attribute, an item, its length, its text) is a value that the test
  judges, so a lie there must equal the expected value to gain anything;
* an object that the test made itself by calling one of the candidate's classes is what the test is about: its operators
  are asked, also with plain operands;
* an object that a call returned where the test expects a value is not asked to judge the expected value. It equals no
  plain value, and an operator between the two is the candidate's fault;
* an object of a subclass of a builtin is compared by the builtin that it is;
* two objects that calls returned are equal if they are the same one, or if they have the same state;
* whether other objects of the candidate are equal would be the candidate's own verdict: such a test is unsupported.

It needs the standard library only.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from guerdon_sandbox.codec import CodecError
from guerdon_sandbox.inside.blame import blame, is_blamed
from guerdon_sandbox.inside.values import JUDGES, OPERATORS, Value

T = TypeVar("T")

_SINGLE_DRAWS = 64
"""The number of items that are drawn one at a time. Later items may take forever, or depend on ``send``."""
_MAX_DRAWN = 1024


class Candidate(Protocol):
    """The operations on the pipes that objects here need."""

    classes: set[str]

    def ask(self, operation: str, target: object, *args: object, **kwargs: object) -> Any:
        """Let the candidate run an operation. Return its result or raise its exception."""

    def refuse(self, why: str) -> Exception:
        """Record that the test cannot run here."""


async def run_remotely(candidate: Candidate, reference: "Reference") -> Any:
    """Await a coroutine of the candidate."""
    return candidate.ask("await", reference)


def generate(iterator: "RemoteIterator") -> Iterator[Any]:
    """Draw from a generator of the candidate, as a generator of the test's process.

    It does not close the candidate's, because a generator may be closed at any time.
    """
    sent = None
    while True:
        try:
            item = next(iterator) if sent is None else iterator.send(sent)
        except StopIteration:
            return
        sent = yield item


class Reference:
    """Names an object of the candidate in a request."""

    def __init__(self, number: int) -> None:
        self.number = number


class Remote:
    """A function or object of the candidate."""

    __slots__ = ("_builtin", "_candidate", "_origin", "_target", "_type_name")

    def __init__(
        self,
        candidate: Candidate,
        target: object,
        type_name: str,
        origin: str = "returned",
        builtin: str = "",
    ) -> None:
        """Store the object's identity.

        Args:
            candidate: The pipes to its process.
            target: Its global name, or a reference.
            type_name: The name of its class, as the candidate reports it.
            origin: ``named`` by the test, ``made`` by the test out of a named class, ``derived`` by operators from such
                objects, or ``returned`` by a call.
            builtin: ``plain`` if it is of a subclass of a builtin, ``own`` if that has its own equality.
        """
        object.__setattr__(self, "_builtin", builtin)
        object.__setattr__(self, "_candidate", candidate)
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_type_name", type_name)
        object.__setattr__(self, "_origin", origin)

    def _ask(self, operation: str, *args: object, **kwargs: object) -> Any:
        own = object.__getattribute__
        return own(self, "_candidate").ask(operation, own(self, "_target"), *args, **kwargs)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        result = self._ask("call", *args, **kwargs)
        if _origin(self) == "named" and object.__getattribute__(self, "_target") in self._candidate.classes:
            _set_origin(result, "made")
        return result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (name not in _READABLE or _origin(self) == "named"):
            raise AttributeError(name)
        if name in JUDGES and _origin(self) != "made":
            raise blame(AttributeError(f"'{self._type_name}' object of the candidate has no '{name}'"))
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: object) -> None:
        self._ask("setattr", name, value)

    def __delattr__(self, name: str) -> None:
        self._ask("delattr", name)

    def __getitem__(self, key: object) -> Any:
        return self._ask("getitem", key)

    def __setitem__(self, key: object, value: object) -> None:
        self._ask("setitem", key, value)

    def __delitem__(self, key: object) -> None:
        self._ask("delitem", key)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._ask("iter")
        return iterator if isinstance(iterator, RemoteIterator) else iter(iterator)

    def __contains__(self, item: object) -> bool:
        if _origin(self) == "made":
            return bool(self._ask("contains", item))
        return any(item is one or item == one for one in self)

    def __len__(self) -> int:
        return _of_type(int, self._ask("len"))

    def __bool__(self) -> bool:
        return _origin(self) == "named" or _of_type(bool, self._ask("bool"))

    def __str__(self) -> str:
        return _of_type(str, self._ask("str"))

    def __repr__(self) -> str:
        if _origin(self) == "named":
            return f"<{self._type_name} of the candidate>"
        return _of_type(str, self._ask("repr"))

    def __format__(self, spec: str) -> str:
        return _of_type(str, self._ask("format", spec))

    def __int__(self) -> int:
        return _of_type(int, self._ask("int"))

    def __index__(self) -> int:
        return _of_type(int, self._ask("index"))

    def __float__(self) -> float:
        return _of_type(float, self._ask("float"))

    def __complex__(self) -> complex:
        return _of_type(complex, self._ask("complex"))

    def __round__(self, digits: int | None = None) -> Any:
        return self._ask("round", *(() if digits is None else (digits,)))

    def __eq__(self, other: object) -> bool:
        return self._equals(other)

    def __ne__(self, other: object) -> bool:
        return not self._equals(other)

    def _equals(self, other: object) -> bool:
        if same(self, other):
            return True
        if isinstance(other, Remote):
            return self._equals_object(other)
        if self._builtin and (_origin(self) == "returned" or self._builtin == "plain"):
            return bool(_builtin_of(self) == other)
        if _origin(self) in ("made", "derived"):
            raise self._candidate.refuse(
                "the test asks an object of the candidate whether it equals another value"
            )
        return False

    def _equals_object(self, other: "Remote") -> bool:
        if "named" not in (_origin(self), _origin(other)):
            # The objects' own verdict would be as good as two equal results; but it could also be both yes and no.
            if self._builtin and other._builtin:
                mine, theirs, is_member = _builtin_of(self), _builtin_of(other), False
            else:
                mine, theirs = _state_of(self), _state_of(other)
                is_member = isinstance(mine[1], str) and isinstance(theirs[1], str)
            if is_member or {_origin(self), _origin(other)} == {"returned"}:
                return bool(mine == theirs)
        raise self._candidate.refuse(
            "the test asks an object of the candidate whether it equals another value"
        )

    def __hash__(self) -> int:
        if _origin(self) in ("made", "derived"):
            raise self._candidate.refuse("the test puts an object of the candidate into a set or dict")
        if _origin(self) == "named":
            return id(self)
        name = self._ask("identity")
        return hash(object.__getattribute__(self, "_target").number if name is None else str(name))

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, Remote | Value) and _of_type(bool, self._ask("isinstance", value))

    def __subclasscheck__(self, kind: object) -> bool:
        return isinstance(kind, Remote) and _of_type(bool, self._ask("issubclass", kind))

    def __reduce_ex__(self, _: object) -> Any:
        raise self._unfit("copied", "the test copies an object of the candidate")

    def __enter__(self) -> Any:
        return self._ask("enter")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Leave the context. An exception passes, because the candidate may not suppress a failed assert."""
        if kind is None:
            self._ask("exit")
        elif isinstance(error, Exception) and not isinstance(error, AssertionError) and not is_blamed(error):
            raise self._candidate.refuse("the test raises within a context of the candidate")

    def __await__(self) -> Any:
        raise self._unfit("awaited", "the test awaits an object of the candidate")

    def __aiter__(self) -> Any:
        raise self._unfit("iterated over asynchronously", "the test iterates asynchronously over an object")

    async def __aenter__(self) -> Any:
        raise self._unfit("entered asynchronously", "the test enters an asynchronous context")

    async def __aexit__(self, *_: object) -> None:
        return None

    def _unfit(self, what: str, why: str) -> Exception:
        """Return the error for an impossible operation. The candidate is at fault if a value was expected."""
        error: Exception
        if _origin(self) != "returned":
            error = self._candidate.refuse(why)
            return error
        error = blame(TypeError(f"a '{self._type_name}' object of the candidate cannot be {what}"))
        return error

    def _operate(self, operation: str, *operands: object, reflected: bool = False) -> Any:
        """Let the candidate run an operator, unless the result would judge one of the operands."""
        candidate = self._candidate
        if self._builtin and _origin(self) == "returned" and operation in OPERATORS:
            ordered = [*operands, self] if reflected else [self, *operands]
            if all(_origin(one) == "returned" for one in ordered if isinstance(one, Remote)):
                return OPERATORS[operation](*map(_builtin_of, ordered))
        plain = [operand for operand in operands if not isinstance(operand, Remote)]
        if plain and _origin(self) != "made":
            if _origin(self) == "derived":
                raise candidate.refuse(f"the test computes with what '{operation}' gave and a plain value")
            kind = "function or class" if _origin(self) == "named" else f"'{self._type_name}' object"
            raise blame(TypeError(f"the candidate's {kind} is not a value that '{operation}' takes"))
        ordered = [*operands, self] if reflected else [self, *operands]
        result = candidate.ask("operate", None, operation, *ordered)
        if {_origin(one) for one in ordered if isinstance(one, Remote)} != {"returned"}:
            _set_origin(result, "derived")
        return result


class RemoteIterator(Remote):
    """A generator or another iterator of the candidate, from which the test draws."""

    __slots__ = ("_buffer", "_drawn", "_ended")

    def __init__(self, candidate: Candidate, target: object, type_name: str) -> None:
        super().__init__(candidate, target, type_name)
        object.__setattr__(self, "_buffer", [])
        object.__setattr__(self, "_drawn", 0)
        object.__setattr__(self, "_ended", False)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._buffer and not self._ended:
            count = 1 if self._drawn < _SINGLE_DRAWS else min(self._drawn, _MAX_DRAWN)
            items, ended = _items(self._ask("draw", count))
            object.__setattr__(self, "_buffer", items[::-1])
            object.__setattr__(self, "_drawn", self._drawn + len(items))
            object.__setattr__(self, "_ended", ended)
        if not self._buffer:
            raise StopIteration
        return self._buffer.pop()

    def __getattr__(self, name: str) -> Any:
        if self._buffer and not name.startswith("__"):
            raise self._candidate.refuse(f"the test uses '{name}' of a generator after many of its items")
        return super().__getattr__(name)


_READABLE = frozenset({"__name__", "__qualname__", "__doc__", "__dict__"})


def same(one: object, other: object) -> bool:
    """Return whether two values are the same object, which the candidate's process may hold."""
    if one is other:
        return True
    left, right = (value._remote if isinstance(value, Value) else value for value in (one, other))
    if not isinstance(left, Remote) or not isinstance(right, Remote):
        return False
    targets = [object.__getattribute__(value, "_target") for value in (left, right)]
    if all(isinstance(target, Reference) for target in targets):
        return bool(targets[0].number == targets[1].number)
    return targets[0] == targets[1] or (
        _is_class(left) and _is_class(right) and left._ask("is", right) is True
    )


def kind_of(value: object) -> object:
    """Return a value's type, which may be a class of the candidate."""
    remote = value._remote if isinstance(value, Value) else value
    return remote._ask("type") if isinstance(remote, Remote) and _origin(remote) != "named" else type(value)


def _is_class(value: "Remote") -> bool:
    return _origin(value) == "named" or value._type_name in ("type", "EnumType", "ABCMeta")


def _builtin_of(value: object) -> object:
    if not isinstance(value, Remote) or not value._builtin:
        return value
    answer = value._ask("plain")
    if isinstance(answer, Remote | Value):
        raise blame(TypeError(f"the candidate's '{value._type_name}' object is not a builtin"))
    return answer


def _state_of(value: "Remote") -> list[Any]:
    answer = value._ask("state")
    match answer:
        case [str(), str() | dict()] if type(answer) is list:
            return answer
    raise blame(CodecError("the state of a candidate's object is malformed"))


def _origin(value: Remote) -> str:
    return str(object.__getattribute__(value, "_origin"))


def _set_origin(value: object, origin: str) -> None:
    if isinstance(value, Remote):
        object.__setattr__(value, "_origin", origin)


def _of_type(kind: type[T], value: object) -> T:
    """Return the candidate's answer if it has the type that Python requires there."""
    if type(value) is kind:
        return value
    raise blame(TypeError(f"the candidate gives {type(value).__name__} where {kind.__name__} is due"))


def _items(answer: object) -> tuple[list[Any], bool]:
    match answer:
        case [list(items), bool(ended)]:
            return items, ended or not items
    raise blame(CodecError("the candidate's items are malformed"))


def _operator(name: str, operation: str) -> Callable[..., Any]:
    def operate(self: Remote, *operands: object) -> Any:
        return self._operate(operation, *operands)

    operate.__name__ = name
    return operate


def _reflected(name: str, operation: str) -> Callable[..., Any]:
    def operate(self: Remote, other: object) -> Any:
        return self._operate(operation, other, reflected=True)

    operate.__name__ = name
    return operate


for _name in ("lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(Remote, f"__{_name}__", _operator(f"__{_name}__", _name))
for _name in (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow"),
    *("lshift", "rshift", "and", "or", "xor"),
):
    _operation = {"and": "and_", "or": "or_"}.get(_name, _name)
    setattr(Remote, f"__{_name}__", _operator(f"__{_name}__", _operation))
    setattr(Remote, f"__r{_name}__", _reflected(f"__r{_name}__", _operation))
